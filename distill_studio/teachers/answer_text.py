"""Tokens to text, piece by piece: whole characters, stop strings, the `<think>` part.

Pure: no torch. Start at `AnswerText.push`.
"""

from collections.abc import Callable, Sequence

_HALF_CHARACTER = "\ufffd"


class AnswerText:
    """Grows one answer's text token by token.

    A piece is held back while it could still change: half of a multi-byte character, or the
    beginning of a stop string. The pieces join to `text`.

    Args:
        decode: Token ids to text, special tokens skipped.
        stops: Strings that end the answer; they are not part of it.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(s for s in stops if s)
        self._ids: list[int] = []
        self._context = 0  # decoding starts here: a token's text may depend on the one before
        self._read = 0  # tokens before this one are in _decoded
        self._decoded = ""
        self._given = 0  # characters already returned
        self.is_stopped = False

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end the answer."""
        return self._stops

    @property
    def text(self) -> str:
        """What was returned so far."""
        return self._decoded[: self._given]

    def push(self, token: int) -> str:
        """Add a token; returns the text that is now certain."""
        self._ids.append(token)
        before = self._decode(self._ids[self._context : self._read])
        now = self._decode(self._ids[self._context :])
        if len(now) <= len(before) or now.endswith(_HALF_CHARACTER):
            return ""
        self._take(now[len(before) :])
        return self._give(len(self._decoded) - self._held_back())

    def finish(self) -> str:
        """The text still held back."""
        if not self.is_stopped and self._read < len(self._ids):
            before = self._decode(self._ids[self._context : self._read])
            self._take(self._decode(self._ids[self._context :])[len(before) :])
        return self._give(len(self._decoded))

    def _take(self, piece: str) -> None:
        self._context, self._read = self._read, len(self._ids)
        searched_from = max(0, len(self._decoded) - max(map(len, self._stops), default=0))
        self._decoded += piece
        found = [self._decoded.find(stop, searched_from) for stop in self._stops]
        cuts = [place for place in found if place >= 0]
        if cuts:
            self._decoded = self._decoded[: min(cuts)]
            self.is_stopped = True

    def _held_back(self) -> int:
        if self.is_stopped:
            return 0
        return max((_overlap(self._decoded, stop) for stop in self._stops), default=0)

    def _give(self, end: int) -> str:
        piece = self._decoded[self._given : end]
        self._given = max(self._given, end)
        return piece


def split_reasoning(answer: str, *, is_open: bool = False) -> tuple[str, str]:
    """Split `<think>...</think>text` into (reasoning, text).

    Args:
        answer: As the model wrote it.
        is_open: True when the prompt ended with `<think>`, so that the answer began inside.
    """
    begun = answer.lstrip()
    if not (is_open or begun.startswith("<think>")):
        return "", answer
    reasoning, _, text = begun.removeprefix("<think>").partition("</think>")
    return reasoning.strip(), text.lstrip()  # no end tag: cut off while still thinking


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
