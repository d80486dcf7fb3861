"""Evol-Instruct by hand-fed replies: rounds, what is undone, who judges, what is kept."""

from dataclasses import replace
from typing import Any

import pytest

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.effects import ELIMINATED, Dropped, Made, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.evol_instruct import DEEPEN, method_for
from tests.generate.play import ORIGIN, Played, play, reply, world

RECIPE = RECIPES["evol_instruct"]
FIRST = "Name a bird that cannot fly, and give two reasons."
SECOND = "Name a bird of the southern hemisphere that cannot fly; give two reasons and a source."
GOOD = {
    "evolve/1-of-0": FIRST,
    "equal/1-of-0": "Different",
    "answer/1-of-0": "The emu: heavy, and with small wings.",
    "evolve/2-of-1": SECOND,
    "equal/2-of-1": "Not equal.",
    "answer/2-of-1": "The kiwi.",
}
# Where the first round is undone, the second starts from the seed.
AGAIN = {
    "evolve/2-of-0": SECOND,
    "equal/2-of-0": "Different",
    "answer/2-of-0": "The kiwi, again.",
}


def unit(text: str = "Name a bird.", *before: Message) -> Unit:
    return Unit(Seed(messages=(*before, Message(role="user", content=text)), topic="birds"), 0, "T")


def settings(judge: str = "", **options: Any) -> Settings:
    prompts = RECIPE.prompts
    return Settings(
        SamplingParams(max_tokens=50, temperature=0.9),
        texts={text.name: text.text for text in prompts.texts},
        options=prompts.chosen(options),
        judge=judge,
    )


def played(replies: dict[str, Any], of: Unit | None = None, **wish: Any) -> tuple[Any, Played]:
    here = world(of or unit(), settings(**wish), replies)
    return play(RECIPE, here.unit, here.settings, {}, here), here


def evolved(draft: Any) -> tuple[int, int, list[tuple[int, str]]]:
    """(round, the round it starts from, what was undone)."""
    found = draft.params["evolved"]
    dropped = [(each["place"], each["rule"]) for each in found["dropped"]]
    return found["round"], found["from_round"], dropped


def test_every_round_that_survives_is_a_new_seed_with_its_answer() -> None:
    ended, here = played(GOOD)
    assert isinstance(ended.result, Made)
    assert [d.seed.prompt for d in ended.result.drafts] == [FIRST, SECOND]
    assert [evolved(d) for d in ended.result.drafts] == [(1, 0, []), (2, 1, [])]
    rows = to_rows(ended, ORIGIN)
    assert [(p.prompt, p.answer, p.topic) for p in rows.pairs] == [
        (FIRST, "The emu: heavy, and with small wings.", "birds"),
        (SECOND, "The kiwi.", "birds"),
    ]
    assert [s.extra["round"] for s in rows.seeds] == [1, 2]
    assert here.kept == list(GOOD)
    assert FIRST in here.asked[3].messages[-1].content


def test_new_prompts_name_the_recipe_and_their_answers_where_the_first_came_from() -> None:
    ended, _ = played(GOOD)
    for source, told in (("birds.jsonl", "birds.jsonl"), ("", "generated")):
        first = ended.unit.seed.model_copy(update={"source": source})
        rows = to_rows(replace(ended, unit=replace(ended.unit, seed=first)), ORIGIN)
        assert {pair.source for pair in rows.pairs} == {told}
        assert {seed.source for seed in rows.seeds} == {ORIGIN.recipe}


def test_only_the_last_is_kept_where_one_wants_that() -> None:
    ended, _ = played(GOOD, keep="last")
    assert [d.seed.prompt for d in ended.result.drafts] == [SECOND]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"evolve/1-of-0": "name a BIRD"}, "no_gain"),
        ({"evolve/1-of-0": FIRST, "equal/1-of-0": "Equal"}, "no_gain"),
        ({"evolve/1-of-0": FIRST, "equal/1-of-0": "Hard to say"}, "not_judged"),
        ({"evolve/1-of-0": FIRST, "equal/1-of-0": " "}, "not_judged"),
        ({"evolve/1-of-0": " "}, "empty"),
        ({"evolve/1-of-0": "The rewritten prompt: name two birds."}, "copies_prompt"),
        ({"evolve/1-of-0": "... and the?"}, "only_stop_words"),
        ({"evolve/1-of-0": reply(FIRST, finish_reason="length")}, "cut_off"),
        ({**GOOD, "answer/1-of-0": "I am sorry, I cannot."}, "sorry"),
        ({**GOOD, "answer/1-of-0": " "}, "empty"),
        ({**GOOD, "answer/1-of-0": "..."}, "only_stop_words"),
    ],
)
def test_a_round_that_fails_a_rule_is_undone(bad: dict[str, Any], rule: str) -> None:
    ended, here = played(AGAIN | bad)
    (draft,) = ended.result.drafts
    assert evolved(draft) == (2, 0, [(1, rule)])
    assert draft.seed.prompt == SECOND
    assert "Name a bird." in here.asked[-3].messages[-1].content


def test_what_is_too_like_a_prompt_there_is_is_undone() -> None:
    here = world(unit(), settings(), GOOD | AGAIN)
    here.pool.admit(FIRST.upper(), 2.0)
    ended = play(RECIPE, here.unit, here.settings, {}, here)
    (draft,) = ended.result.drafts
    assert evolved(draft) == (2, 0, [(1, "too_like")])
    assert draft.params["evolved"]["dropped"][0]["score"] == 1.0
    assert "equal/1-of-0" not in here.kept


def test_a_later_round_that_fails_leaves_the_earlier_one() -> None:
    ended, _ = played(GOOD | {"equal/2-of-1": "They are equal."}, rounds=2)
    (draft,) = ended.result.drafts
    assert evolved(draft) == (1, 0, [(2, "no_gain")])


def test_nothing_left_is_a_failure_that_counts_the_rules() -> None:
    bad = {"evolve/1-of-0": "Name a bird!", "evolve/2-of-0": "Name a bird?"}
    ended, _ = played(bad)
    assert isinstance(ended.result, Dropped)
    assert (ended.result.step, ended.result.code) == ("evolve/1-of-0", ELIMINATED)
    assert ended.result.reason == (
        "None of 2 rounds is kept: 2 without a gain over the instruction before."
    )
    assert ended.result.text == "Round 1: Name a bird!\n\nRound 2: Name a bird?"
    assert ended.forgotten == tuple(bad)


@pytest.mark.parametrize("step", ["evolve/2-of-1", "equal/2-of-1", "answer/2-of-1"])
def test_a_teacher_that_fails_ends_the_unit_and_keeps_what_came_before(step: str) -> None:
    ended, here = played(GOOD | {step: reply(error_code="busy", error="Too busy.")})
    assert (ended.result.step, ended.result.code) == (step, "busy")
    assert here.kept == list(GOOD)[: list(GOOD).index(step)]


def test_the_judge_is_the_teacher_itself_unless_chosen_and_is_asked_greedily() -> None:
    for judge in ("", "Judge"):
        _, here = played(GOOD, judge=judge)
        by_step = {ask.step: ask for ask in here.asked}
        asked = by_step["equal/1-of-0"]
        assert asked.teacher == judge
        assert asked.sampling.temperature == 0
        assert asked.sampling.max_tokens == 50
        assert "Name a bird." in asked.messages[0].content
        assert FIRST in asked.messages[0].content
        assert by_step["evolve/1-of-0"].sampling is None
        assert by_step["answer/1-of-0"].teacher == ""


def test_the_kind_decides_the_method_and_is_always_the_same() -> None:
    units = [unit(f"Name bird {n}.") for n in range(200)]
    assert {method_for(each, 1, "deepen") for each in units} == set(DEEPEN)
    assert {method_for(each, 1, "both") for each in units} == {*DEEPEN, "widen"}
    assert {method_for(each, 1, "widen") for each in units} == {"widen"}
    again = [Unit(Seed(messages=u.seed.messages), 0, "T", attempt=3) for u in units]
    assert [method_for(u, 2, "both") for u in units] == [method_for(u, 2, "both") for u in again]
    assert [method_for(u, 1, "both") for u in units] != [method_for(u, 2, "both") for u in units]


@pytest.mark.parametrize("kind", ["deepen", "widen"])
def test_each_kind_sends_its_text(kind: str) -> None:
    _, here = played(GOOD, kind=kind)
    sent = here.asked[0].messages[0].content
    assert ("brand new" in sent) == (kind == "widen")
    if kind == "deepen":
        assert any(here.settings.texts[method] in sent for method in DEEPEN)


def test_the_turns_before_stay() -> None:
    before = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello."),
        Message(role="assistant", content="Hi."),
    )
    ended, _ = played(GOOD, unit("Name a bird.", *before))
    draft = ended.result.drafts[0]
    assert [m.content for m in draft.seed.messages] == ["Be brief.", "Hello.", "Hi.", FIRST]
    assert draft.messages == draft.seed.messages


def test_a_replayed_chain_asks_only_what_is_missing() -> None:
    stored = {step: reply(text) for step, text in GOOD.items() if step.endswith("1-of-0")}
    of = Unit(unit().seed, 0, "T", stored=stored)
    _, here = played(GOOD, of)
    assert [ask.step for ask in here.asked] == list(GOOD)[3:]
