"""What each recipe stores of the starter model's real replies: its invariants, not its quality.

One studio and one loaded model for all recipes; a workspace each. A 135M model writes a lot that
must be dropped, so a test holds whatever is kept: `generated` has checked already what is true of
every recipe (each unit is through or explained, answers are the replies as stored).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Failure, Job, JobState, Message, Pair, Seed
from distill_studio.core.settings import Settings
from distill_studio.generate.asides import copies
from distill_studio.generate.effects import RECIPE_CODES
from distill_studio.generate.eliminate import rule_against
from distill_studio.generate.instances import Instance, read_kind, sound
from distill_studio.generate.novelty import Pool
from distill_studio.generate.recipes import RECIPES
from distill_studio.generate.recipes.back_translation import wrong_with
from distill_studio.generate.recipes.explanation import STRATEGIES, read_strategy
from distill_studio.generate.recipes.magpie import rule_against_question
from distill_studio.generate.rewriting import (
    read_equal,
    rule_against_answer,
    rule_against_rewrite,
)
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.studio import Studio
from distill_studio.store import seeds as seeds_table
from distill_studio.store.generation_steps import StoredStep
from distill_studio.verify import VerifierKind, verify

pytestmark = [pytest.mark.slow, pytest.mark.models]

OWNER = Actor(user="owner", role=Role.OWNER)
LIMIT_S = 400.0
PROMPTS = (
    "Name three animals that live in the sea.",
    "Write a short poem about the rain.",
    "Explain to a child why we sleep.",
)
TOPICS = ("sea animals", "poetry", "health")


@dataclass
class Stored:
    """What a generation left in the store."""

    job: Job
    given: dict[str, Seed]  # the seeds it was started on, by id
    pairs: list[Pair]
    new_seeds: list[Seed]
    failures: list[Failure]
    steps_of: Callable[[Pair], dict[str, StoredStep]]


Generate = Callable[..., Stored]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, starter_cache: Path) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("recipes") / "home"
    studio = build_studio(Settings(home=home, cache=starter_cache, port=0))
    yield studio
    studio.close()


@pytest.fixture
def generated(studio: Studio) -> Generate:
    """`generated(recipe, seeds, options=..., max_tokens=...)` runs it to its end."""

    def run(
        recipe: str,
        seeds: Sequence[Seed] = (),
        *,
        max_tokens: int = 96,
        n: int = 1,
        **wish: Any,
    ) -> Stored:
        workspace = studio.workspace(recipe.replace("_", "-"), create=True)
        given = list(seeds) or [seed(prompt) for prompt in PROMPTS]
        seeds_table.insert(workspace.db, given)
        (teacher,) = [t.name for t in workspace.teachers.page(OWNER)]
        sampling = SamplingParams(temperature=0.7, max_tokens=max_tokens, seed=1)
        job = workspace.generate.start(
            OWNER, GenerationWish(teachers=[teacher], recipe=recipe, n=n, sampling=sampling, **wish)
        )
        job = workspace.jobs.wait(OWNER, job.id, timeout_s=LIMIT_S)
        assert job.state is JobState.DONE, job.error

        def steps_of(pair: Pair) -> dict[str, StoredStep]:
            return {step.step: step for step in workspace.generate.steps(OWNER, pair.id)}

        made = seeds_table.page(workspace.db, limit=500)
        stored = Stored(
            job,
            {each.id: each for each in given},
            workspace.generate.recent(OWNER, job.id, 500),
            [each for each in made if each.extra.get("job") == job.id],
            workspace.generate.failures(OWNER, job.id, 500),
            steps_of,
        )
        check_of_all(stored, recipe, n)
        return stored

    return run


def seed(prompt: str, **fields: Any) -> Seed:
    """A seed of one question."""
    return Seed(messages=(Message(role="user", content=prompt),), **fields)


def check_of_all(stored: Stored, recipe: str, n: int) -> None:
    """True of every recipe."""
    result = stored.job.result
    assert result["through"] + result["failed"] == result["requests"] == n * len(stored.given)
    assert result["failed"] == len(stored.failures)
    for failure in stored.failures:
        assert failure.code in RECIPE_CODES, failure.reason
        assert failure.reason.endswith(".") or failure.code == "not_verified"
        assert failure.text or failure.code == "empty_answer"
    new = {each.id: each for each in stored.new_seeds}
    assert all(each.extra["from_seed"] in stored.given for each in stored.new_seeds)
    assert all(each.source == recipe for each in stored.new_seeds)
    assert len(stored.pairs) == result["answered"]
    for pair in stored.pairs:
        asked = new.get(pair.seed_id) or stored.given[pair.seed_id]
        assert pair.answer.strip()
        assert pair.recipe == recipe
        assert pair.prompt in {m.content for m in (*asked.messages, *pair.messages)}
        assert all(step.reply.is_ok for step in stored.steps_of(pair).values())


def check_novel(stored: Stored, limit: float) -> None:
    """No new prompt is too like a given one or another new one."""
    pool = Pool(each.prompt for each in stored.given.values())
    for each in stored.new_seeds:
        nearest = pool.admit(each.prompt, limit)
        assert nearest.is_new, f"{each.prompt} ~ {nearest.text}"


def test_self_instruct(generated: Generate) -> None:
    stored = generated("self_instruct", options={"count": 3, "instances": 2})
    pool, shown = Pool(PROMPTS), list(PROMPTS)
    for instruction in {each.extra["instruction"] for each in stored.new_seeds}:
        assert pool.admit(instruction, 0.7).is_new
        assert rule_against(instruction, shown, is_whole=False) == ""
    for pair in stored.pairs:
        steps, origin = stored.steps_of(pair), pair.params
        place, instruction = origin["place"], origin["instruction"]
        assert instruction in steps["list"].reply.text.replace("**", "")
        assert pair.prompt.startswith(instruction)
        given = pair.prompt.removeprefix(instruction).strip()
        is_kind = read_kind(steps[f"classify/{place}"].reply.text)
        if origin["way"] == "output first":
            assert is_kind is True
            assert pair.answer in origin["labels"]
            assert given in steps[f"input/{place}/{origin['instance']}"].reply.text
        else:
            assert is_kind is False
            asked = steps[f"answer/{place}/{origin['instance']}"]
            assert asked.request.messages[-1].content == pair.prompt
            assert asked.reply.text == pair.answer
            assert given in steps[f"inputs/{place}"].reply.text
            assert bool(given) is (origin["way"] == "input first")
        assert not any(sound([Instance(instruction, given, pair.answer)]))
        found = origin["list"]
        assert found["written"] == found["kept"] + len(found["dropped"])
        assert found["kept"] <= 3
    prompts = [each.prompt for each in stored.new_seeds]
    assert len(set(prompts)) == len(prompts)
    assert stored.pairs or stored.failures


@pytest.mark.parametrize("strategy", ["auto", "step by step"])
def test_explanation(generated: Generate, strategy: str) -> None:
    told = {name: _texts("explanation")[name.replace(" ", "_")] for name in STRATEGIES}
    own = Message(role="system", content="Answer like a pirate.")
    given = [seed(f"{prompt} ({strategy})") for prompt in PROMPTS[:2]]
    given.append(Seed(messages=(own, *seed(f"{PROMPTS[2]} ({strategy})").messages)))
    stored = generated("explanation", given, options={"strategy": strategy})
    for pair in stored.pairs:
        steps, chosen = stored.steps_of(pair), pair.params["strategy"]
        shown = steps["answer"].request.messages[0].content
        assert shown.startswith(told[chosen])
        assert [m.role for m in pair.messages] == ["system", "user"]
        assert pair.messages[0].content == RECIPES["explanation"].prompts.system_prompt
        for text in told.values():
            assert not any(copies(m.content, text) for m in pair.messages)
        assert not copies(pair.answer, told[chosen])
        if strategy == "auto":
            choice = steps["choose"].reply
            assert read_strategy(choice.text, is_cut=choice.finish_reason == "length") == chosen
    if strategy != "auto":
        assert len(stored.pairs) + len(stored.failures) == len(given)
        assert stored.pairs


def test_multi_turn(generated: Generate) -> None:
    stored = generated("multi_turn", max_tokens=128, options={"turns": 3})
    assert len(stored.pairs) + len(stored.failures) == len(stored.given)
    for pair in stored.pairs:
        steps, turns = stored.steps_of(pair), pair.params["turns"]
        spoken = [m.content for m in pair.messages]
        assert [m.role for m in pair.messages] == (["user", "assistant"] * turns)[:-1]
        assert spoken[1::2] == [steps[f"answer/{n}"].reply.text for n in range(1, turns)]
        assert pair.answer == steps[f"answer/{turns}"].reply.text
        for n, turn in enumerate(spoken[2::2], start=2):
            assert turn in steps[f"user/{n}"].reply.text
        assert len(set(spoken[::2])) == turns
        assert all(steps[f"answer/{n}"].reply.finish_reason == "stop" for n in range(1, turns))
        assert turns == 3 or pair.params["ended"]
        assert (pair.seed_id in stored.given) == (turns == 1)


def test_textbook(generated: Generate) -> None:
    topics = [seed("Photosynthesis"), seed("Fractions")]
    stored = generated("textbook", topics, max_tokens=160, options={"subtopics": 2})
    for pair in stored.pairs:
        steps, path = stored.steps_of(pair), pair.params["path"]
        assert pair.topic == " / ".join(path)
        assert path[0] in ("Photosynthesis", "Fractions")
        assert path[1] in steps["subtopics"].reply.text
        assert [m.role for m in pair.messages] == ["user"]
        assert pair.answer in [step.reply.text for step in steps.values()]
        covered = pair.params["coverage"]
        assert covered["asked"] == 2 >= covered["found"]
        assert covered["made"] == covered["found"] - len(covered["missing"])
        if pair.params["kind"] == "section":
            assert path[1] in pair.prompt
            assert len(pair.answer.split()) > 30
        else:
            assert any(pair.prompt in s.reply.text for n, s in steps.items() if "exercises" in n)
    for each in stored.new_seeds:
        assert each.topic.startswith(("Photosynthesis / ", "Fractions / "))
    assert stored.pairs or stored.failures


def test_back_translation(generated: Generate) -> None:
    passages = [
        "Put the eggs into cold water and bring it to the boil. Take the pot off the stove, put a"
        " lid on it and wait for ten minutes. Then cool the eggs, so that they peel well.",
        "Photosynthesis is how plants make sugar from light. In the leaves, chlorophyll takes up"
        " the energy of sunlight. With it, the plant splits water, releases oxygen, and binds"
        " carbon dioxide from the air into glucose.",
    ]
    given = [
        seed(text, extra={"document": "a.md", "part": part, "of": 2})
        for part, text in enumerate(passages, start=1)
    ]
    stored = generated("back_translation", given, options={"least_score": 1})
    check_novel(stored, 0.9)
    for pair in stored.pairs:
        origin = stored.given[pair.params["from_seed"]]
        steps = stored.steps_of(pair)
        assert pair.answer == origin.prompt
        assert (pair.teacher, pair.model, pair.reasoning) == ("document", "", "")
        assert {k: pair.params[k] for k in origin.extra} == origin.extra
        assert pair.prompt in steps["instruction"].reply.text
        assert wrong_with(pair.prompt, pair.answer) == ""
        assert pair.judge_score in (1, 2, 3, 4, 5)
        assert str(int(pair.judge_score)) in steps["rate"].reply.text
    assert stored.pairs or stored.failures


def _texts(recipe: str) -> dict[str, str]:
    return {text.name: text.text for text in RECIPES[recipe].prompts.texts}


def test_evol_instruct(generated: Generate) -> None:
    stored = generated("evol_instruct", options={"rounds": 2})
    check_novel(stored, 0.95)
    for pair in stored.pairs:
        steps = stored.steps_of(pair)
        found = pair.params["evolved"]
        place = f"{found['round']}-of-{found['from_round']}"
        asked = steps[f"evolve/{place}"]
        assert pair.prompt in asked.reply.text
        assert read_equal(steps[f"equal/{place}"].reply.text) is False
        assert steps[f"answer/{place}"].request.messages[-1].content == pair.prompt
        assert steps[f"answer/{place}"].reply.text == pair.answer
        before = stored.given[pair.params["from_seed"]].prompt
        if found["from_round"]:
            before = steps[f"answer/{found['from_round']}-of-0"].request.messages[-1].content
        assert before in asked.request.messages[-1].content
        assert rule_against_rewrite(pair.prompt, before) == ""
        assert rule_against_answer(pair.answer) == ""
        assert all(each["place"] != found["round"] for each in found["dropped"])
    assert stored.pairs or stored.failures


def test_magpie(generated: Generate) -> None:
    seeds = [seed(prompt, topic=topic) for prompt, topic in zip(PROMPTS, TOPICS, strict=True)]
    stored = generated("magpie", seeds, n=2, options={"steer": "topic"})
    check_novel(stored, 0.7)
    for pair in stored.pairs:
        steps = stored.steps_of(pair)
        asked = steps["instruction"]
        assert asked.request.messages == ()
        assert asked.request.raw.endswith("<|im_start|>user\n")
        assert pair.params["magpie"]["template"] == "own"
        assert asked.request.sampling.stop == ("<|im_end|>",)
        assert f"about {pair.topic}." in asked.request.raw
        assert pair.prompt == asked.reply.text.strip()
        assert rule_against_question(pair.prompt, asked.reply.finish_reason) == ""
        assert steps["answer"].request.messages[-1].content == pair.prompt
        assert (steps["answer"].request.raw, steps["answer"].reply.text) == ("", pair.answer)
    assert stored.pairs or stored.failures


def test_each_recipe_has_its_test() -> None:
    assert {f"test_{name}" for name in RECIPES} <= set(globals())


def test_direct(generated: Generate) -> None:
    stored = generated("direct", max_tokens=32)
    assert sorted(pair.seed_id for pair in stored.pairs) == sorted(stored.given)
    for pair in stored.pairs:
        assert pair.messages == stored.given[pair.seed_id].messages
        assert (pair.sample, pair.judge_score, stored.steps_of(pair)) == (0, None, {})
    assert not stored.new_seeds


def test_best_of_n(generated: Generate) -> None:
    stored = generated("best_of_n", max_tokens=32, n=3)
    numbers = sorted((pair.seed_id, pair.sample) for pair in stored.pairs)
    assert numbers == sorted((seed_id, n) for seed_id in stored.given for n in range(3))
    answers = {(pair.seed_id, pair.answer) for pair in stored.pairs}
    assert len(answers) == 9, "each has a random seed of its own"


def test_verified(generated: Generate) -> None:
    sums = [seed(f"What is {a} + {b}?", reference=f"#### {a + b}") for a, b in ((2, 3), (4, 4))]
    stored = generated("verified", sums, n=4)
    for pair in stored.pairs:
        reference = stored.given[pair.seed_id].reference or ""
        assert verify(VerifierKind.MATH, pair.answer, reference).ok
        assert pair.params["verified"]["answer"] in pair.answer
    assert len(stored.pairs) + len(stored.failures) == 8
    assert {failure.code for failure in stored.failures} <= {"not_verified"}


def test_code(generated: Generate) -> None:
    given = [
        seed("Write a Python function largest(numbers) that returns the largest of a list."),
        seed(
            "Write a Python function add(a, b) that returns the sum of two numbers.",
            extra={"tests": "assert add(1, 2) == 3\nassert add(-1, 1) == 0"},
        ),
    ]
    stored = generated("code", given, max_tokens=160)
    for pair in stored.pairs:
        tests = pair.params["verified"]["tests"]
        assert verify(VerifierKind.UNIT_TESTS, pair.answer, tests).ok
        assert [m.role for m in pair.messages] == ["user"]
        if own := stored.given[pair.seed_id].extra.get("tests"):
            assert (tests, pair.params["tests_from"]) == (own, "seed")
        else:
            shown = stored.steps_of(pair)["tests"].request.messages[-1].content
            assert "return" not in shown.split("these names:")[1]
    assert stored.pairs or stored.failures


def test_preference(generated: Generate) -> None:
    given = [seed("Give one tip for better sleep.")]  # a judge that babbles takes its time
    stored = generated("preference", given, max_tokens=48, options={"candidates": 2})
    for pair in stored.pairs:
        steps = stored.steps_of(pair)
        assert steps[f"candidate/{pair.sample}"].reply.text == pair.answer
        judged = pair.params["judged"]
        assert (pair.judge_score is None) == ("unreadable" in judged)
        if pair.judge_score is not None:
            assert 1 <= pair.judge_score <= 5
    assert stored.job.result["preferences"] <= len(stored.given)
    assert len({(pair.seed_id, pair.answer) for pair in stored.pairs}) == len(stored.pairs)


@pytest.mark.parametrize("keep", ["keep all", "majority answer"])
def test_ensemble(generated: Generate, keep: str) -> None:
    sums = [seed(f"What is {a} + {b}? End with ####. ({keep})") for a, b in ((2, 3), (4, 4))]
    stored = generated("ensemble", sums, max_tokens=48, options={"each": 3, "keep": keep})
    for pair in stored.pairs:
        found = pair.params["ensemble"]
        assert found["keep"] == keep
        steps = stored.steps_of(pair)
        assert steps[f"candidate/{pair.sample}"].reply.text == pair.answer
        if keep != "keep all":
            counts = found["counts"]
            assert counts[found["answer"]] == max(counts.values())
            assert list(counts.values()).count(max(counts.values())) == 1
            assert found["won"] == found["asked"][str(pair.sample)]
    assert stored.pairs or stored.failures
