"""What votes on two answers come to, the plain cases."""

import pytest

from distill_studio.prefer.majority import Say, Verdict, verdict


@pytest.mark.parametrize(
    ("said", "overlap", "holds"),
    [
        ("", 1, Verdict("open")),
        ("a", 1, Verdict("decided", "a")),
        ("a b", 1, Verdict("even")),
        ("a", 3, Verdict("open")),
        ("a a", 3, Verdict("open")),
        ("a both_bad both_bad", 3, Verdict("decided", "both_bad")),
        ("a tie", 2, Verdict("even")),
        ("a tie both_bad", 3, Verdict("even")),
        ("a tie a", 3, Verdict("decided", "a")),
        ("a tie a tie b", 3, Verdict("even")),
        ("a b b!", 3, Verdict("decided", "b")),  # an adjudicator's word needs no others
        ("tie!", 2, Verdict("decided", "tie")),
        ("b! a!", 2, Verdict("decided", "a")),  # the newest
    ],
)
def test_what_votes_come_to(said: str, overlap: int, holds: Verdict) -> None:
    votes = [Say(word.removesuffix("!"), word.endswith("!")) for word in said.split()]
    assert verdict(votes, overlap) == holds
