"""Self-Instruct by hand-fed replies, one answer each: every rule, bad lists, failing answers."""

from typing import Any

import pytest

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Pair, Seed
from distill_studio.generate.effects import ELIMINATED, UNREADABLE, Dropped, Made, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.self_instruct import shown_with
from tests.generate.play import ORIGIN, Played, play, reply, world

RECIPE = RECIPES["self_instruct"]
PEOPLE = [f"Tell me about the {animal}." for animal in ("bee", "cow", "dog", "eel", "fox", "gnu")]
OWN = ["List three rivers of Asia.", "How do kites fly?", "Who wrote Faust?"]
NEW = "7. How is bread baked?\n8. Give two uses of a brick.\n9. Translate 'good morning' to Greek."


def unit(**fields: Any) -> Unit:
    message = Message(role="user", content="Why is the\nsky blue?")
    return Unit(Seed(messages=(message,), topic="physics"), 0, "T", **fields)


def settings(**options: Any) -> Settings:
    prompts = RECIPE.prompts
    return Settings(
        SamplingParams(max_tokens=50),
        system_prompt="Be kind.",
        texts={text.name: text.text for text in prompts.texts},
        options=prompts.chosen({"classify": "off"} | options),
    )


def played(replies: dict[str, Any], **options: Any) -> tuple[Any, Played]:
    answers = {f"answer/{place}": f"Answer {place}." for place in range(1, 30)}
    here = world(unit(), settings(**options), answers | replies, people=PEOPLE, own=OWN)
    return play(RECIPE, here.unit, here.settings, {}, here), here


def dropped_rules(draft: Any) -> dict[int, str]:
    return {each["place"]: each["rule"] for each in draft.params["list"]["dropped"]}


def test_the_teacher_sees_eight_instructions_led_by_the_seed() -> None:
    _, here = played({"list": NEW})
    (message,) = here.asked[0].messages
    assert "1. Why is the sky blue?\n2. Tell me about the bee." in message.content
    assert "8. How do kites fly?\n9." in message.content
    assert "the gnu" not in message.content
    assert "numbered 9 to 13" in message.content


def test_long_instructions_are_not_shown_but_for_the_seed() -> None:
    long = "word " * 151
    assert shown_with(long, [long, "short  one"]) == [long.strip(), "short one"]


def test_each_new_instruction_becomes_a_seed_with_an_answer() -> None:
    ended, here = played({"list": NEW})
    made = ended.result
    assert isinstance(made, Made)
    assert [d.seed.prompt for d in made.drafts] == [
        "How is bread baked?",
        "Give two uses of a brick.",
        "Translate 'good morning' to Greek.",
    ]
    rows = to_rows(ended, ORIGIN)
    assert [s.id for s in rows.seeds] == [p.seed_id for p in rows.pairs]
    pair: Pair = rows.pairs[2]
    assert [m.content for m in pair.messages] == ["Be kind.", "Translate 'good morning' to Greek."]
    assert (pair.answer, pair.topic, pair.params["from_seed"]) == (
        "Answer 3.",
        "",
        here.unit.seed.id,
    )
    assert pair.params["place"] == 3
    assert pair.params["list"] == {"written": 3, "kept": 3, "dropped": []}
    assert here.kept == ["list", "answer/1", "answer/2", "answer/3"]


def test_what_is_not_kept_is_told_with_its_rule() -> None:
    said = [
        "Tell me about the bee.",  # copy
        "Why is the whole sky so blue?",  # too like the seed
        "How is bread baked?",
        "**How is bread baked?**",  # like the one before
        "Bake!",
        "Write a program that bakes bread.",
        "Paint a picture of bread.",
        "Give two uses of a brick.",
        "Name the planets in order.",  # beyond two
    ]
    text = "\n".join(f"{n}. {line}" for n, line in enumerate(said, start=9))
    ended, _ = played({"list": text}, count=2)
    first, second = ended.result.drafts
    assert (first.params["place"], second.params["place"]) == (3, 8)
    assert dropped_rules(first) == {
        1: "copy",
        2: "too_like",
        4: "too_like",
        5: "too_short",
        6: "write_a_program",
        7: "needs_media",
        9: "more_than_asked",
    }
    like = first.params["list"]["dropped"][1]
    assert (like["like"], like["score"]) == ("Why is the\nsky blue?", 0.833)
    assert first.params["list"]["written"] == 9


def test_a_cut_off_list_loses_its_last_item() -> None:
    ended, _ = played({"list": reply(NEW, finish_reason="length")})
    assert [d.params["place"] for d in ended.result.drafts] == [1, 2]
    assert dropped_rules(ended.result.drafts[0]) == {3: "cut_off"}


def test_nothing_kept_is_a_failure_that_counts_the_rules() -> None:
    text = "1. Tell me about the bee.\n2. Tell me about the cow.\n3. No"
    ended, here = played({"list": text})
    assert isinstance(ended.result, Dropped)
    assert (ended.result.step, ended.result.code) == ("list", ELIMINATED)
    assert ended.result.reason == (
        "None of 3 new instructions is kept: 2 copied from the instructions shown,"
        " 1 shorter than 3 words."
    )
    assert ended.result.text == text
    assert ended.forgotten == ("list",)
    assert here.kept == []


def test_a_reply_without_a_list_is_unreadable() -> None:
    ended, _ = played({"list": "I would rather not."})
    assert (ended.result.code, ended.result.text) == (UNREADABLE, "I would rather not.")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (reply(error_code="busy", error="Too busy."), "Too busy."),
        (reply(" \n"), "The answer is empty."),
    ],
)
def test_without_an_answer_the_new_prompt_stays(bad: Any, why: str) -> None:
    ended, _ = played({"list": NEW, "answer/2": bad})
    assert [d.params["place"] for d in ended.result.drafts] == [1, 3]
    (waiting,) = ended.result.seeds
    assert waiting.prompt == "Give two uses of a brick."
    assert waiting.extra == {"place": 2, "not_answered": why}
    rows = to_rows(ended, ORIGIN)
    assert len(rows.seeds) == 3
    assert len(rows.pairs) == 2


def test_no_answer_at_all_is_asked_again_without_a_new_list() -> None:
    failed = {f"answer/{n}": reply(error_code="busy", error="Too busy.") for n in (1, 2, 3)}
    ended, here = played({"list": NEW} | failed)
    assert (ended.result.step, ended.result.code) == ("answer/1", "busy")
    assert ended.forgotten == ("answer/1",)  # the others never came
    assert here.kept == ["list"]


def test_a_replayed_list_asks_the_same_answers() -> None:
    _, before = played({"list": NEW})
    here = world(
        unit(stored={"list": reply(NEW)}), settings(), {f"answer/{n}": "A" for n in (1, 2, 3)}
    )
    play(RECIPE, here.unit, here.settings, {}, here)
    assert here.asked == before.asked[1:]
