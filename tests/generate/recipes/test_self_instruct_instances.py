"""Self-Instruct's classification step by hand-fed replies, and the rules of instances."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.effects import ELIMINATED, UNREADABLE, Dropped, Made, Unit
from distill_studio.generate.instances import (
    REPEATED,
    REPEATS_INPUT,
    SAME_INPUT,
    Instance,
    key_of,
    read_input,
    read_inputs,
    read_kind,
    read_labels,
    sound,
)
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from tests.generate.play import ORIGIN, Played, play, reply, world

RECIPE = RECIPES["self_instruct"]
MOOD = "Decide whether the following sentence is cheerful or gloomy."
SUM = "Summarise the given paragraph for a child."
BREAD = "How is bread baked?"
NEW = f"2. {MOOD}\n3. {SUM}\n4. {BREAD}"
REPLIES: dict[str, Any] = {
    "list": NEW,
    "classify/1": "Yes.",
    "classify/2": "No, it wants free text.",
    "classify/3": '{"answer": "no"}',
    "labels/1": "1. **Cheerful**\n2. Gloomy: nothing is well\n3. cheerful",
    "inputs/2": "Input: Bees dance.\nThey also sing.\n\nInput: Rain falls.\n\nInput: Snow falls.",
    "inputs/3": "Input: none",
    "input/1/1": "Sure, here is one:\n\nInput: The rain will never end.",
    "input/1/2": '"What a day for a picnic!"',
    "answer/2/1": "Bees tell each other things.",
    "answer/2/2": "It is wet.",
    "answer/3/1": "In an oven.",
}


def settings(**options: Any) -> Settings:
    prompts = RECIPE.prompts
    return Settings(
        SamplingParams(max_tokens=50),
        system_prompt="Be kind.",
        texts={text.name: text.text for text in prompts.texts},
        options=prompts.chosen(options),
    )


def played(replies: dict[str, Any] | None = None, **options: Any) -> tuple[Any, Played]:
    seed = Seed(messages=(Message(role="user", content="Why is the sky blue?"),))
    here = world(Unit(seed, 0, "T"), settings(**options), REPLIES | (replies or {}))
    return play(RECIPE, here.unit, here.settings, {}, here), here


def failed(replies: dict[str, Any]) -> Dropped:
    ended, _ = played(replies)
    assert isinstance(ended.result, Dropped)
    assert ended.result.step in ended.forgotten
    return ended.result


def rules(made: Made) -> list[tuple[int, str]]:
    return [
        (each["place"], each["rule"])
        for each in made.drafts[0].params["list"]["instances"]["dropped"]
    ]


def test_labels_come_first_for_classification_and_inputs_for_all_else() -> None:
    ended, here = played()
    rows = to_rows(ended, ORIGIN)
    assert [(p.params["way"], p.prompt, p.answer) for p in rows.pairs] == [
        ("output first", f"{MOOD}\n\nThe rain will never end.", "Gloomy"),
        ("output first", f"{MOOD}\n\nWhat a day for a picnic!", "Cheerful"),
        ("input first", f"{SUM}\n\nBees dance.\nThey also sing.", "Bees tell each other things."),
        ("input first", f"{SUM}\n\nRain falls.", "It is wet."),
        ("no input", BREAD, "In an oven."),
    ]
    first = rows.pairs[0]
    assert [m.role for m in first.messages] == ["system", "user"]
    told = {n: first.params[n] for n in ("place", "instance", "instruction", "labels")}
    assert told == {
        "place": 1, "instance": 1, "instruction": MOOD, "labels": ["Cheerful", "Gloomy"],
    }  # fmt: skip
    assert first.params["list"]["instances"] == {"kept": 5, "not_answered": 0, "dropped": []}
    assert [s.id for s in rows.seeds] == [p.seed_id for p in rows.pairs]
    assert [s.extra["way"] for s in rows.seeds] == [p.params["way"] for p in rows.pairs]
    steps = [ask.step for ask in here.asked]
    assert steps == list(REPLIES)  # all of a kind side by side, nothing asked twice
    assert here.kept == steps


def test_what_is_asked_of_the_teacher() -> None:
    _, here = played({"answer/2/3": "It is cold."}, instances=3)
    asked = {ask.step: ask for ask in here.asked}
    assert "are given with it later" in asked["list"].messages[0].content
    kind = asked["classify/1"]
    assert MOOD in kind.messages[-1].content
    assert kind.sampling is not None
    assert kind.sampling.temperature == 0
    assert {m.content for m in kind.messages if m.role == "assistant"} == {"yes", "no"}
    assert '"Gloomy"' in asked["input/1/1"].messages[-1].content
    assert "Write 3 different examples" in asked["inputs/2"].messages[-1].content
    answer = asked["answer/2/1"].messages
    assert [m.content for m in answer] == ["Be kind.", f"{SUM}\n\nBees dance.\nThey also sing."]


def test_the_step_can_be_switched_off() -> None:
    answers = {f"answer/{place}": f"Answer {place}." for place in (1, 2, 3)}
    ended, here = played(answers, classify="off")
    assert [ask.step for ask in here.asked] == ["list", "answer/3"]
    (draft,) = ended.result.drafts
    assert "way" not in draft.params
    dropped = {each["place"]: each["rule"] for each in draft.params["list"]["dropped"]}
    assert dropped == {1: "misses_input", 2: "misses_input"}
    assert "is complete" in here.asked[0].messages[0].content


def test_labels_take_turns_from_instruction_to_instruction() -> None:
    second = "Tell whether the given animal is a bird or a fish."
    ended, _ = played(
        {"list": f"1. {MOOD}\n2. {second}", "classify/2": "yes", "labels/2": "1. bird\n2. fish",
         "input/2/1": "a shark"},
        instances=1,
    )  # fmt: skip
    assert [d.answer for d in ended.result.drafts] == ["Gloomy", "bird"]


def test_one_input_for_two_labels_is_no_example_of_either() -> None:
    ended, _ = played({"input/1/2": "the rain will  never end."})
    assert rules(ended.result) == [(1, "same_input"), (1, "same_input")]
    assert {d.params["place"] for d in ended.result.drafts} == {2, 3}


@pytest.mark.parametrize(
    ("step", "said", "rule"),
    [
        ("classify/1", "It depends.", "not_read"),
        ("classify/1", "", "not_read"),
        ("labels/1", "I would rather not.", "not_read"),
        ("labels/1", "1. cheerful\n2. Cheerful.", "few_labels"),
        ("inputs/2", "I have none to hand.", "not_read"),
        ("inputs/2", reply("Input: Bees", finish_reason="length"), "not_read"),
        ("input/1/1", "  ", "empty"),
        ("input/1/1", reply("The rain will", finish_reason="length"), "cut_off"),
        ("input/1/1", "gloomy", "repeats_input"),
        ("answer/2/2", "Rain falls.", "repeats_input"),
        ("answer/3/1", "how is bread baked?", "repeats_input"),
    ],
)
def test_what_is_not_kept_is_told_and_the_rest_goes_on(step: str, said: Any, rule: str) -> None:
    ended, _ = played({step: said})
    assert rules(ended.result) == [(int(step.split("/")[1]), rule)]
    assert ended.result.drafts


def test_when_nothing_can_be_read_the_first_reply_is_the_failure() -> None:
    unread = {f"classify/{n}": f"Who knows {n}?" for n in (1, 2, 3)}
    dropped = failed(unread)
    assert (dropped.step, dropped.code, dropped.text) == ("classify/1", UNREADABLE, "Who knows 1?")
    assert dropped.reason == "None of 3 instructions came to an instance: 3 not to be read."
    few = {"list": f"1. {MOOD}", "labels/1": "1. fine"}
    assert (failed(few).step, failed(few).code) == ("labels/1", ELIMINATED)


@pytest.mark.parametrize("step", ["classify/2", "labels/1", "inputs/2", "input/1/2"])
def test_a_teacher_that_fails_on_the_way_is_asked_again(step: str) -> None:
    dropped = failed({step: reply(error_code="busy", error="Too busy.")})
    assert (dropped.step, dropped.code, dropped.reason) == (step, "busy", "Too busy.")


def test_an_input_without_an_answer_stays_as_a_seed() -> None:
    busy = reply(error_code="busy", error="Too busy.")
    ended, _ = played({"answer/2/1": busy, "answer/3/1": " "})
    assert [s.extra["not_answered"] for s in ended.result.seeds] == [
        "Too busy.",
        "The answer is empty.",
    ]
    assert ended.result.seeds[0].prompt == f"{SUM}\n\nBees dance.\nThey also sing."
    assert len(to_rows(ended, ORIGIN).pairs) == 3
    none = {"list": f"1. {BREAD}", "classify/1": "no", "inputs/1": "none", "answer/1/1": busy}
    assert (failed(none).step, failed(none).code) == ("answer/1/1", "busy")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Yes", True),
        ("**No**.", False),
        ("Answer: yes", True),
        ("The labels are fixed.\n\nSo the answer is yes.", True),
        ("This is not a classification task.", False),
        ("It is a classification task because there are no other answers.", True),
        ("No. Wait.\nYes.", None),
        ("Yes, but it is not a classification task.", None),
        ("Yesterday was fine.", None),
        ("", None),
    ],
)
def test_yes_and_no(said: str, kind: bool | None) -> None:
    assert read_kind(said) is kind


def test_labels_and_inputs_as_models_write_them() -> None:
    said = "Here are the labels:\n- **Spam** - unwanted\n- Ham.\n- spam\n- " + "word " * 11
    assert read_labels(said) == ["Spam", "Ham"]
    assert read_labels("1. yes 2. no") == ["yes", "no"]
    with pytest.raises(Unreadable):
        read_labels("None that I know of.")
    assert read_inputs("1. one egg\n2. two eggs\n3. One  egg") == ["one egg", "two eggs"]
    assert read_inputs("**Input 1:** a\nb\n\n**Input 2:** <noinput>") == ["a\nb"]
    assert read_inputs(" <noinput> ") == [""]
    assert read_inputs("Input: a\nInput: b", is_cut=True) == ["a"]
    assert read_input("Input: none") == ""
    assert read_input('**Input:** "A cold day."') == "A cold day."


TEXTS = st.sampled_from(["", "a", "A ", "b", "b\n", "c d", "c  d"])
INSTANCES = st.lists(
    st.builds(Instance, st.sampled_from(["Do", "do it"]), TEXTS, TEXTS | st.just("Do")), max_size=8
)


@given(made=INSTANCES)
def test_what_is_sound(made: list[Instance]) -> None:
    """By the definition, one instance at a time."""
    found = sound(made)
    assert len(found) == len(made)
    kept = [each for each, rule in zip(made, found, strict=True) if not rule]
    prompts = [key_of(each.prompt) for each in kept]
    assert len(set(prompts)) == len(prompts)
    for place, (each, rule) in enumerate(zip(made, found, strict=True)):
        same = [o for o in made if key_of(o.prompt) == key_of(each.prompt)]
        is_echo = key_of(each.output) == key_of(each.input or each.instruction)
        is_torn = len({key_of(o.output) for o in same}) > 1
        if is_echo:
            assert rule == REPEATS_INPUT
        elif is_torn:
            assert rule == SAME_INPUT
        else:
            earlier = [o for o in made[:place] if key_of(o.prompt) == key_of(each.prompt)]
            assert rule == (REPEATED if earlier else "")


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert read_kind(text) in (True, False, None)
    read_input(text)
    for read in (read_labels, read_inputs):
        try:
            found = read(text)
        except Unreadable:
            continue
        keys = [key_of(each) for each in found]
        assert len(set(keys)) == len(keys)
        assert all(found) or found == [""]
