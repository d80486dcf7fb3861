"""JSON is found in whatever models write around it; where there is none, nothing is guessed."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from distill_studio.core.lenient_json import Unreadable, find_values, read_as, read_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-999, 999) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
OBJECTS = st.dictionaries(TEXT, VALUES, min_size=1, max_size=5)
PROSE = st.text(st.characters(categories=["L", "P", "Zs"], exclude_characters='{}[]"`“‘'))


class Task(BaseModel):
    instruction: str
    score: int = 0


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("4", 4),
        ('Sure, here it is:\n```json\n{"a": 1,}\n```\nAnything else?', {"a": 1}),
        ("{'a': 'it\\'s', 'b': True, 'c': None}", {"a": "it's", "b": True, "c": None}),
        ('{"a": "two\nlines"} done', {"a": "two\nlines"}),
        ('{"a": "He said "hi" to me", "b": 2}', {"a": 'He said "hi" to me', "b": 2}),
        ('{"a": 1 // why\n, "b": 2}', {"a": 1, "b": 2}),
        ("{“a”: “x”}", {"a": "x"}),
        ('{"a": [1, 2}', {"a": [1, 2]}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('["a", "b",]\nThat is all.', ["a", "b"]),
        ("Scores: [4, 5, 3,]", [4, 5, 3]),
        ('As [1] says: {"a": 1}', {"a": 1}),
        ('{"a": 1} and again {"a": 1}', {"a": 1}),
        ('{"a": "\\ud83d"}', {"a": "\ufffd"}),
    ],
)
def test_what_models_write(reply: str, value: object) -> None:
    assert read_json(reply) == value


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1, "b": "y"', {"a": 1, "b": "y"}),  # only the bracket is missing
        ('{"a": 1, "b": "half of a sen', {"a": 1}),
        ('{"a": 1, "b": 4', {"a": 1}),  # may have become 42
        ('{"a": 1, "b": 4\n```', {"a": 1, "b": 4}),
        ('{"a": 1, "b"', {"a": 1}),
        ('{"l": ["a", "b", "c', {"l": ["a", "b"]}),
        ('[{"a": "x"}, {"a": "y", "b": "z', [{"a": "x"}]),  # half an item is none
        ('{"a": {"b": 1, "c": [2, 3', {"a": {"b": 1, "c": [2]}}),
    ],
)
def test_a_cut_off_reply_keeps_its_whole_members(reply: str, value: object) -> None:
    assert read_json(reply) == value
    assert find_values(reply)[0].is_cut


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("I would say it is good.", "no JSON. It begins: 'I would"),
        ("The score: 4", "no JSON"),
        ("As [1] and [2, 3] show [maybe] that {not}.", "no JSON"),
        ('Use d["key"] and {x: x > 0} or {"a", "b"}', "no JSON"),
        ("A [link](http://x) and - [ ] a box", "no JSON"),
        ("def f(): return {}", "no JSON"),
        ('{"a": tru', "cut off before"),
        ('{"inst', "cut off before"),
        ('{"a": 1} or {"a": 2}', "2 JSON values that differ"),
        ('{"a": 1, "a": 2}', "gives 'a' twice"),
        ('{"a": NaN}', "broken"),
    ],
)
def test_nothing_is_guessed(reply: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_json(reply)


@settings(max_examples=60, deadline=None)
@given(OBJECTS, PROSE, PROSE, st.booleans(), st.sampled_from([None, 2]))
def test_round_trip_through_prose_and_fences(value, before, after, is_fenced, indent) -> None:
    written = json.dumps(value, ensure_ascii=False, indent=indent)
    body = f"\n```json\n{written}\n```\n" if is_fenced else f" {written} "
    assert read_json(before + body + after) == value


@settings(max_examples=60, deadline=None)
@given(OBJECTS, st.data())
def test_a_truncated_object_is_a_part_of_the_whole(value, data) -> None:
    written = json.dumps(value, indent=data.draw(st.sampled_from([None, 1])))
    cut = written[: data.draw(st.integers(1, len(written) - 1))]
    try:
        read = read_json(cut)
    except Unreadable:
        return
    assert is_part(read, value)


def is_part(part: object, whole: object) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(part[key], whole[key]) for key in part)
    if isinstance(part, list) and isinstance(whole, list):
        return all(is_part(a, b) for a, b in zip(part, whole, strict=False)) and (
            len(part) <= len(whole)
        )
    return part == whole and type(part) is type(whole)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("{}[]\"',:\\ \n`ab1"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Unreadable):
        json.dumps(read_json(text))


def test_a_model_is_filled_from_the_value_that_fits() -> None:
    reply = 'Format: {"example": true}\n{"instruction": "Add", "score": "3"}'
    assert read_as(reply, Task) == Task(instruction="Add", score=3)
    with pytest.raises(Unreadable, match="score: Input should be a valid integer"):
        read_as('{"instruction": "Add", "score": "high"}', Task)
    with pytest.raises(Unreadable, match=r"cut off.*instruction: Field required"):
        read_as('{"score": 3, "instruction": "Ad', Task)
    with pytest.raises(Unreadable, match="2 JSON values that differ"):
        read_as('{"instruction": "a"} {"instruction": "b"}', Task)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ['["a', '["', '{"a":', "[", "{'a': '", '"x" {"', "[1,"])
def test_hostile_replies_are_read_in_good_time(piece: str) -> None:
    with pytest.raises(Unreadable):
        read_json(piece * 20_000)
