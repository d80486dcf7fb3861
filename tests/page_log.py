"""What a page did, told when its test fails: a picture of a moment says less than the way to it."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request, Response

_LINES, _LINE_CHARACTERS, _TEXT_CHARACTERS = 120, 300, 3000
_NOW = """() => { const focus = document.activeElement;
const open = [...document.querySelectorAll('dialog')].filter((d) => d.open).length;
return `focus on ${focus && focus.outerHTML.slice(0, 200)}, ${open} dialogues open, ` +
`page ${document.visibilityState}\\n${document.body.innerText}`; }"""


class PageLog:
    """Listens to a page from now on; `text` tells the last things that happened."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._began = time.monotonic()
        self._lines: deque[str] = deque(maxlen=_LINES)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._note(f"error {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)
        page.on("framenavigated", lambda frame: self._note(f"opened {frame.url}"))

    def text(self) -> str:
        """Requests, answers, messages and errors with their times, then what the page shows."""
        try:
            now = str(self._page.evaluate(_NOW))[:_TEXT_CHARACTERS]
        except Exception as error:  # noqa: BLE001  (the page may be gone: the rest still helps)
            now = f"the page could not be asked: {error}"
        return "\n".join([*self._lines, now])

    def _note(self, text: str) -> None:
        self._lines.append(f"{time.monotonic() - self._began:7.2f} s {text}"[:_LINE_CHARACTERS])

    def _on_console(self, message: ConsoleMessage) -> None:
        self._note(f"console {message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if request.method == "POST":
            self._note(f"asks {request.url} {request.post_data or ''}")

    def _on_response(self, response: Response) -> None:
        if response.request.method == "POST" or response.status >= 400:
            self._note(f"got {response.status} of {response.url}")
