"""Lists and labelled parts in plain replies, as small models write them.

Start from `read_list` ("1. ...", "- ...") and `read_parts` ("### Instruction: ...").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill_studio.core.lenient_json import Unreadable

_KIND = (
    "task|question|item|instruction|example|exercise|problem|title|topic|subtopic|section|chapter"
)
_NUMBER = rf"(?:(?:{_KIND})\s+)?(?P<number>\d{{1,4}})"
_MARK = re.compile(
    rf"""(?P<indent>[ \t]*)(?:[*_]{{2}})?(?:
        (?P<numbered>[(\[]?\#?{_NUMBER}(?:[.)\]:]|\s+[-–—:])+)
      | (?P<bullet>[-*+•‣▪◦–—])(?=[ \t]|\*\*|["“])
    )(?:[*_]{{2}})?[ \t]*""",
    re.IGNORECASE | re.VERBOSE,
)
_INLINE = re.compile(r"(?:(?<=\s)|^)\(?(\d{1,3})[.)]\s+(?=\S)")
_FENCE = re.compile(r"[ \t]*(```|~~~)")
_RULE = re.compile(r"\s*(?:#{2,}|-{3,}|\*{3,}|_{3,}|={3,})\s*")
_WRAPS = (("**", "**"), ("__", "__"), ('"', '"'), ("“", "”"))
_NOTHING = re.compile(r"<?\s*(?:no\s?input|none|n/?a|empty)\s*>?\.?", re.IGNORECASE)


@dataclass
class _Item:
    """Lines of one item."""

    lines: list[str]
    blank_at: int = 0  # where the first unindented paragraph after a blank line begins; 0 = none


def read_list(text: str, *, is_cut: bool = False) -> list[str]:
    """The items of the one list in a reply, without their marks.

    What kind of mark comes first decides: bullets below a number belong to the number's item. An
    item keeps its further lines, its own lists and code. Text before the list and after it is left
    out, as are empty items; bold and quotes around a whole item go.

    Args:
        text: The reply.
        is_cut: True when the reply ended at its token limit: the last item is not whole and goes.

    Raises:
        Unreadable: There is no list.
    """
    items = _items(text.splitlines())
    if len(items) == 1 and (inline := _inline(items[0])):
        items = inline
    elif not items:
        items = _inline(text)
    if is_cut and items:
        items = items[:-1]
    found = [one for item in items if (one := _bare(item))]
    if not found:
        why = "holds no whole item: it was cut off" if is_cut else "holds no numbered list"
        raise Unreadable(f"The reply {why}.", "Ask again, or allow longer answers.")
    return found


def read_parts(text: str, names: Sequence[str], *, is_cut: bool = False) -> list[dict[str, str]]:
    """Blocks of labelled parts: `### Instruction:`, `**Input:**`, `1. Output:`, `Answer 2 -`.

    A block begins with each new occurrence of a name that the block has already. `<noinput>` and
    the like are ''. Text before the first label is left out.

    Args:
        text: The reply.
        names: The labels, as the prompt gave them; any case, spaces or underscores.
        is_cut: True when the reply ended at its token limit: the last block goes.

    Raises:
        Unreadable: No label occurs, or none is left.
    """
    label = _label(names)
    known = {_plain(name): name for name in names}
    blocks: list[dict[str, list[str]]] = []
    part = ""
    for line in text.splitlines():
        match = label.match(line)
        if match:
            part = known[_plain(match["name"])]
            if not blocks or part in blocks[-1]:
                blocks.append({})
            blocks[-1][part] = [line[match.end() :]]
        elif blocks and not _RULE.fullmatch(line):
            blocks[-1][part].append(line)
    if is_cut:
        blocks = blocks[:-1]
    if not blocks:
        listed = ", ".join(f"'{name}'" for name in names)
        why = (
            "was cut off in its first block" if is_cut else f"has no line that begins with {listed}"
        )
        raise Unreadable(f"The reply {why}.", "Ask again, or allow longer answers.")
    return [{name: _value(lines) for name, lines in block.items()} for block in blocks]


def is_nothing(text: str) -> bool:
    """Whether a text says that there is nothing: empty, `none`, `<noinput>` and the like."""
    bare = text.strip()
    return not bare or bool(_NOTHING.fullmatch(bare))


def _items(lines: Sequence[str]) -> list[str]:
    items: list[_Item] = []
    first: re.Match[str] | None = None
    fence, is_after_blank = "", False
    for line in lines:
        fence, is_code = _fenced(line, fence)
        mark = None if is_code else _MARK.match(line)
        if mark and not _RULE.fullmatch(line) and _begins_item(mark, first):
            first = first or mark
            items.append(_Item([line[mark.end() :]]))
        elif items:
            is_aside = is_after_blank and not is_code and line[:1].strip() != ""
            if is_aside and not items[-1].blank_at:
                items[-1].blank_at = len(items[-1].lines)
            items[-1].lines.append(line)
        is_after_blank = not line.strip()
    if items and items[-1].blank_at:  # text after the list
        del items[-1].lines[items[-1].blank_at :]
    return ["\n".join(item.lines).strip() for item in items]


def _begins_item(mark: re.Match[str], first: re.Match[str] | None) -> bool:
    """True for a mark of the list's own kind that is not indented below it."""
    if first is None:
        return True
    is_kind = bool(mark["numbered"]) == bool(first["numbered"])
    return is_kind and len(mark["indent"].expandtabs(4)) <= len(first["indent"].expandtabs(4)) + 1


def _fenced(line: str, fence: str) -> tuple[str, bool]:
    """(the open fence after this line, whether the line is code or a fence)."""
    match = _FENCE.match(line)
    if match and (not fence or match[1] == fence):
        return ("" if fence else match[1]), True
    return fence, bool(fence)


def _inline(text: str) -> list[str]:
    """Items of a list within one line: "1. a 2. b 3. c"; none unless it counts up from 1."""
    starts: list[re.Match[str]] = []
    for match in _INLINE.finditer(text):
        if int(match[1]) == len(starts) + 1:
            starts.append(match)
        elif not starts and int(match[1]) == 2:  # the mark of the first is gone already
            starts += [match, match]
    if len(starts) < 2:
        return []
    if starts[0] is starts[1]:
        pieces = [text[: starts[0].start()]]
        starts = starts[1:]
    else:
        pieces = []
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return pieces + [
        text[match.end() : end].strip() for match, end in zip(starts, ends, strict=True)
    ]


def _bare(item: str) -> str:
    """An item without bold or quotes around the whole of it."""
    text = item.strip()
    for opening, closing in _WRAPS:
        inner = text[len(opening) : -len(closing)]
        is_wrapped = text.startswith(opening) and text.endswith(closing) and len(text) > 4
        if is_wrapped and opening not in inner and closing not in inner:
            text = inner.strip()
    return text if re.search(r"\w", text) else ""


def _label(names: Sequence[str]) -> re.Pattern[str]:
    alternatives = "|".join(
        r"[\s_]+".join(re.escape(word) for word in re.split(r"[\s_]+", name))
        for name in sorted(names, key=len, reverse=True)
    )
    return re.compile(
        rf"""\s{{0,12}}(?:\#{{1,6}}\s{{0,4}})?(?:[-*+]\s{{1,4}})?(?:\d{{1,4}}[.)]\s{{0,4}})?[*_]{{0,2}}
             (?P<name>{alternatives})\s{{0,4}}(?:\#?\d{{1,4}})?
             (?:[*_]{{0,2}}\s{{0,4}}[:：][*_]{{0,2}}|[*_]{{0,2}}\s{{1,4}}[-–—]\s
               |[*_]{{0,2}}\s*\Z)[ \t]*""",
        re.IGNORECASE | re.VERBOSE,
    )


def _value(lines: Sequence[str]) -> str:
    text = "\n".join(lines).strip()
    return "" if is_nothing(text) else text


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().lower()
