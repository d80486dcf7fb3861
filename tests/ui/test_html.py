"""Pieces of HTML: nothing from outside gets through as markup."""

import re

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.ui import html
from distill_studio.ui.errors import as_toast, guarded

NASTY = "<img src=x onerror=alert(1)>\"'&</td>"


@pytest.mark.parametrize(
    "made",
    [
        html.esc(NASTY),
        html.chip(NASTY, NASTY),
        html.table(["a"], [[html.esc(NASTY)]], caption=NASTY),
        html.note(NASTY, NASTY),
        html.empty_state(NASTY, NASTY),
        html.progress_bar(1, 2, NASTY),
        html.page_head(NASTY, NASTY),
    ],
)
def test_text_from_outside_is_escaped(made):
    assert "<img" not in made
    assert "&lt;img" in made


def test_long_text_is_cut_with_an_ellipsis():
    assert html.esc("abcdef", 4) == "abc…"
    assert html.esc(None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_read_as_words(seconds, text):
    assert html.duration(seconds) == text


def test_expected_errors_keep_their_words_and_others_get_a_code():
    toast = as_toast(InvalidInput("Row <7> is empty.", "Fill it."))
    assert toast.message == "Row &lt;7> is empty.<br>Fill it."
    assert "secret" not in as_toast(RuntimeError("secret")).message


def test_guarded_wraps_plain_functions_and_generators():
    @guarded
    def plain():
        raise InvalidInput("no")

    @guarded
    def stream():
        yield 1
        raise InvalidInput("no")

    with pytest.raises(Exception, match="no"):
        plain()
    values = stream()
    assert next(values) == 1
    with pytest.raises(Exception, match="no"):
        next(values)


def test_a_column_is_as_wide_as_its_words_but_not_as_any_word() -> None:
    cells = [["ok", html.esc("two <words>"), "x" * 500]]
    markup = html.table(["A", "B", "C"], cells)
    widths = [float(found) for found in re.findall(r"min-width:([\d.]+)rem", markup)]
    assert widths == [pytest.approx(1.5 + 0.58 * letters, abs=0.06) for letters in (2, 7, 14)]
