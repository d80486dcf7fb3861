"""Lists and labelled parts are read from messy replies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.lenient_json import Unreadable
from distill_studio.generate.text_lists import read_list, read_parts

ABC = ["Add two numbers", "Name a colour", "Write a poem"]
WORDS = st.text(st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=12)
ITEMS = st.lists(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), min_size=2, max_size=9)


@pytest.mark.parametrize(
    "mark",
    ["{n}. ", "{n}) ", "({n}) ", "{n}: ", "{n} - ", "#{n}. ", "**{n}.** ", "Task {n}: ",
     "[{n}] ", "{n}.", "- ", "* ", "• ", "+ ", "– ", "  {n}. ", "1. ", "**Question {n}:** "],
)  # fmt: skip
def test_marks(mark: str) -> None:
    written = "\n".join(mark.format(n=n) + item for n, item in enumerate(ABC, start=1))
    assert read_list(f"Sure, here are three tasks:\n\n{written}\n\nI hope they help.") == ABC
    assert read_list(written.replace("\n", "\n\n")) == ABC
    assert read_list(written, is_cut=True) == ABC[:2]


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        ('1. **"Add"**\n2. **Name** it\n3. "Say "hi""', ["Add", "**Name** it", '"Say "hi""']),
        ("1. Do this:\n   - one\n   - two\n2. Rest", ["Do this:\n   - one\n   - two", "Rest"]),
        ("1. Do this:\n- one\n- two\n2. Rest", ["Do this:\n- one\n- two", "Rest"]),
        ("- First\n  goes on\n- Second", ["First\n  goes on", "Second"]),
        ("1. Sort:\n   1. b\n   2. a\n2. Rest", ["Sort:\n   1. b\n   2. a", "Rest"]),
        (
            "1. Fix:\n```python\n1. x\n- y\n```\n2. Rest\n\nDone.",
            ["Fix:\n```python\n1. x\n- y\n```", "Rest"],
        ),
        ("1. One\n\nmore of one\n\n2. Two", ["One\n\nmore of one", "Two"]),
        ("1. One 2. Two 3. Three", ["One", "Two", "Three"]),
        ("Here: 1. One 2. Two (3) Three", ["One", "Two", "Three"]),
        ("1.\n2. Two\n3. \n4. Four", ["Two", "Four"]),
        ("1. One\n---\n2. Two", ["One\n---", "Two"]),
        ("1. Compute 3. 5 times", ["Compute 3. 5 times"]),
        ("* *\n* One", ["One"]),
        ("1. 2.5 litres\n2. 1,000 metres", ["2.5 litres", "1,000 metres"]),
    ],
)
def test_messy_lists(reply: str, items: list[str]) -> None:
    assert read_list(reply) == items


@pytest.mark.parametrize(
    "reply", ["", "No list here.", "It costs 3.50 and 4.", "-5 degrees", "*emphasis* only", "---"]
)
def test_no_list(reply: str) -> None:
    with pytest.raises(Unreadable, match="no numbered list"):
        read_list(reply)


def test_a_cut_list_of_one_is_none() -> None:
    with pytest.raises(Unreadable, match="cut off"):
        read_list("1. Add two", is_cut=True)


@given(ITEMS, st.sampled_from(["{n}. ", "{n}) ", "- ", "* "]), st.sampled_from(["\n", "\n\n"]))
def test_written_lists_come_back(items: list[str], mark: str, between: str) -> None:
    lines = [mark.format(n=n) + item for n, item in enumerate(items, start=1)]
    assert read_list("Here you are:\n" + between.join(lines)) == items


@given(st.text(st.sampled_from("1234.)- *\n\t`#:abc"), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        items = read_list(text)
    except Unreadable:
        return
    assert all(item.strip() == item != "" for item in items)


@pytest.mark.parametrize(
    "reply",
    [
        "### Instruction:\nAdd.\n### Input:\n1 2\n### Response:\n3",
        "**Instruction:** Add.\n**Input:** 1 2\n**Response:** 3",
        "1. Instruction: Add.\n1. Input:\n1 2\n1. Response:\n3\n###",
        "Sure!\n\nInstruction: Add.\n\nINPUT: 1 2\n\nresponse - 3",
        "## Instruction\n\nAdd.\n\n## Input\n\n1 2\n\n## Response\n\n3\n---",
        "- Instruction 1: Add.\n- Input 1: 1 2\n- Response 1: 3",
    ],
)
def test_parts(reply: str) -> None:
    names = ["Instruction", "Input", "Response"]
    assert read_parts(reply, names) == [{"Instruction": "Add.", "Input": "1 2", "Response": "3"}]


def test_blocks_and_empty_inputs() -> None:
    reply = (
        "1. Instruction: Add.\n1. Input:\n<noinput>\n1. Final answer:\nSo:\n3\n###\n"
        "2. Instruction: Inputs and outputs matter: name one.\n2. Input: None\n2. final_answer: x"
    )
    names = ["Instruction", "Input", "Final answer"]
    assert read_parts(reply, names) == [
        {"Instruction": "Add.", "Input": "", "Final answer": "So:\n3"},
        {
            "Instruction": "Inputs and outputs matter: name one.",
            "Input": "",
            "Final answer": "x",
        },
    ]
    assert len(read_parts(reply, names, is_cut=True)) == 1
    with pytest.raises(Unreadable, match="'Title'"):
        read_parts(reply, ["Title"])
