"""The JSON in a model's reply, whatever stands around it. Start: `read_json`, `read_as`.

Prose and fences around it, trailing commas, single quotes, comments, bare line breaks and quotes
inside strings, and an end that is cut off are read. Prose without JSON, and a reply that holds
several different values, are `Unreadable`: nothing is guessed.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from json_repair import repair_json
from pydantic import BaseModel, JsonValue, ValidationError

from distill_studio.core.characters import whole
from distill_studio.core.errors import InvalidInput
from distill_studio.core.json_extent import Extent, find_extent

_OPEN = re.compile(r"[\[{]")
# What a value that needs mending must begin with, so that no set, code or citation is taken.
_BEGINS = re.compile(
    r"""\{\s*(?:"(?:[^"\\]|\\.){0,500}"|'(?:[^'\\]|\\.){0,500}'|[“‘][^”’]{0,500}[”’])\s*[:=]
      | \[\s*[\[{"'“‘]""",
    re.VERBOSE | re.DOTALL,
)
_CUT_BEGIN = re.compile(r"""(?:\{\s*(?:["'“‘][^"'”’\n]*["'”’]?\s*)?|\[\s*)\Z""")
_NUMBERS = re.compile(r"\[[\s\d,.eE+-]*\]?")
_GLUED = re.compile(r"[\w)\](]")  # beside a list: an index or a link, no value
_MAX_WORK = 4_000_000  # characters times stray quotes: mending takes that long, about a second
_SHOWN = 60

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


class Unreadable(InvalidInput):
    """A model's reply that does not hold what it was asked for; says what was wrong."""

    code = "unreadable"


class Ambiguous(Unreadable):
    """A reply that says different things in the same place."""


class _SaidTwice(ValueError):
    """An object that says two things under one name."""


@dataclass(frozen=True, slots=True)
class Found:
    """One JSON value of a reply.

    Args:
        value: The value.
        start: Where it begins in the reply.
        end: Where it ends.
        is_mended: True when it was no JSON as it stood.
        is_cut: True when its end is missing; it then holds its whole members only.
    """

    value: JsonValue
    start: int
    end: int
    is_mended: bool = False
    is_cut: bool = False


def read_json(text: str) -> JsonValue:
    """The one JSON value of a reply.

    Objects count before lists of plain values. Of a value whose end is missing, the members that
    are whole are kept, and only where no whole value stands in the reply.

    Raises:
        Unreadable: There is no JSON, it is cut off too early, or there are several values.
    """
    return _only([found.value for found in _candidates(text)])


def read_as(text: str, model: type[Model]) -> Model:
    """The JSON value of a reply that fits a pydantic model.

    Raises:
        Unreadable: As `read_json`, or no value fits; says which field is wrong.
    """
    candidates = _candidates(text)
    fitting: list[Model] = []
    problem = ""
    for found in candidates:
        try:
            made = model.model_validate(found.value)
        except ValidationError as err:
            problem = problem or _explain(err)
        else:
            fitting.append(made)
    if not fitting:
        _refuse_cut(f"The JSON of the reply does not fit: {problem}.", candidates)
    return _only(fitting)


def find_values(text: str) -> list[Found]:
    """Every outermost JSON value of a reply, in order; none when there is none.

    Lists of plain numbers and empty values count only on a line of their own or after a colon:
    in prose they are citations and code.
    """
    try:
        whole = _strict(text, 0, text.strip())
    except RecursionError:
        return []
    if whole is not None:
        return [whole]
    return [found for found in _scan(text) if _is_meant(found, text)]


def _candidates(text: str) -> list[Found]:
    if not text.strip():
        raise Unreadable("The reply is empty.")
    found = find_values(text)
    if not found:
        raise _none_found(text)
    whole = [one for one in found if not one.is_cut] or found
    return [one for one in whole if _has_object(one.value)] or whole


def _only(values: list[Value]) -> Value:
    if any(value != values[0] for value in values):
        raise Ambiguous(f"The reply holds {len(values)} JSON values that differ, not one.")
    return values[0]


def _scan(text: str) -> Iterator[Found]:
    position = 0
    while match := _OPEN.search(text, position):
        start = match.start()
        try:
            found = _strict(text, start)
        except RecursionError:  # no answer is that deep
            return
        extent = None
        if found is None and _may_be_mended(text, start):
            extent = find_extent(text, start)
            found = _mended(text, extent)
        if found is not None:
            yield found
        position = found.end if found else extent.end if extent else start + 1


def _strict(text: str, start: int, whole: str = "") -> Found | None:
    """The value that stands at `start` (or is the `whole` text) as proper JSON."""
    try:
        if whole:
            value, end = _DECODER.decode(whole), len(text)
        else:
            value, end = _DECODER.raw_decode(text, start)
    except _SaidTwice as err:
        raise Ambiguous(f"The JSON of the reply gives {err} twice, differently.") from err
    except ValueError:
        return None
    return Found(_storable(value), start, end)


def _may_be_mended(text: str, start: int) -> bool:
    if _BEGINS.match(text, start):
        return True
    numbers = _NUMBERS.match(text, start)
    return numbers is not None and numbers.group().endswith("]")


def _none_found(text: str) -> Unreadable:
    """Why there is no value: none begins, the one that begins is cut off, or it is broken."""
    opened = [m.start() for m in _OPEN.finditer(text) if _BEGINS.match(text, m.start())]
    if _CUT_BEGIN.search(text) or (opened and find_extent(text, opened[0]).is_cut):
        return Unreadable(
            "The JSON of the reply is cut off before its first whole value.",
            "Allow longer answers and ask again.",
        )
    if any(text[start] == "{" for start in opened):
        return Unreadable(f"The JSON of the reply is broken. It begins: {_shown(text)}")
    return Unreadable(f"The reply holds no JSON. It begins: {_shown(text)}")


def _mended(text: str, extent: Extent) -> Found | None:
    piece = extent.closed(text)
    if not piece or len(piece) * (1 + extent.inner_quotes) > _MAX_WORK:
        return None
    try:
        value = repair_json(piece, return_objects=True)
        value = _DECODER.decode(json.dumps(value))  # refuses NaN and what is no JSON
    except (ValueError, TypeError, RecursionError):
        return None
    is_kind = isinstance(value, dict) if piece.startswith("{") else isinstance(value, list)
    if not is_kind or not value:
        return None
    return Found(_storable(value), extent.start, extent.end, is_mended=True, is_cut=extent.is_cut)


def _is_meant(found: Found, text: str) -> bool:
    """False for brackets of prose that happen to be JSON."""
    if found.value and isinstance(found.value, dict):
        return True
    glued = text[max(0, found.start - 1) : found.start] + text[found.end : found.end + 1]
    if found.value and _holds_text(found.value):
        return not _GLUED.search(glued)
    before = text[text.rfind("\n", 0, found.start) + 1 : found.start].rstrip()
    after = text[found.end : found.end + _SHOWN].partition("\n")[0].strip()
    return (not before or before.endswith(":")) and after in ("", ".")


def _holds_text(value: JsonValue) -> bool:
    if isinstance(value, list):
        return any(_holds_text(item) for item in value)
    return isinstance(value, str | dict)


def _has_object(value: JsonValue) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, dict) for item in value)
    )


def _refuse_cut(problem: str, candidates: list[Found]) -> NoReturn:
    if any(found.is_cut for found in candidates):
        raise Unreadable(f"The reply is cut off. {problem}", "Allow longer answers and ask again.")
    raise Unreadable(problem)


def _explain(err: ValidationError) -> str:
    parts = []
    for error in err.errors(include_url=False, include_input=False)[:3]:
        where = ".".join(str(step) for step in error["loc"])
        parts.append(f"{where}: {error['msg']}" if where else error["msg"])
    return "; ".join(parts)


def _shown(text: str) -> str:
    flat = " ".join(text[:400].split())
    return repr(flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + "…")


def _storable(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """The value with whole characters only: half ones (lone surrogates) become U+FFFD."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one that says two things under one name is refused."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made and made[key] != value:
            raise _SaidTwice(repr(key))
        made[key] = value
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large.")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
)
