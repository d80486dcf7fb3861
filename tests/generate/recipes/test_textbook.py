"""Textbooks: the outline, sections, exercises, and what of it is missing."""

from collections.abc import Sequence
from typing import Any

import pytest

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.effects import Ask, Draft, Dropped, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from tests.generate.play import ORIGIN, Played, Said, play, reply, world

RECIPE = RECIPES["textbook"]
TEXTS = {text.name: text.text for text in RECIPE.prompts.texts}
LONG = "Rain falls when the drops of a cloud have grown so heavy that air cannot hold them. " * 4
SAID: dict[str, Said] = {
    "subtopics": "1. Rain\n2. Snow",
    "section/1": LONG,
    "section/2": f"Snow. {LONG}",
    "exercises/1": "1. Why does a heavy drop fall faster than a light one?",
    "exercises/2": "1. Name two conditions that snow needs.\nSolution: cold and water.",
    "answer/1/1": "Because its weight grows faster than its drag.",
    "answer/2/1": "Cold air and water vapour.",
}
UNIT = Unit(Seed(messages=(Message(role="user", content="Weather."),), topic="science"), 0, "T")


def settings(options: dict[str, Any] | None = None, **fields: Any) -> Settings:
    chosen = RECIPE.prompts.chosen({"subtopics": 2} | (options or {}))
    sampling = SamplingParams(temperature=0.7, top_logprobs=2)
    return Settings(sampling, texts=TEXTS, options=chosen, **fields)


def write(
    replies: dict[str, Said] | None = None,
    options: dict[str, Any] | None = None,
    people: Sequence[str] = (),
    **fields: Any,
) -> tuple[Any, Played]:
    chosen = settings(options, **fields)
    here = world(UNIT, chosen, SAID | (replies or {}), people=people)
    return play(RECIPE, UNIT, chosen, {}, here).result, here


def kinds(drafts: Sequence[Draft]) -> list[tuple[str, str]]:
    return [(d.params["kind"], d.seed.topic) for d in drafts if d.seed]


def test_a_topic_becomes_sections_and_answered_exercises() -> None:
    made, here = write(system_prompt="Be kind.")
    assert [ask.step for ask in here.asked] == list(SAID)
    assert kinds(made.drafts) == [
        ("section", "Weather / Rain"),
        ("section", "Weather / Snow"),
        ("exercise", "Weather / Rain"),
        ("exercise", "Weather / Snow"),
    ]
    section, exercise = made.drafts[0], made.drafts[3]
    outline = here.asked[0].messages
    assert outline[-1].content.startswith("A textbook on Weather for school students needs")
    assert [m.content for m in outline if m.role == "assistant"] == [
        "1. From a city to an empire\n2. Emperors and the Senate",
        "1. Charge and current\n2. Voltage and resistance",
    ]
    assert [m.content for m in section.messages] == [
        "Be kind.",
        "Write a textbook section on Rain for school students. It is part of a textbook on"
        " Weather.",
    ]
    assert section.reply.text == LONG
    assert [m.content for m in exercise.messages] == [
        "Be kind.",
        "Name two conditions that snow needs.",
    ]
    assert exercise.seed.messages == exercise.messages[1:]
    assert exercise.params["path"] == ["Weather", "Snow"]
    assert exercise.params["coverage"] == {"asked": 2, "found": 2, "made": 2, "missing": {}}
    pairs = to_rows(play(RECIPE, UNIT, settings(), SAID), ORIGIN).pairs
    assert {pair.topic for pair in pairs} == {"Weather / Rain", "Weather / Snow"}
    assert {pair.params["from_seed"] for pair in pairs} == {UNIT.seed.id}


def test_how_a_section_is_to_be_written_is_told_and_not_trained_on() -> None:
    made, here = write(system_prompt="Be kind.")
    asked = next(ask for ask in here.asked if ask.step == "section/1")
    assert asked.messages[0].content == f"{TEXTS['style']}\n\nBe kind."
    assert asked.messages[1:] == made.drafts[0].messages[1:]
    assert asked.sampling is None
    trained = "".join(m.content for draft in made.drafts for m in draft.messages)
    assert TEXTS["style"] not in trained


def test_exercises_see_the_section_and_their_answers_do_not() -> None:
    _, here = write()
    by_step: dict[str, Ask] = {ask.step: ask for ask in here.asked}
    shown = [m.content for m in by_step["exercises/1"].messages]
    assert LONG in shown[-1]
    assert shown[1].startswith("1. A child of 24 kg")
    assert shown[1].count("\n") == 0
    assert by_step["exercises/1"].sampling == SamplingParams(temperature=0.7)
    assert [m.content for m in by_step["answer/1/1"].messages] == [
        "Why does a heavy drop fall faster than a light one?"
    ]


def test_no_exercises() -> None:
    made, here = write(options={"exercises": 0})
    assert kinds(made.drafts) == [("section", "Weather / Rain"), ("section", "Weather / Snow")]
    assert [ask.step for ask in here.asked] == ["subtopics", "section/1", "section/2"]


def test_two_levels() -> None:
    said: dict[str, Said] = {
        "subtopics/1": "1. Drops\n2. Showers",
        "subtopics/2": "1. Drops\n2. Flakes\n3. Slush",
        **{f"section/{place}": f"{place} {LONG}" for place in ("1.1", "1.2", "2.2", "2.3")},
    }
    made, here = write(said, {"depth": 2, "exercises": 0})
    assert [d.seed.topic for d in made.drafts] == [
        "Weather / Rain / Drops",
        "Weather / Rain / Showers",
        "Weather / Snow / Flakes",
        "Weather / Snow / Slush",
    ]
    assert "on Weather: Rain for" in here.asked[1].messages[-1].content
    assert made.drafts[0].params["coverage"]["asked"] == 4
    assert made.drafts[0].messages[-1].content.endswith("a textbook on Weather: Rain.")


def test_a_section_that_is_of_no_use_is_missing_and_the_rest_stays() -> None:
    made, here = write({"section/2": "I'm sorry, I cannot do this. " * 8})
    assert kinds(made.drafts) == [("section", "Weather / Rain"), ("exercise", "Weather / Rain")]
    assert made.drafts[0].params["coverage"] == {
        "asked": 2,
        "found": 2,
        "made": 1,
        "missing": {"Weather / Snow": "a refusal"},
    }
    assert "exercises/2" not in [ask.step for ask in here.asked]
    made, _ = write({"section/1": ""})
    assert made.drafts[0].params["coverage"]["missing"] == {"Weather / Rain": "empty"}


def test_no_section_at_all_is_a_failure() -> None:
    dropped, _ = write({"section/1": "Rain.", "section/2": "Snow."})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code, dropped.text) == (
        "section/1",
        "eliminated",
        "Rain.\n\nSnow.",
    )
    assert "shorter than 40 words" in dropped.reason


@pytest.mark.parametrize(
    ("said", "code"), [("Rain is wet.", "unreadable"), ("1. Weather\n2. weather", "eliminated")]
)
def test_an_outline_without_a_title_is_a_failure(said: str, code: str) -> None:
    dropped, _ = write({"subtopics": said})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code, dropped.text) == ("subtopics", code, said)


@pytest.mark.parametrize("step", ["section/2", "exercises/1", "answer/2/1"])
def test_a_teacher_that_fails_ends_the_unit_so_that_it_is_asked_again(step: str) -> None:
    dropped, here = write({step: reply("", error_code="unreachable", error="No route.")})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code) == (step, "unreachable")
    assert "subtopics" in here.kept


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("1. What does the section say about rain?", "needs the section"),
        ("1. Explain the picture of a cloud.", "images"),
        ("I'm ready to help. What would you like to do?", "what an assistant says"),
        (f"1. {LONG[:84]}", "copied from the section"),
        (
            "1. A child of 15 kg sits 2 m from the center of a seesaw. How far from the center"
            " must a child of 19 kg sit, so that the seesaw is in balance?",
            "too like an example",
        ),
        ("1. Why?", "shorter than 3 words"),
        ("1. Solution: it rains.", "shorter than 3 words"),
        ("1. Name two conditions that snow needs.", "too like"),
        ("1. What kind of weather do farmers like?", "too like"),
        (reply("1. What kind of", finish_reason="length"), "cut off"),
        ("", "holds no"),
    ],
)
def test_exercises_that_are_of_no_use_are_dropped_and_counted(said: Said, why: str) -> None:
    replies = {"exercises/1": SAID["exercises/2"], "exercises/2": said}
    replies["answer/1/1"] = "Cold."
    made, _ = write(replies, people=["What kind of weather do farmers like?"])
    assert [kind for kind, _ in kinds(made.drafts)] == ["section", "section", "exercise"]
    [reason] = made.drafts[0].params["exercises_dropped"]
    assert why in reason


def test_a_single_exercise_needs_no_number_and_its_solution_goes() -> None:
    said = "Sure, here is one:\n\nExercise: Why is snow white? Answer: It scatters light."
    made, _ = write({"exercises/2": said, "answer/2/1": "It scatters."})
    assert made.drafts[-1].messages[-1].content == "Why is snow white?"
    assert made.drafts[-1].reply.text == "It scatters."


def test_several_exercises_keep_the_places_that_they_had() -> None:
    said = (
        "1. Why?\n2. 1. Why is snow white?\n3. Where does it snow most?\n4. One too many is here."
    )
    replies: dict[str, Said] = {
        "exercises/2": said,
        "answer/2/2": "Light.",
        "answer/2/3": " ",
    }
    made, here = write(replies, {"exercises": 3})
    assert [ask.step for ask in here.asked][-3:] == ["answer/1/1", "answer/2/2", "answer/2/3"]
    assert kinds(made.drafts)[-1] == ("exercise", "Weather / Snow")
    assert made.drafts[0].params["exercises_dropped"] == [
        "2/1: shorter than 3 words",
        "2/3: no answer",
    ]


def test_every_pair_of_a_unit_has_a_prompt_of_its_own() -> None:
    twice = {"exercises/2": SAID["exercises/1"]}
    made, _ = write(twice)
    prompts = [draft.seed.content_hash for draft in made.drafts]
    assert len(set(prompts)) == len(prompts) == 3
