"""What all recipes have in common, and the three that ask the seed itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Failure, Message, Pair, Seed
from distill_studio.generate.effects import Ask, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.prompts import ASSETS
from distill_studio.generate.recipes import RECIPES, Recipe, Settings
from distill_studio.generate.recipes.base import Example, request_for, sample_seed
from tests.generate.play import ORIGIN, play, reply

plain = pytest.mark.parametrize("recipe", [RECIPES[n] for n in ("direct", "best_of_n", "verified")])


def seed(text: str = "Why is the sky blue?", system: str = "") -> Seed:
    before = (Message(role="system", content=system),) if system else ()
    return Seed(messages=(*before, Message(role="user", content=text)), topic="physics")


def first_ask(recipe: Recipe, unit: Unit, settings: Settings) -> Ask:
    effect: Any = next(recipe.steps(unit, settings))
    assert isinstance(effect, Ask)
    return effect


def test_names_and_files_agree() -> None:
    assert {name: r.prompts.name for name, r in RECIPES.items()} == {n: n for n in RECIPES}
    assert {p.stem for p in ASSETS.glob("*.json")} == set(RECIPES)
    for path in ASSETS.glob("*.json"):
        assert json.loads(path.read_text())["version"]


@plain
@given(text=st.text(min_size=1), sample=st.integers(0, 1000), system=st.text())
def test_a_request_ends_with_the_users_turn_and_is_always_the_same(
    recipe: Recipe, text: str, sample: int, system: str
) -> None:
    unit = Unit(seed(text), sample, "T")
    settings = Settings(SamplingParams(temperature=0.5, max_tokens=7), system)
    ask = first_ask(recipe, unit, settings)
    request = request_for(unit, ask, settings)
    assert request == request_for(unit, first_ask(recipe, unit, settings), settings)
    assert request.messages[-1].role == "user"
    assert request.sampling.temperature == 0.5
    assert [m.role for m in request.messages].count("system") == bool(system)


@plain
def test_a_seeds_own_system_prompt_stays(recipe: Recipe) -> None:
    unit = Unit(seed(system="Be brief."), 0, "T")
    ask = first_ask(recipe, unit, Settings(system_prompt="Be long."))
    assert [m.content for m in ask.messages] == ["Be brief.", "Why is the sky blue?"]


def test_examples_are_shown_to_the_teacher_and_not_trained_on() -> None:
    unit = Unit(seed(), 0, "T")
    shown = (
        Example("p1", "other", "What is 1 + 1?", "2"),
        Example("p2", unit.seed.id, "Why is the sky blue?", "its own answer"),
    )
    settings = Settings(system_prompt="Be brief.", examples=shown)
    ask = first_ask(RECIPES["direct"], unit, settings)
    assert [(m.role, m.content) for m in ask.messages] == [
        ("system", "Be brief."),
        ("user", "What is 1 + 1?"),
        ("assistant", "2"),
        ("user", "Why is the sky blue?"),
    ]
    made = play(RECIPES["direct"], unit, settings, {"answer": "Scattering."})
    assert [m.content for m in made.result.drafts[0].messages] == [
        "Be brief.",
        "Why is the sky blue?",
    ]


def test_random_seeds_differ_by_sample_step_and_attempt_and_not_by_import() -> None:
    first, again = seed(), seed()
    assert first.id != again.id
    seeds = [sample_seed(Unit(first, sample, "T"), "answer", 0) for sample in range(200)]
    assert len(set(seeds)) == 200
    assert seeds == [sample_seed(Unit(again, s, "T"), "answer", 0) for s in range(200)]
    assert sample_seed(Unit(first, 0, "T"), "answer", 1) != seeds[0]
    assert sample_seed(Unit(first, 0, "T", attempt=1), "answer", 0) != seeds[0]
    assert sample_seed(Unit(first, 0, "T"), "judge", 0) != seeds[0]
    assert all(0 <= number < 2**31 for number in seeds)


def test_number_of_samples() -> None:
    assert RECIPES["direct"].samples(5) == 1
    assert RECIPES["best_of_n"].samples(5) == 5
    with pytest.raises(InvalidInput, match="Choose 1 to 64"):
        RECIPES["best_of_n"].samples(65)


def parsed(**fields: Any) -> Pair | Failure:
    unit = Unit(seed(), 3, "T")
    settings = Settings(SamplingParams(max_tokens=7), "Be kind.")
    ended = play(RECIPES["best_of_n"], unit, settings, {"answer": reply(**fields)})
    rows = to_rows(ended, ORIGIN)
    return rows.failure or rows.pairs[0]


def test_a_reply_becomes_a_pair_with_its_provenance() -> None:
    pair = parsed(
        text="Because.",
        reasoning="Hm",
        model="m",
        finish_reason="stop",
        completion_tokens=2,
        extra={"left_out": ["seed"]},
    )
    assert isinstance(pair, Pair)
    assert (pair.answer, pair.reasoning, pair.topic) == ("Because.", "Hm", "physics")
    assert (pair.teacher, pair.model, pair.recipe, pair.recipe_version) == (
        "T",
        "m",
        "best_of_n",
        "1",
    )
    assert (pair.job_id, pair.step, pair.sample) == ("j", "answer", 3)
    assert pair.messages[0].content == "Be kind."
    assert pair.params["max_tokens"] == 7
    assert pair.params["left_out"] == ["seed"]


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"error_code": "unreachable", "error": "No route."}, "unreachable", "No route."),
        (
            {"text": " \n", "reasoning": "long", "finish_reason": "length"},
            "empty_answer",
            "longer answers",
        ),
        ({"text": "", "finish_reason": "content_filter"}, "empty_answer", "content filter"),
        ({"text": ""}, "empty_answer", "empty answer"),
    ],
)
def test_no_answer_is_a_failure(fields: dict, code: str, said: str) -> None:
    failure = parsed(**fields)
    assert isinstance(failure, Failure)
    assert failure.code == code
    assert said in failure.reason
