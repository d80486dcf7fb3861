"""Columns are recognised, rows become drafts, and what cannot is said."""

import pytest

from distill_studio.core.records import Message
from distill_studio.seeds.columns import ColumnMapping, guess_mapping, layout_name
from distill_studio.seeds.conversation import RowError
from distill_studio.seeds.rows import Draft, to_drafts

USER = Message(role="user", content="Hi")
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def draft(row: dict, mapping: ColumnMapping | None = None) -> Draft:
    [only] = to_drafts(row, mapping or guess_mapping([row]))
    return only


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        ({"instruction": "Add", "input": "1 + 1", "output": "2"}, "Add\n\n1 + 1", "2"),
        ({"instruction": "Add", "input": "", "output": "2"}, "Add", "2"),
        ({"Question": "Why", "Answer": "So"}, "Why", "So"),
        ({"prompt": "Why", "completion": "So"}, "Why", "So"),
        ({"query": "Why", "response": 42}, "Why", "42"),
        ({"prompt": [TURNS[0]], "completion": [TURNS[1]]}, "Hi", "Hello"),
        ({"messages": TURNS}, "Hi", "Hello"),
        ({"messages": '[{"role": "user", "content": "Hi"}]'}, "Hi", None),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]},
            "Hi",
            "Yo",
        ),
        ({"turns": ["First", "Second"], "category": "x"}, "First", None),
        ({"prompt": "[1, 2]", "response": '{"a": 1}'}, "[1, 2]", '{"a": 1}'),
    ],
)
def test_layouts(row: dict, prompt: str, answer: str | None) -> None:
    made = draft(row)
    assert made.messages[-1] == Message(role="user", content=prompt)
    assert [a.text for a in made.answers] == ([] if answer is None else [answer])


def test_seed_tasks_have_a_draft_for_each_instance() -> None:
    instances = [{"input": "a", "output": "A"}, {"input": "b", "output": "B"}]
    row = {"instruction": "Upper", "instances": instances, "name": "n"}
    drafts = to_drafts(row, guess_mapping([row]))
    assert [(d.messages[0].content, d.answers[0].text) for d in drafts] == [
        ("Upper\n\na", "A"),
        ("Upper\n\nb", "B"),
    ]
    assert drafts[0].extra == {"name": "n"}


def test_topic_teacher_reference_and_the_rest() -> None:
    row = {
        "question": "2 + 2",
        "answer": "It is <<2+2=4>>4.\n#### 4",
        "category": "maths",
        "generator": "gpt",
        "score": 3,
    }
    made = draft(row)
    assert (made.topic, made.reference, made.answers[0].teacher) == ("maths", "4", "gpt")
    assert made.extra == {"score": 3}


def test_later_turns_are_kept_aside() -> None:
    assert draft({"turns": ["One", "Two"], "question_id": 3}).extra == {
        "question_id": 3,
        "turns": ["One", "Two"],
    }


@pytest.mark.parametrize(
    ("verdict", "outcome", "better"),
    [(1, "win", "A"), (1.9, "win", "B"), ("b", "win", "B"), ("tie", "tie", "A"), (1.5, "tie", "A")],
)
def test_two_outputs_with_a_judgement(verdict: object, outcome: str, better: str) -> None:
    row = {"instruction": "Hi", "output_1": "A", "output_2": "B", "preference": verdict}
    row |= {"generator_1": "x", "generator_2": "y"}
    made = draft(row)
    assert made.outcome == outcome
    assert made.answers[0].text == better
    assert made.answers[0].teacher == {"A": "x", "B": "y"}[better]


def test_chosen_and_rejected_in_every_form() -> None:
    plain = draft({"prompt": "Hi", "chosen": "good", "rejected": "bad"})
    listed = draft({
        "chosen": [TURNS[0], {"role": "assistant", "content": "good"}],
        "rejected": [TURNS[0], {"role": "assistant", "content": "bad"}],
    })
    assert plain.messages == listed.messages == (USER,)
    assert [a.text for a in plain.answers] == [a.text for a in listed.answers] == ["good", "bad"]
    assert plain.outcome == "win"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "", "response": "x"}, "empty"),
        ({"prompt": None, "response": "x"}, "empty"),
        ({"prompt": {"a": 1}, "response": "x"}, "holds an object, not text"),
        ({"prompt": "a", "response": ["x"]}, "'response' holds a list, not text"),
        ({"prompt": "a\ud800", "response": "x"}, "half a character"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "unknown speaker 'tool'"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "does not begin with a turn"),
        ({"messages": [*TURNS, TURNS[1]]}, "does not end with a question and its answer"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": " "}]}, "answer of the conv"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "other than text"),
        ({"prompt": "a", "chosen": "x", "rejected": "x"}, "same text"),
        ({"prompt": "a", "chosen": "x", "rejected": ""}, "'rejected' is empty"),
        ({"chosen": "x", "rejected": "y"}, "no prompt"),
        ({"prompt": "a", "output_1": "x", "output_2": "y", "winner": "7"}, "expected 1 to 2"),
    ],
)
def test_rows_that_cannot_go_in_say_why(row: dict, says: str) -> None:
    with pytest.raises(RowError, match=says):
        draft(row)


def test_thinking_is_split_off_on_request_only() -> None:
    row = {"prompt": "a", "response": "<think>\nhm\n</think>\n\nyes"}
    mapping = guess_mapping([row])
    assert draft(row, mapping).answers[0].text == row["response"]
    split = draft(row, mapping.model_copy(update={"split_thinking": True})).answers[0]
    assert (split.reasoning, split.text) == ("hm", "yes")


def test_nothing_recognised_is_no_guess() -> None:
    mapping = guess_mapping([{"foo": 1, "bar": 2}])
    assert mapping.columns() == {}
    assert layout_name(mapping) == ""
