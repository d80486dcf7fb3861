"""Reject reasons on the digit keys."""

from distill_studio.review.reasons import DEFAULT_REASONS, MAX_REASONS, offered


def test_standard_reasons_when_nothing_else_was_given() -> None:
    assert offered([]) == list(DEFAULT_REASONS)
    assert offered(list(DEFAULT_REASONS)) == list(DEFAULT_REASONS)


def test_own_reasons_take_the_last_digits() -> None:
    found = offered(["mine", DEFAULT_REASONS[0], "x" * 61, "yours", "ours", "theirs"])
    assert len(found) == MAX_REASONS
    assert found[:6] == list(DEFAULT_REASONS[:6])
    assert found[6:] == ["mine", "yours", "ours"]
