r"""Final numbers, as GSM8K asks for them (`#### N`; Cobbe et al. 2021, arXiv 2110.14168).

A reply may say its number as `#### N`, `\boxed{N}`, "the answer is N", or just end with it.
Numbers are compared as exact fractions: 1,000 = 1000.0 = $1000 and 1/2 = 0.5.
"""

import re
from fractions import Fraction

from distill_studio.verify.final_answer import final_answer
from distill_studio.verify.verdict import Verdict

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?|\.\d+"
_NUMBER = re.compile(
    rf"(?<![\w)\]])(?P<sign>[-+](?=[$€£]?[\d.]))?[$€£]?(?P<top>{_DIGITS})"
    r"(?:\s+(?P<part>\d{1,6}/\d{1,6})|\s?/\s?(?P<bottom>\d+(?:\.\d+)?))?"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?[\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}")
_LATEX = {"{,}": ",", "\\,": "", "\\!": "", "\\ ": " ", "−": "-", "–": "-", "\\$": "$", "\\%": "%"}
_AROUND = " \t\n.,;:!*`'\"%°"
_MAX_DIGITS = 200
TOLERANCE = Fraction(1, 10**9)  # relative: only what a decimal cannot say, as 0.333333333 for 1/3


def numbers(text: str) -> list[Fraction]:
    """All numbers of a text in order."""
    return [
        value for match in _NUMBER.finditer(_plain(text)) if (value := _value(match)) is not None
    ]


def whole_number(text: str) -> Fraction | None:
    """The number that a text is, with nothing else but a currency or per cent sign."""
    plain = _plain(text).strip(_AROUND).removeprefix("\\(").removesuffix("\\)").strip("$" + _AROUND)
    match = _NUMBER.fullmatch(plain)
    return _value(match) if match else None


def final_number(text: str) -> tuple[Fraction | None, str]:
    """The number a reply ends on, and how it was found.

    After a mark the first number counts ("#### 18 dollars"; after an equals sign the last:
    "the answer is 3 * 6 = 18"); without any mark the last number of the text.
    """
    said, mark = final_answer(text)
    found = numbers(said.rpartition("=")[2] if mark else said)
    if not found:
        return None, mark
    return (found[0], mark) if mark else (found[-1], "last number")


def verify(answer: str, reference: str) -> Verdict:
    """Whether the final number is the reference's."""
    wanted, _ = final_number(reference)
    if wanted is None:
        return Verdict(ok=False, reason="the reference holds no number")
    said, how = final_number(answer)
    if said is None:
        return Verdict(ok=False, reason="no final number")
    if is_same(said, wanted):
        return Verdict(ok=True, reason=f"the same number ({how})", extracted=show(said))
    return Verdict(ok=False, reason=f"another number than {show(wanted)}", extracted=show(said))


def is_same(one: Fraction, other: Fraction) -> bool:
    """Equal but for what a decimal cannot say."""
    return one == other or abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def show(number: Fraction) -> str:
    """A number as people write it: 18, 0.25, 1/3."""
    if number.denominator == 1:
        return str(number.numerator)
    short = f"{float(number):.10g}"
    return short if Fraction(short) == number else f"{number.numerator}/{number.denominator}"


def _plain(text: str) -> str:
    for latex, sign in _LATEX.items():
        text = text.replace(latex, sign)
    return _FRACTION.sub(r" \1/\2", text)


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > _MAX_DIGITS:
        return None
    value = Fraction(match["top"].replace(",", ""))
    if match["bottom"]:
        if not float(match["bottom"]):
            return None
        value /= Fraction(match["bottom"])
    if match["part"]:
        top, bottom = map(int, match["part"].split("/"))
        if not bottom:
            return None
        value += Fraction(top, bottom)
    return -value if match["sign"] == "-" else value
