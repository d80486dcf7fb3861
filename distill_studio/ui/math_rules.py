r"""Where mathematics begins and ends in Markdown: `$x$`, `\(x\)`, `$$x$$`, `\[x\]`, `\begin`.

`add_to` gives a parser these rules before its own, so that `\(`, `\\`, `_` and `*` inside a formula
stay what they are. A dollar sign before a price is no delimiter. What is no formula that can be
drawn stays as it was written, in `<code class="math">`.
"""

import html
import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from distill_studio.ui import mathml

_LONGEST = mathml.LONGEST
_MOST_LINES = 60  # of one block
# A formula in $: one line, no other $ and no ` within, no blank at its edges, nothing glued behind.
_DOLLARS = re.compile(rf"\$(?![\s$])((?:\\[^\n]|[^\\$`\n]){{1,{_LONGEST}}})\$(?![A-Za-z0-9{{])")
_DOUBLE = re.compile(rf"\$\$((?:\\[\s\S]|[^\\$]){{1,{_LONGEST}}})\$\$")
_ROUND = re.compile(rf"\\\(((?:(?!\\\)|\n\s*\n)[\s\S]){{1,{_LONGEST}}})\\\)")
_SQUARE = re.compile(rf"\\\[((?:(?!\\\]|\n\s*\n)[\s\S]){{1,{_LONGEST}}})\\\]")
# What stands between two prices: "$5, or 6$", "$7 each so 5*7=$", "$<<6*2=12>>12 for 3-$".
_PROSE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{3,}")
_DANGLING = re.compile(r"(?:[=+*/,;:(<-]|\s)\Z|<<")
_BEGIN = re.compile(
    r"\\begin\{((?:equation|align|aligned|gather|gathered|multline|eqnarray|split|cases"
    r"|[bpvBV]?matrix)\*?)\}"
)


def add_to(parser: MarkdownIt) -> None:
    """Teach a parser mathematics."""
    parser.inline.ruler.before("escape", "math_inline", _inline)
    parser.block.ruler.before(
        "fence", "math_block", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    parser.add_render_rule("math_inline", _draw)
    parser.add_render_rule("math_block", _draw_block)


def _inline(state: StateInline, silent: bool) -> bool:
    found = _formula_at(state.src, state.pos, state.posMax)
    if found is None:
        return False
    source, tex, is_block = found
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content, token.markup, token.meta = tex, source, {"is_block": is_block}
    state.pos += len(source)
    return True


def _formula_at(text: str, start: int, end: int) -> tuple[str, str, bool] | None:
    """Source, TeX and whether it stands alone, of the formula that begins at `start`, if any."""
    if text.startswith("$$", start):
        match, is_block = _DOUBLE.match(text, start, end), True
    elif text.startswith("$", start):
        match, is_block = _DOLLARS.match(text, start, end), False
        if match and (_is_glued(text, start) or _is_money(match[1])):
            return None
    elif text.startswith(r"\(", start):
        match, is_block = _ROUND.match(text, start, end), False
    elif text.startswith(r"\[", start):
        match, is_block = _SQUARE.match(text, start, end), True
    else:
        return None
    return (match[0], match[1], is_block) if match and match[1].strip() else None


def _is_glued(text: str, start: int) -> bool:
    before = text[start - 1 : start]  # Chinese and Japanese write no space before a formula
    return before == "$" or (before.isascii() and before.isalnum())


def _is_money(inner: str) -> bool:
    """A price, and what was written between it and the next dollar sign."""
    if _DANGLING.search(inner):
        return True
    is_price = re.match(r"[\d.]+", inner) is not None
    return is_price and (
        (" " in inner and not re.search(r"[\\^_=+*/<>{}-]", inner)) or _has_words(inner)
    )


def _has_words(inner: str) -> bool:
    return _PROSE.search(re.sub(r"\\(?:text|mathrm|mbox)\w*\{[^}]*\}", "", inner)) is not None


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""A formula on lines of its own, from `$$`, `\[` or `\begin{align}` to its end."""
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    begin = _BEGIN.match(first)
    opening = "$$" if first.startswith("$$") else r"\[" if first.startswith(r"\[") else ""
    if not (begin or opening):
        return False
    closing = rf"\end{{{begin[1]}}}" if begin else "$$" if opening == "$$" else r"\]"
    last = _closing_line(state, start, end, opening, closing)
    if last is None:
        return False
    if not silent:
        source = state.getLines(start, last + 1, state.blkIndent, False).strip()
        token = state.push("math_block", "math", 0)
        token.block, token.map, token.markup = True, [start, last + 1], source
        token.content = source if begin else source[len(opening) : -len(closing)]
        state.line = last + 1
    return True


def _closing_line(
    state: StateBlock, start: int, end: int, opening: str, closing: str
) -> int | None:
    """The line that ends with `closing`; None where there is none near, or text follows it."""
    if state.src.find(closing, state.bMarks[start] + 1, state.bMarks[start] + 2 * _LONGEST) < 0:
        return None
    for line in range(start, min(end, start + _MOST_LINES)):
        text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()
        if line > start and text and state.sCount[line] < state.blkIndent:
            return None  # the list item or the quote ended
        inner = text[len(opening) :] if line == start else text
        if closing in inner:
            return line if inner.find(closing) == len(inner) - len(closing) else None
    return None


def _draw(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[index]
    try:
        return mathml.from_tex(token.content, is_block=token.block or token.meta["is_block"])
    except mathml.NotMaths:
        return f'<code class="math">{html.escape(token.markup)}</code>'


def _draw_block(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    markup = _draw(renderer, tokens, index, options, env)
    return f"<pre>{markup}</pre>\n" if markup.startswith("<code") else f"<p>{markup}</p>\n"
