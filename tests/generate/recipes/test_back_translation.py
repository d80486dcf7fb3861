"""Back-translation: a request for a passage, the rating, and the passage as the answer."""

from typing import Any

import pytest

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.asides import read_shots
from distill_studio.generate.effects import Dropped, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.back_translation import _one_score, wrong_with
from distill_studio.judge import read_scores
from tests.generate.play import ORIGIN, Played, Said, play, reply, world

RECIPE = RECIPES["back_translation"]
TEXTS = {text.name: text.text for text in RECIPE.prompts.texts}
PASSAGE = (
    "Put the eggs into cold water and bring it to the boil. Take the pot off the stove, put a lid"
    " on it and wait for ten minutes. Then cool the eggs in cold water, so that they peel well."
)
SAID: dict[str, Said] = {
    "instruction": "Request: How do I hard-boil eggs so that they peel well?",
    "rate": "It is complete and clear.\nScore: 4",
}


def unit(attempt: int = 0) -> Unit:
    extra = {"document": "kitchen.md", "part": 3, "of": 9, "line": 7}
    seed = Seed(messages=(Message(role="user", content=PASSAGE),), topic="cooking", extra=extra)
    return Unit(seed, 0, "T", attempt)


def settings(least: int = 4, **fields: Any) -> Settings:
    sampling = SamplingParams(temperature=0.9, top_logprobs=2)
    return Settings(sampling, texts=TEXTS, options={"least_score": least}, **fields)


def run(
    replies: dict[str, Said] | None = None, least: int = 4, attempt: int = 0, **fields: Any
) -> tuple[Any, Played]:
    asking, chosen = unit(attempt), settings(least, **fields)
    here = world(asking, chosen, SAID | (replies or {}))
    return play(RECIPE, asking, chosen, {}, here).result, here


def test_the_passage_itself_answers_a_new_prompt() -> None:
    made, here = run(judge="J", system_prompt="Be kind.")
    ask, rate = here.asked
    assert PASSAGE in ask.messages[-1].content
    assert [m.role for m in ask.messages] == ["user", "assistant"] * 3 + ["user"]
    assert (ask.teacher, rate.teacher) == ("", "J")
    assert ask.sampling == SamplingParams(temperature=0.9)
    assert rate.sampling == SamplingParams(temperature=0.0)
    assert rate.schema is not None
    assert "How do I hard-boil eggs so that they peel well?" in rate.messages[-1].content
    ratings = [m.content for m in rate.messages if m.role == "assistant"]
    assert [read_scores(text, _one_score()).scores["score"] for text in ratings] == [3, 5, 1, 4]
    [draft] = made.drafts
    assert [m.content for m in draft.messages] == [
        "Be kind.",
        "How do I hard-boil eggs so that they peel well?",
    ]


def test_the_pair_says_where_it_comes_from_and_names_no_model_as_author() -> None:
    asking = unit()
    said = SAID | {"instruction": reply("How do I hard-boil eggs?", model="m", completion_tokens=9)}
    rows = to_rows(play(RECIPE, asking, settings(), said), ORIGIN)
    [pair], [seed] = rows.pairs, rows.seeds
    assert (pair.answer, pair.teacher, pair.model) == (PASSAGE, "document", "")
    assert (pair.completion_tokens, pair.judge_score, pair.topic) == (None, 4.0, "cooking")
    found = {k: pair.params[k] for k in ("document", "part", "of", "request_by", "request_model")}
    assert found == {
        "document": "kitchen.md",
        "part": 3,
        "of": 9,
        "request_by": "T",
        "request_model": "m",
    }
    assert (pair.params["rated_by"], pair.params["rating"]) == ("T", SAID["rate"])
    assert (seed.extra["document"], seed.extra["part"]) == ("kitchen.md", 3)
    assert seed.id == pair.seed_id
    assert pair.params["from_seed"] == asking.seed.id


@pytest.mark.parametrize(
    ("request_text", "why"),
    [
        ("What does the passage say about eggs?", "speaks of the passage"),
        ("Summarize the following text about eggs.", "speaks of the passage"),
        ("Explain what is described above about eggs.", "speaks of the passage"),
        ("How long do eggs take, according to the author?", "speaks of the passage"),
        ("Rewrite this article on boiling eggs.", "speaks of the passage"),
        ("Put the eggs into cold water and bring it to the boil.", "is copied"),
        ("A note: from the time that the echo takes, a bat knows.", "that of an example"),
        ("I'm sorry for the confusion.", "what an assistant says"),
        ("Explain how bats can hunt in complete darkness.", "that of an example"),
        ("Eggs?", "is shorter than 3 words"),
        ("egg " * 45, "is longer than"),
    ],
)
def test_requests_that_nobody_could_make_are_eliminated(request_text: str, why: str) -> None:
    dropped, here = run({"instruction": request_text})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code, dropped.text) == (
        "instruction",
        "eliminated",
        request_text,
    )
    assert why in dropped.reason
    assert [ask.step for ask in here.asked] == ["instruction"]


@pytest.mark.parametrize(
    "request_text",
    [
        "How do I boil eggs?",
        "Write a short text on boiling eggs.",
        "Write a paragraph that explains to a beginner how eggs are boiled.",
        "What is the best way of boiling eggs in cold water?",
    ],
)
def test_requests_that_are_fine(request_text: str) -> None:
    assert wrong_with(request_text, PASSAGE) == ""


def test_a_request_that_breaks_off_is_eliminated() -> None:
    dropped, _ = run({"instruction": reply("How do I boil", finish_reason="length")})
    assert isinstance(dropped, Dropped)
    assert "cut off" in dropped.reason


@pytest.mark.parametrize(("least", "is_kept"), [(3, True), (4, True), (5, False)])
def test_what_is_rated_too_low_is_eliminated(least: int, is_kept: bool) -> None:
    result, _ = run(least=least)
    assert isinstance(result, Dropped) != is_kept
    if isinstance(result, Dropped):
        assert (result.step, result.code) == ("instruction", "eliminated")
        assert "score of 4, below 5" in result.reason


def test_after_a_low_rating_another_request_is_asked_for() -> None:
    ended = play(RECIPE, unit(), settings(), SAID | {"rate": "Score: 1"})
    assert ended.forgotten == ("instruction", "rate")


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("5", 5),
        ("Score: 5/5", 5),
        ("**Score:** 4", 4),
        ('{"reason": "good", "score": 4}', 4),
        ("Good enough. Rating: 5", 5),
    ],
)
def test_scores_are_read_tolerantly(said: str, score: int) -> None:
    made, _ = run({"rate": said})
    assert made.drafts[0].judge_score == score


@pytest.mark.parametrize("said", ["It is good.", "Score: 3 or 4", "Score: 9", "Score: 4\nScore: 2"])
def test_a_rating_without_one_score_is_unreadable_and_asked_again(said: str) -> None:
    dropped, here = run({"rate": said})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code, dropped.text) == ("rate", "unreadable", said)
    assert here.kept == ["instruction"]
    _, here = run({"rate": said}, attempt=1)
    assert here.asked[1].sampling == SamplingParams(temperature=0.9)


def test_a_rating_in_the_words_of_an_example_is_none() -> None:
    [*_, last] = read_shots(TEXTS["rate_shots"])
    said = last[1][0].replace("skis", "eggs")
    dropped, here = run({"rate": said})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code, dropped.text) == ("rate", "unreadable", said)
    assert here.kept == ["instruction"]


def test_a_request_that_there_is_already_is_eliminated_after_the_rating() -> None:
    asking = unit()
    here = world(asking, settings(), SAID, people=["How do I hard-boil eggs so they peel well?"])
    dropped = play(RECIPE, asking, settings(), {}, here).result
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code) == ("instruction", "eliminated")
    assert "too like another one: How do I hard-boil" in dropped.reason
    assert len(here.asked) == 2


def test_a_request_that_is_not_kept_does_not_stand_in_the_way_of_others() -> None:
    here = world(unit(), settings(), SAID | {"rate": "Score: 2"})
    before = len(here.pool)
    play(RECIPE, unit(), settings(), {}, here)
    assert len(here.pool) == before
