import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import Failure, Message, Pair, Seed
from distill_studio.generate.parse import parse
from distill_studio.generate.recipes import RECIPES, Recipe
from distill_studio.generate.recipes.base import ASSETS, sample_seed

recipes = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def seed(text: str = "Why is the sky blue?", system: str = "") -> Seed:
    before = (Message(role="system", content=system),) if system else ()
    return Seed(messages=(*before, Message(role="user", content=text)), topic="physics")


def test_names_and_files_agree() -> None:
    assert {name: r.prompts.name for name, r in RECIPES.items()} == {n: n for n in RECIPES}
    assert {p.stem for p in ASSETS.glob("*.json")} == set(RECIPES)
    for path in ASSETS.glob("*.json"):
        assert json.loads(path.read_text())["version"]


@recipes
@given(text=st.text(min_size=1), sample=st.integers(0, 1000), system=st.text())
def test_a_request_ends_with_the_users_turn_and_is_always_the_same(
    recipe: Recipe, text: str, sample: int, system: str
) -> None:
    asked = seed(text)
    sampling = SamplingParams(temperature=0.5, max_tokens=7)
    asks = recipe.requests_for(asked, sample, sampling, system)
    assert asks
    assert [a.request for a in asks] == [
        a.request for a in recipe.requests_for(asked, sample, sampling, system)
    ]
    assert len({a.request.key for a in asks}) == len(asks)
    for ask in asks:
        assert ask.request.messages[-1].role == "user"
        assert (ask.sample, ask.seed) == (sample, asked)
        assert ask.request.sampling.temperature == 0.5
        assert [m.role for m in ask.request.messages].count("system") == bool(system)


@recipes
def test_a_seeds_own_system_prompt_stays(recipe: Recipe) -> None:
    (ask,) = recipe.requests_for(seed(system="Be brief."), 0, SamplingParams(), "Be long.")
    assert [m.content for m in ask.request.messages] == ["Be brief.", "Why is the sky blue?"]


def test_random_seeds_differ_by_sample_and_not_by_import() -> None:
    first, again = seed(), seed()
    assert first.id != again.id
    seeds = [sample_seed(first, sample, 0) for sample in range(200)]
    assert len(set(seeds)) == 200
    assert seeds == [sample_seed(again, sample, 0) for sample in range(200)]
    assert sample_seed(first, 0, 1) != seeds[0]
    assert all(0 <= number < 2**31 for number in seeds)


def test_number_of_samples() -> None:
    assert RECIPES["direct"].samples(5) == 1
    assert RECIPES["best_of_n"].samples(5) == 5
    with pytest.raises(InvalidInput, match="Choose 1 to 64"):
        RECIPES["best_of_n"].samples(65)


def parsed(**reply) -> Pair | Failure:
    recipe = RECIPES["best_of_n"]
    (ask,) = recipe.requests_for(seed(), 3, SamplingParams(max_tokens=7), "Be kind.")
    return parse(
        ask,
        ChatReply(key=ask.request.key, **reply),
        job_id="j",
        teacher="T",
        recipe=recipe.prompts,
    )


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
        RECIPES["best_of_n"].prompts.version,
    )
    assert (pair.job_id, pair.step, pair.sample) == ("j", "answer", 3)
    assert pair.messages[0].content == "Be kind."
    assert pair.params["max_tokens"] == 7
    assert pair.params["left_out"] == ["seed"]


@pytest.mark.parametrize(
    ("reply", "code", "said"),
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
def test_no_answer_is_a_failure(reply: dict, code: str, said: str) -> None:
    failure = parsed(**reply)
    assert isinstance(failure, Failure)
    assert failure.code == code
    assert said in failure.reason
