"""TeX as MathML, which browsers draw by themselves.

`from_tex` gives markup of the elements and attributes named here and nothing else: links, styles,
colours, classes and macros of the text do not get through. latex2mathml builds the tree; its own
serialiser is not used, as it leaves `<` in texts unescaped.
"""

import html
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from latex2mathml import exceptions
from latex2mathml.converter import Converter

LONGEST = 2_000  # characters of one formula; the converter is not linear in hostile text
DEEPEST = 40  # levels of elements
_DEEPEST_BRACES = 30
_TAG_NAMES = (
    "math mrow mi mn mo ms mtext mspace mstyle mphantom mpadded mfrac msqrt mroot msub msup msubsup"
    " munder mover munderover mtable mtr mtd"
)
TAGS = set(_TAG_NAMES.split())
_OPERATOR = "stretchy fence form separator largeop movablelimits minsize maxsize"
ATTRIBUTES = {
    "math": {"display"},
    "mrow": {"class"},
    "mi": {"mathvariant"},
    "mo": set(_OPERATOR.split()),
    "mover": {"accent"},
    "munder": {"accentunder"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mfrac": {"linethickness"},
    "mspace": {"width"},
    "mtable": {"displaystyle"},
    "mtd": {"columnalign"},
}
BOXED = "math-boxed"  # the class that stands for \boxed, which MathML Core does not draw
# What the converter takes for names: as operators they have their space, as brackets they do not.
_OPERATORS, _BRACKETS = frozenset("±~⟹⟺⟂⧵¬⟶•"), frozenset("⟨⟩⌊⌋⌈⌉")
_VALUE = re.compile(
    r"true|false|left|right|center|prefix|postfix|infix|normal|inline|block"
    r"|[+-]?\d(\.\d{1,3})?(em)?" + f"|{BOXED}"
)
_DEFINES = re.compile(r"\\(?:\w*def|let|\w*newcommand|DeclareMathOperator|require)\b")
_ALIGNED = re.compile(r"\\(begin|end)\s*\{(?:aligned|alignedat|split|eqnarray|align)\*?\}")
_GATHERED = re.compile(r"\\(begin|end)\s*\{(?:gathered|gather|multline)\*?\}")
_ONE_LINE = re.compile(r"\\(?:begin|end)\s*\{(?:equation|displaymath|math)\*?\}|\\label\{[^}]*\}")
_BARE_PERCENT = re.compile(r"(?<!\\)%")
# What the converter raises for broken TeX; RecursionError is a RuntimeError.
_ERRORS: tuple[type[Exception], ...] = (
    *(e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception)),
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)


class NotMaths(ValueError):
    """The text is no formula that can be drawn whole."""


def from_tex(tex: str, *, is_block: bool = False) -> str:
    """MathML of a formula without its delimiters.

    Raises:
        NotMaths: It cannot be parsed, uses a command that is not known or is not drawn, defines
            macros, or is too long or too deep. Then nothing of it is lost by showing it as it is.
    """
    _require_modest(tex)
    try:
        tree = Converter(display="block" if is_block else "inline").convert_to_element(
            _prepared(tex)
        )
    except _ERRORS as err:
        raise NotMaths(type(err).__name__) from err
    if is_block:
        for table in tree.iter("mtable"):
            table.set("displaystyle", "true")  # sums with their limits above and below
    return "".join(_written(tree, 0))


def is_allowed(tag: str, name: str, value: str) -> bool:
    """Whether an attribute of a MathML element may stay."""
    return name in ATTRIBUTES.get(tag, ()) and _VALUE.fullmatch(value) is not None


def _require_modest(tex: str) -> None:
    if len(tex) > LONGEST or _DEFINES.search(tex):
        raise NotMaths("too long, or it defines macros")
    depth = 0
    for sign in re.findall(r"\\.|[{}]", tex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if not 0 <= depth <= _DEEPEST_BRACES:
            raise NotMaths("braces do not match, or are too deep")
    if depth:
        raise NotMaths("a brace is not closed")


def _prepared(tex: str) -> str:
    """What people and models write, in the words that the converter knows.

    A bare % would begin a comment and lose text; lines outside any environment become a table.
    """
    tex = _BARE_PERCENT.sub(r"\\%", tex)
    tex = _ONE_LINE.sub("", tex)
    tex = _GATHERED.sub(r"\\\1{matrix}", _ALIGNED.sub(r"\\\1{align*}", tex))
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{align*}}{tex}\end{{align*}}"
    return tex


def _written(node: Element, depth: int) -> Iterator[str]:
    tag = node.tag
    kept = {n: v for n, v in node.attrib.items() if n != "class" and is_allowed(tag, n, v)}
    if tag == "menclose" and node.get("notation") == "box":
        tag, kept = "mrow", {"class": BOXED}
    if tag not in TAGS or depth > DEEPEST or node.get("linebreak"):
        raise NotMaths(f"<{tag}> is not drawn")
    text = html.unescape(node.text or "")
    if text.startswith("\\") and len(text) > 1:
        raise NotMaths(f"{text} is not known")
    if tag == "mi" and text in _OPERATORS | _BRACKETS:
        tag, kept = "mo", {"stretchy": "false"} if text in _BRACKETS else {}
    attributes = "".join(f' {name}="{value}"' for name, value in kept.items())
    yield f"<{tag}{attributes}>{html.escape(text)}"
    for child in node:
        yield from _written(child, depth + 1)
        if child.tail and child.tail.strip():
            raise NotMaths("text between elements")
    yield f"</{tag}>"
