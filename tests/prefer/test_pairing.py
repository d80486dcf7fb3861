"""Which candidates meet."""

import random

from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.records import Message, Pair
from distill_studio.prefer.pairing import matches, normalised


def make_pair(seed: str, answer: str, **fields: object) -> Pair:
    return Pair(
        seed_id=seed, messages=(Message(role="user", content="q"),), answer=answer, **fields
    )


def test_equal_texts_never_meet() -> None:
    twins = [make_pair("s", "The  answer"), make_pair("s", "the answer\n")]
    assert matches(twins, random.Random(1)) == []
    edited = [make_pair("s", "x", edited_answer="same"), make_pair("s", "same")]
    assert matches(edited, random.Random(1)) == []


def test_normalised_keeps_what_matters() -> None:
    assert normalised(" Ａ\tb ") == normalised("a B")
    assert normalised("1.5") != normalised("15")


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z", "X "])), max_size=12
    ),
    st.integers(0, 5),
)
def test_matches_are_disjoint_and_of_one_seed(rows: list[tuple[str, str]], luck: int) -> None:
    candidates = [make_pair(seed, answer) for seed, answer in rows]
    found = matches(candidates, random.Random(luck))
    used = [p.id for match in found for p in match]
    assert len(used) == len(set(used))
    for first, second in found:
        assert first.seed_id == second.seed_id
        assert normalised(first.answer) != normalised(second.answer)
    for seed in "abc":
        texts = {normalised(p.answer) for p in candidates if p.seed_id == seed}
        assert any(first.seed_id == seed for first, _ in found) == (len(texts) > 1)


def test_chance_decides_who_meets() -> None:
    four = [make_pair("s", f"answer {n}") for n in range(4)]
    partners = {
        frozenset(frozenset((a.answer, b.answer)) for a, b in matches(four, random.Random(n)))
        for n in range(40)
    }
    assert len(partners) == 3  # all ways to pair four
