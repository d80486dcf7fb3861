"""An answer wins only when it is preferred in both places."""

import contextlib
import json

import pytest

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.records import Message
from distill_studio.judge import pairwise_requests, read_pairwise
from distill_studio.judge.pairwise import read_verdict

ASKED = (Message(role="user", content="Say hello."),)


def test_both_orders_are_asked() -> None:
    forward, swapped = pairwise_requests("k", ASKED, "Hello.", "Go away.")
    assert (forward.key, swapped.key) == ("k/forward", "k/swapped")
    assert "Answer A:\n~~~\nHello.\n~~~\n\nAnswer B:\n~~~\nGo away." in forward.messages[1].content
    assert "Answer A:\n~~~\nGo away.\n~~~\n\nAnswer B:\n~~~\nHello." in swapped.messages[1].content
    assert forward.response_schema is not None
    assert forward.response_schema["properties"]["better"]["enum"] == ["A", "B", "tie"]


@pytest.mark.parametrize(
    ("forward", "swapped", "winner", "is_consistent"),
    [
        ("A", "B", "first", True),
        ("B", "A", "second", True),
        ("A", "A", "tie", False),
        ("B", "B", "tie", False),
        ("tie", "tie", "tie", True),
        ("A", "tie", "tie", False),
        ("tie", "A", "tie", False),
    ],
)
def test_the_tie_rule(forward: str, swapped: str, winner: str, is_consistent: bool) -> None:
    said = [json.dumps({"reason": f"about {one}", "better": one}) for one in (forward, swapped)]
    result = read_pairwise(*said)
    assert (result.winner, result.is_consistent) == (winner, is_consistent)
    assert [v.said for v in result.verdicts] == [forward, swapped]
    assert [v.order for v in result.verdicts] == ["forward", "swapped"]
    assert f"(swapped) {swapped}: about {swapped}" in result.reason
    assert result.prompt_version


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ('{"better": "answer B"}', "B"),
        ('{"winner": "A", "reason": "Short."}', "A"),
        ("```\n{'reason': 'x', 'better': 'tie',}\n```", "tie"),
        ("Both are fine, but [[B]]", "B"),
        ("[[C]]", "tie"),
        ("A", "A"),
        ("**B**", "B"),
        ("Answer A is better because it is a greeting.", "A"),
        ("Better: B", "B"),
        ("Verdict: **Tie**", "tie"),
        ("The better answer is A. Answer B is rude.", "A"),
    ],
)
def test_what_judges_write(reply: str, said: str) -> None:
    assert read_verdict(reply, "forward").said == said


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Both answers are about the same topic.",
        "The better answer is a greeting.",
        "Answer A is better. Answer B is better.",
        "[[A]] or [[B]]",
        '{"better": "A or B"}',
        '{"better": "A"} {"better": "B"}',
        '{"better": 1}',
        "Better: A, B or tie",
        "Answer A is not better.",
    ],
)
def test_nonsense_is_unreadable(reply: str) -> None:
    with pytest.raises(Unreadable):
        read_verdict(reply, "forward")


def test_one_unreadable_order_spoils_the_comparison() -> None:
    with pytest.raises(Unreadable, match="swapped order"):
        read_pairwise("A", "hm")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("reply", ["better is ", "answer ", "better is A ", "'", "the answer A*"])
def test_hostile_replies_are_read_in_good_time(reply: str) -> None:
    with contextlib.suppress(Unreadable):
        read_verdict(reply[:-1] + reply[-1] * 20_000 + "x", "forward")
