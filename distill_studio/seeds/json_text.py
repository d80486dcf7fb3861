"""JSON text to a row, with reasons a person can act on."""

import json
from typing import Any

from distill_studio.seeds.source import SourceRow

MAX_DEPTH = 64


def parse_row(text: str, line: int) -> SourceRow:
    """One JSON object as a row; anything else as a problem. NaN and Infinity count as empty."""
    try:
        value = json.loads(text, parse_constant=_nothing)
    except RecursionError:
        return SourceRow(line, problem=f"Nested deeper than {MAX_DEPTH} levels.")
    except json.JSONDecodeError as err:
        return SourceRow(line + err.lineno - 1, problem=_explain(err))
    except ValueError as err:  # a number with thousands of digits
        return SourceRow(line, problem=f"Broken JSON: {err}.")
    if not isinstance(value, dict):
        return SourceRow(line, problem=f"Expected an object {{...}}, found {describe(value)}.")
    if _is_deeper(value, MAX_DEPTH):
        return SourceRow(line, problem=f"Nested deeper than {MAX_DEPTH} levels.")
    return SourceRow(line, values=value)


def describe(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """The kind of a value in plain words."""
    kinds = {bool: "true or false", dict: "an object", list: "a list", str: "text"}
    if value is None:
        return "nothing"
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "other data")


def _explain(err: json.JSONDecodeError) -> str:
    return f"Broken JSON at column {err.colno}: {err.msg[:1].lower()}{err.msg[1:]}."


def _nothing(_: str) -> None:
    return None


def _is_deeper(value: Any, levels: int) -> bool:  # noqa: ANN401  (any JSON value)
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    children = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(child, levels - 1) for child in children)
