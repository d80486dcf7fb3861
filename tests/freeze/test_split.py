"""Splits: no leak across ties, the wanted share, the same for the same rows."""

import random

from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.records import Message
from distill_studio.freeze.split import SplitRow, choose_validation, groups, normalised_prompt

ROWS = st.lists(
    st.tuples(
        st.integers(0, 30).map(str), st.lists(st.integers(0, 25).map(str), max_size=3).map(tuple)
    ),
    max_size=60,
).map(lambda rows: [SplitRow(str(n), prompt, ties) for n, (prompt, ties) in enumerate(rows)])
SHARES = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5])


@given(ROWS, SHARES)
def test_rows_that_share_a_key_are_on_one_side(rows: list[SplitRow], share: float) -> None:
    validation = choose_validation(groups(rows), share)
    sides: dict[str, bool] = {}
    for row in rows:
        for key in (f"p{row.prompt}", *(f"t{tie}" for tie in row.ties)):
            assert sides.setdefault(key, row.id in validation) == (row.id in validation)


@given(ROWS, SHARES, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    rows: list[SplitRow], share: float, order: random.Random
) -> None:
    shuffled = order.sample(rows, len(rows))
    assert choose_validation(groups(rows), share) == choose_validation(groups(shuffled), share)


@given(st.integers(10, 300), SHARES)
def test_the_share_is_met_when_rows_stand_alone(count: int, share: float) -> None:
    rows = [SplitRow(str(n), str(n)) for n in range(count)]
    wanted = max(1, round(count * share)) if share else 0
    assert len(choose_validation(groups(rows), share)) == wanted


def test_few_rows_and_one_group_have_no_validation() -> None:
    assert choose_validation(groups([SplitRow("a", "a"), SplitRow("b", "b")]), 0.1) == set()
    one = [SplitRow(str(n), "same") for n in range(50)]
    assert choose_validation(groups(one), 0.1) == set()


def test_large_groups_still_leave_a_validation_row() -> None:
    rows = [SplitRow(f"{g}-{n}", str(g)) for g in range(2) for n in range(10)]
    assert len(choose_validation(groups(rows), 0.1)) == 10


def test_prompts_are_compared_without_case_signs_and_spacing() -> None:
    def said(text: str) -> str:
        return normalised_prompt([Message(role="user", content=text)])

    assert said("Who  are you?") == said("who are YOU") == said("Who are you!\n")
    assert said("Who are you") != said("Who are they")
    assert said("???") != said("!!!")
    system = [Message(role="system", content="x"), Message(role="user", content="who are you")]
    assert normalised_prompt(system) == said("Who are you?")
