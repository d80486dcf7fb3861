"""Which topics are said to lose far more than the others."""

import pytest

from distill_studio.curate.topics import at_least, by_topic, warning


def test_counts_by_topic_and_reason():
    totals = [{"topic": "code", "total": 100}, {"topic": "poems", "total": 400}]
    gone = [
        {"topic": "code", "kind": "length", "count": 30},
        {"topic": "code", "kind": "near", "count": 10},
        {"topic": "poems", "kind": "near", "count": 4},
    ]
    code, poems = by_topic(totals, gone)
    assert (code.removed, code.by_reason) == (40, {"length": 30, "near": 10})
    assert code.warning == "Loses 40% of its rows, the other topics 1%."
    assert (poems.removed, poems.warning) == (4, "")


@pytest.mark.parametrize(
    ("removed", "total", "others_removed", "others", "is_marked"),
    [
        (20, 40, 100, 1000, True),
        (1, 2, 100, 1000, False),  # chance
        (15, 100, 100, 1000, False),  # more, not far more
        (40, 1000, 1, 1000, False),  # far more, but hardly anything
        (200, 1000, 5, 1000, True),
        (10, 10, 0, 0, False),  # there is no other topic
        (0, 10, 5, 100, False),
        (90, 100, 800, 1000, False),  # everything goes
    ],
)
def test_marks(removed, total, others_removed, others, is_marked):
    assert bool(warning(removed, total, others_removed, others)) is is_marked


def test_wilson_by_hand():
    assert at_least(0, 10) == pytest.approx(0.0, abs=1e-12)
    # z = 2.5758: (0.5 + z^2/200 - z sqrt(0.25/100 + z^2/40000)) / (1 + z^2/100)
    assert at_least(50, 100) == pytest.approx(0.37528, abs=1e-4)
