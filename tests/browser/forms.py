"""What tests of a tab's form wait for."""

import pytest
from playwright.sync_api import Locator, Page, expect

_STEPS, _STEP_MS = 2400, 50  # two minutes
_STILL_STEPS = 10  # entries made one after the other are kept one after the other
_DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def await_filled(page: Page, word: str, workspace: str) -> None:
    """The form has filled, and keeps what is entered."""
    box = page.locator(f"#{word}-form-settled-for textarea, #{word}-form-settled-for input")
    expect(box).to_have_value(workspace, timeout=_STEPS * _STEP_MS)


def stored(page: Page, word: str) -> str:
    """What the browser keeps of the form, encrypted."""
    return page.evaluate(f"localStorage.getItem('ds/form/{word}')") or ""


def await_stored(page: Page, word: str, before: str) -> None:
    """The browser has kept something else than `before`, and has no more to keep."""
    last, still = before, 0
    for _ in range(_STEPS):
        page.wait_for_timeout(_STEP_MS)
        now = stored(page, word)
        still = still + 1 if now == last else 0
        if now not in ("", before) and still >= _STILL_STEPS:
            return
        last = now
    pytest.fail("the form was not kept")


def enter(field: Locator, text: str) -> None:
    """Fill a field until it keeps what it was given.

    Gradio sets the fields of an accordion or a tab back to what the server last said, a frame after
    it was opened: no person is that fast, a test is.
    """
    for _ in range(20):
        field.fill(text)
        field.blur()
        field.page.evaluate(_DRAWN)
        field.page.wait_for_timeout(400)
        if field.input_value() == text:
            return
    pytest.fail(f"the field does not keep '{text}'")
