"""Explanation tuning: which strategy, and that nothing of it is left in what is trained on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.drive import Ended
from distill_studio.generate.effects import Dropped, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import Example
from distill_studio.generate.recipes.explanation import (
    STRATEGIES,
    Explanation,
    erased,
    read_strategy,
    told,
)
from tests.generate.play import ORIGIN, Said, play, reply, world

RECIPE = Explanation()
TEXTS = {text.name: text.text for text in RECIPE.prompts.texts}
FREE = "The light of the sun is scattered by the air."


def unit(system: str = "", attempt: int = 0) -> Unit:
    before = (Message(role="system", content=system),) if system else ()
    turns = (*before, Message(role="user", content="Why is the sky blue?"))
    return Unit(Seed(messages=turns), 0, "T", attempt)


def settings(strategy: str = "auto", row_system: str = "generic", **fields: Any) -> Settings:
    chosen = RECIPE.prompts.chosen({"strategy": strategy, "row_system": row_system})
    return Settings(
        SamplingParams(temperature=0.8, top_logprobs=3, stop=("x",)),
        **{"system_prompt": "Be careful.", "texts": TEXTS, "options": chosen, **fields},
    )


def played(replies: dict[str, Said], system: str = "", **fields: Any) -> Ended:
    return play(RECIPE, unit(system), settings(**fields), replies)


def contents(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in messages]


def test_every_strategy_is_an_option_and_has_a_text_and_a_line_in_the_question() -> None:
    option = RECIPE.prompts.options[0]
    assert option.choices == ("auto", *STRATEGIES)
    for name in STRATEGIES:
        assert TEXTS[name.replace(" ", "_")]
        assert f"- {name}:" in TEXTS["choose"]
        assert read_strategy(name) == name
        assert read_strategy(name.replace(" ", "_")) == name
    assert RECIPES["explanation"].samples(5) == 1


def test_the_teacher_chooses_and_the_strategy_is_erased() -> None:
    here = world(unit(), settings(), {"choose": "Step-by-step.", "answer": FREE})
    ended = play(RECIPE, unit(), settings(), {}, here)
    choose, answer = here.asked
    assert "Why is the sky blue?" in choose.messages[-1].content
    assert [m.role for m in choose.messages] == ["system", *("user", "assistant") * 6, "user"]
    assert {m.content for m in choose.messages if m.role == "assistant"} == set(STRATEGIES)
    assert choose.sampling == SamplingParams(temperature=0.0)
    assert choose.schema is not None
    assert contents(answer.messages) == [
        ("system", TEXTS["step_by_step"]),
        ("user", "Why is the sky blue?"),
    ]
    [pair] = to_rows(ended, ORIGIN).pairs
    assert contents(pair.messages) == [("system", "Be careful."), ("user", "Why is the sky blue?")]
    assert (pair.answer, pair.params["strategy"], pair.params["strategy_by"]) == (
        FREE,
        "step by step",
        "teacher",
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_chosen_strategy_is_not_asked_for(strategy: str) -> None:
    here = world(unit(), settings(strategy), {"answer": FREE})
    ended = play(RECIPE, unit(), settings(strategy), {}, here)
    assert [ask.step for ask in here.asked] == ["answer"]
    assert here.asked[0].messages[0].content == TEXTS[strategy.replace(" ", "_")]
    [draft] = ended.result.drafts
    assert draft.params == {"strategy": strategy, "strategy_by": "person"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("step by step", "step by step"),
        ("**Recall, then generate**", "recall then generate"),
        ("Recall-Reason-Generate", "recall reason generate"),
        ("recall then reason and then generate", "recall reason generate"),
        ('{"strategy": "extract then generate"}', "extract then generate"),
        ("I would explain then answer here, since it asks why.", "explain then answer"),
        ("Step by step, not direct answer.", "step by step"),
        ("Direct answer\n\nThe step by step way would be too long.", "direct answer"),
        ("It could be step by step or direct answer.\nAnswer: direct answer", "direct answer"),
        ("step by step or direct answer", ""),
        ("- direct answer: simple\n- step by step: a calculation", ""),
        ("direct answer\nstep by step\nrecall then generate", ""),
        ("Paris is the capital of France.", ""),
        ("", ""),
        ("recall", ""),
    ],
)
def test_reading_a_strategy(text: str, name: str) -> None:
    assert read_strategy(text) == name


def test_examples_of_the_choice_that_cannot_be_read_are_left_out() -> None:
    edited = TEXTS | {
        "shots": "Who?\n>> direct answer\n---\nWhat?\n>> nonsense\n---\n>> step by step"
    }
    here = world(unit(), settings(texts=edited), {"choose": "direct answer", "answer": FREE})
    play(RECIPE, unit(), settings(texts=edited), {}, here)
    assert [m.content for m in here.asked[0].messages][1:3] == [
        TEXTS["question"].replace("${task}", "Who?"),
        "direct answer",
    ]
    assert len(here.asked[0].messages) == 4


def test_a_list_that_breaks_off_names_nothing() -> None:
    assert read_strategy("direct answer\nstep by step\nrecall th") == "direct answer"
    assert read_strategy("direct answer\nstep by step\nrecall th", is_cut=True) == ""
    made_up = "Step by step\n\nTask: 3 + 3?\nWay: direct answer\n\nTask: Why"
    assert read_strategy(made_up, is_cut=True) == "step by step"


def test_an_unreadable_choice_is_a_failure_with_its_text_and_is_asked_with_other_luck() -> None:
    ended = played({"choose": "Paris."})
    assert isinstance(ended.result, Dropped)
    failure = to_rows(ended, ORIGIN).failure
    assert failure is not None
    assert (failure.step, failure.code, failure.text) == ("choose", "unreadable", "Paris.")
    again = unit(attempt=1)
    here = world(again, settings(), {"choose": "Paris."})
    play(RECIPE, again, settings(), {}, here)
    assert here.asked[0].sampling is not None
    assert here.asked[0].sampling.temperature == 0.8


@pytest.mark.parametrize(
    ("row_system", "own", "left"),
    [
        ("generic", "", "Be careful."),
        ("generic", "Be a pirate.", "Be careful."),
        ("none", "", ""),
        ("none", "Be a pirate.", ""),
        ("own", "", "Be careful."),
        ("own", "Be a pirate.", "Be a pirate."),
    ],
)
def test_which_system_prompt_is_left(row_system: str, own: str, left: str) -> None:
    ended = played({"answer": FREE}, own, strategy="direct answer", row_system=row_system)
    [draft] = ended.result.drafts
    assert [m.content for m in draft.messages if m.role == "system"] == ([left] if left else [])


def test_the_strategy_comes_before_a_seeds_own_system_prompt() -> None:
    own = Message(role="system", content="Be a pirate.")
    assert contents(told((own, Message(role="user", content="Hi")), "Think.")) == [
        ("system", "Think.\n\nBe a pirate."),
        ("user", "Hi"),
    ]


def test_examples_are_shown_and_not_trained_on() -> None:
    shown = (Example("p", "other", "1 + 1?", "2"),)
    here = world(unit(), settings("direct answer", examples=shown), {"answer": FREE})
    ended = play(RECIPE, unit(), settings("direct answer", examples=shown), {}, here)
    assert [m.content for m in here.asked[0].messages][1:3] == ["1 + 1?", "2"]
    assert len(ended.result.drafts[0].messages) == 2


def test_an_answer_that_repeats_its_instructions_is_eliminated() -> None:
    leak = f"I am told: {TEXTS['step_by_step']} So: blue."
    ended = played({"answer": leak}, strategy="step by step")
    assert isinstance(ended.result, Dropped)
    assert (ended.result.code, ended.result.step, ended.result.text) == (
        "eliminated",
        "answer",
        leak,
    )


def test_words_of_the_task_itself_are_no_leak() -> None:
    task = Seed(messages=(Message(role="user", content=TEXTS["direct_answer"]),))
    ended = play(
        RECIPE,
        Unit(task, 0, "T"),
        settings("direct answer"),
        {"answer": TEXTS["direct_answer"]},
    )
    assert len(ended.result.drafts) == 1


def test_reasoning_that_quotes_the_strategy_is_left_out() -> None:
    said = reply(FREE, reasoning=f"The system prompt says: {TEXTS['direct_answer']}")
    [draft] = played({"answer": said}, strategy="direct answer").result.drafts
    assert (draft.reasoning, draft.params["reasoning_left_out"]) == ("", True)
    [draft] = played(
        {"answer": reply(FREE, reasoning="Air.")}, strategy="direct answer"
    ).result.drafts
    assert draft.reasoning is None


words = st.text(st.characters(codec="utf-8", exclude_characters="§"), min_size=1)


@effort(deadline=None, max_examples=50)
@given(
    strategy=st.sampled_from(STRATEGIES),
    row_system=st.sampled_from(("generic", "none", "own")),
    turns=st.lists(words, min_size=1, max_size=5),
    own=st.none() | words,
    generic=words,
    text=words,
)
def test_nothing_of_a_strategy_is_ever_trained_on(
    strategy: str, row_system: str, turns: list[str], own: str | None, generic: str, text: str
) -> None:
    """Each strategy's text holds a mark that nothing else holds."""
    roles = ("user", "assistant") * 3
    kept = [
        Message(role=role, content=turn)
        for role, turn in zip(roles, turns[: len(turns) - 1 + len(turns) % 2], strict=False)
    ] or [Message(role="user", content=turns[0])]
    before = () if own is None else (Message(role="system", content=own),)
    marked = {name: f"§{name}§ {text}" for name in TEXTS}
    given_settings = settings(strategy, row_system, texts=marked, system_prompt=generic)
    asking = Unit(Seed(messages=(*before, *kept)), 0, "T")
    here = world(asking, given_settings, {"answer": "Yes."})
    ended = play(RECIPE, asking, given_settings, {}, here)
    assert "§" in here.asked[-1].messages[0].content
    [draft] = ended.result.drafts
    assert all("§" not in message.content for message in draft.messages)
    assert draft.messages[-len(kept) :] == tuple(kept)
    allowed = {"generic": {generic}, "none": set(), "own": {generic, own}}[row_system]
    assert {m.content for m in draft.messages if m.role == "system"} <= allowed
    assert draft.messages == erased(asking.seed.messages, generic, row_system)
