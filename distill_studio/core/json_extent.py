"""Where a JSON value that is not quite JSON ends, and what of it is whole. Start: `find_extent`.

Brackets are matched with strings in mind: double, single and typographic quotes, with quotes that
were not escaped inside them.
"""

import re
from dataclasses import dataclass, field

_MAX_DEPTH = 64
_NEAR = 400  # characters looked at around a quote
_CLOSING = {"{": "}", "[": "]"}
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_MARK = re.compile(r"""[{}\[\],"'“‘]|\n[ \t]*(?:```|~~~)""")
_NAME = re.compile(r"""\s*(?:"[^"]*"|'[^']*'|“[^”]*”|‘[^’]*’|\w+)\s*[:=]\s*(?=\S)""")
_WHOLE_LITERAL = re.compile(r"\s*[-+\w.]+\s+\Z")


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of text from an opening bracket on.

    Args:
        start: Of the opening bracket.
        end: Behind the closing one, or where the text breaks off.
        is_cut: True when the closing one is missing.
        whole_end: For a cut one, behind its last whole member.
        missing: For a cut one, the brackets that close it there; '' when nothing is whole.
        inner_quotes: Quotes inside strings that were not escaped.
    """

    start: int
    end: int
    is_cut: bool = False
    whole_end: int = 0
    missing: str = ""
    inner_quotes: int = 0

    def closed(self, text: str) -> str:
        """The stretch with its brackets closed; '' when nothing of it is whole."""
        if not self.is_cut:
            return text[self.start : self.end]
        return text[self.start : self.whole_end] + self.missing if self.missing else ""


def find_extent(text: str, start: int) -> Extent:
    """The stretch of the value whose opening bracket stands at `start`."""
    walk, position = _Walk(text, start), start
    while mark := _MARK.search(text, position):
        position = walk.step(mark)
        if not walk.stack:
            return Extent(start, position, inner_quotes=walk.inner_quotes)
        if position < 0:
            return walk.cut(mark.start())
    return walk.cut(len(text))


@dataclass
class _Walk:
    """The brackets open so far, and the last place where everything before was whole."""

    text: str
    start: int
    stack: list[str] = field(default_factory=list)
    member_start: int = 0
    string_end: int = -1  # behind the last string that was closed
    whole_end: int = 0
    missing: str = ""
    inner_quotes: int = 0

    def step(self, mark: re.Match[str]) -> int:
        """Take one mark; returns where to look on, or -1 when the value breaks off here."""
        char, end = mark.group(), mark.end()
        if char in _QUOTES:
            return self._string(mark.start())
        if char in _CLOSING:
            self.stack.append(char)
            self.member_start = end
            return end if len(self.stack) <= _MAX_DEPTH else -1
        if char in "}]":
            self._close(char, end)
        elif char == ",":
            self._mark_whole(mark.start())
            self.member_start = end
        else:  # the fence around it ends
            return -1
        return end

    def cut(self, end: int) -> Extent:
        """The value when its closing bracket never came."""
        if len(self.stack) > _MAX_DEPTH:
            return Extent(self.start, len(self.text), is_cut=True)
        member = self.text[self.member_start : end + 1]
        if self.stack[-1] == "{":
            name = _NAME.match(member)
            value = member[name.end() :] if name else ""
        else:
            value = member
        is_string = self.string_end == self.member_start + len(member.rstrip())
        if value and (is_string or _WHOLE_LITERAL.match(value)):
            self._mark_whole(end)
        return Extent(self.start, end, True, self.whole_end, self.missing, self.inner_quotes)

    def _close(self, char: str, end: int) -> None:
        """Take a closing bracket; inner ones that were forgotten end with it."""
        opening = "{" if char == "}" else "["
        if opening not in self.stack:
            return  # a stray one
        while self.stack.pop() != opening:
            pass
        self.member_start = end
        if self.stack:
            self._mark_whole(end)

    def _mark_whole(self, position: int) -> None:
        """Remember that a member ends here, unless it belongs to an unfinished list item."""
        if "[" not in self.stack[:-1]:
            self.whole_end = position
            self.missing = "".join(_CLOSING[b] for b in reversed(self.stack))

    def _string(self, start: int) -> int:
        """Behind the quote that closes the string at `start`; the text's end where none does.

        A single quote opens a string only where a name or a value may stand.
        """
        text, quote = self.text, self.text[start]
        before = text[max(0, start - _NEAR) : start].rstrip()[-1:]
        if quote in "'‘" and before not in "{[,:=":
            return start + 1
        position = start + 1
        while (position := text.find(_QUOTES[quote], position)) >= 0:
            position += 1
            if not _is_escaped(text, position - 1) and _closes(text, position):
                self.string_end = position
                return position
            self.inner_quotes += 1
        return len(text)


def _is_escaped(text: str, position: int) -> bool:
    before = text[max(0, position - _NEAR) : position]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _closes(text: str, position: int) -> bool:
    """True when what follows a quote can follow a string; else the quote is part of it."""
    near = text[position : position + _NEAR]
    rest = near.lstrip()
    return rest[:1] in ("", *",:=}]`") or (rest[0] in _QUOTES and len(rest) < len(near))
