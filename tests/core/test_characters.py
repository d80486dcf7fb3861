"""Halves of characters: joined where both are there, else replaced; in one text or in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.characters import WholePieces, whole

ODD = st.text(st.sampled_from("aé\ufeff\ud83d\ude00\U0001f600"), max_size=6)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("as it stands é \U0001f600", "as it stands é \U0001f600"),
        ("cut \ud83d", "cut \ufffd"),
        ("\ude00 late", "\ufffd late"),
        ("both \ud83d\ude00.", "both \U0001f600."),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ],
)
def test_halves(text: str, wanted: str) -> None:
    assert whole(text) == wanted


@given(st.lists(ODD, max_size=6))
def test_pieces_join_to_the_whole_text_and_each_can_be_stored(pieces: list[str]) -> None:
    growing = WholePieces()
    given_out = [*(growing.push(piece) for piece in pieces), growing.rest()]
    assert "".join(given_out) == whole("".join(pieces))
    for piece in given_out:
        piece.encode()  # would raise


@given(ODD)
def test_what_is_whole_stays(text: str) -> None:
    assert whole(whole(text)) == whole(text)
