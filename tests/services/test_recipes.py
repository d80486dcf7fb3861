"""Recipes of several steps as jobs, dry runs, edited texts, examples: on a toy recipe."""

import pytest

from distill_studio.core.errors import InvalidInput, NotFound, TeacherUnreachable
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records import Decision, DecisionKind, JobState, Pair, Seed, UserTurn
from distill_studio.generate.effects import Ask, Draft, Made, Novel, Ranked, Steps, Unit, unreadable
from distill_studio.generate.prompts import Option, Prompts, PromptText, fill
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import user
from distill_studio.services import operations
from distill_studio.services import teachers as teachers_service
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.store import decisions, pairs, preferences, seeds
from distill_studio.store.generation import SeedFilter
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery
from distill_studio.teachers.scripted import ScriptedChatModel


class Toy:
    """A new question out of each seed, two answers to it, the longer one preferred."""

    prompts = Prompts(
        name="toy",
        version="1",
        label="Toy",
        summary="For tests.",
        texts=(PromptText(name="ask", label="Ask", text="Make a question of: ${prompt}"),),
        options=(Option(name="answers", label="Answers", default=2, minimum=1, maximum=3),),
        has_steps=True,
    )

    def samples(self, n: int) -> int:
        return n

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        asked = yield Ask("ask", user(fill(settings.texts["ask"], prompt=unit.seed.prompt)))
        if not asked.text.endswith("?"):
            raise unreadable("ask", asked, "no question")
        yield Novel(asked.text, 0.99)
        new = Seed(messages=user(asked.text), topic="new")
        count = settings.number("answers")
        replies = yield tuple(Ask(f"answer/{k}", user(f"{asked.text} #{k}")) for k in range(count))
        drafts = tuple(
            Draft(reply, new.messages, seed=new, sample=k) for k, reply in enumerate(replies)
        )
        return Made(drafts, (Ranked(1, 0, 2),) if count > 1 else ())


def say(request: ChatRequest) -> str:
    asked = request.messages[-1].content
    return f"What of {asked.split(': ')[-1]}?" if ": " in asked else f"It is so, {asked}"


@pytest.fixture
def teacher(workspace, monkeypatch) -> ScriptedChatModel:
    monkeypatch.setitem(RECIPES, "toy", Toy())
    model = ScriptedChatModel("scripted", say)
    monkeypatch.setattr(workspace.teachers, "model", lambda name, *spent: model)
    seeds.insert(workspace.db, [Seed(messages=user(f"thing {n}")) for n in range(5)])
    return model


def start(workspace, owner, **arguments):
    return workspace.generate.start(
        owner, GenerationWish(teachers=[teachers_service.STARTER.name], recipe="toy", **arguments)
    )


def run(workspace, owner, **arguments):
    job = start(workspace, owner, **arguments)
    return workspace.jobs.wait(owner, job.id, timeout_s=60)


def all_pairs(workspace) -> list[Pair]:
    return pairs.page(workspace.db, PairQuery(limit=1000))


def test_new_seeds_pairs_and_preferences_are_stored_with_their_origin(workspace, owner, teacher):
    done = run(workspace, owner)
    result = done.result
    assert done.state is JobState.DONE
    assert (result["requests"], result["through"], result["answered"]) == (5, 5, 10)
    assert (done.done, done.total) == (5, 5)
    made = all_pairs(workspace)
    origin = {s.id: s for s in seeds.page(workspace.db)}
    for pair in made:
        assert origin[pair.seed_id].prompt == pair.prompt
        assert (origin[pair.seed_id].source, pair.source) == ("toy", "generated")
        old = origin[pair.params["from_seed"]]
        assert pair.prompt == f"What of {old.prompt}?"
        assert pair.topic == "new"
        assert pair.params["options"] == {"answers": 2}
    ranked = preferences.page(workspace.db, PreferenceQuery())
    assert len(ranked) == 5
    by_id = {pair.id: pair for pair in made}
    assert {by_id[r.chosen_pair_id].sample for r in ranked} == {1}
    assert {r.seed_id for r in ranked} == {pair.seed_id for pair in made}
    steps = workspace.generate.steps(owner, made[0].id)
    assert [step.step for step in steps] == ["ask", "answer/0", "answer/1"]
    assert steps[0].request.messages[0].content.startswith("Make a question of: thing")
    assert steps[0].reply.text == made[0].prompt
    told = workspace.generate.made(owner, made[0].id)
    assert (told.recipe, told.teacher) == ("Toy", made[0].teacher)
    assert told.from_prompt == origin[made[0].params["from_seed"]].prompt
    assert ("Answers", "2") in told.facts
    assert [step.step for step in told.steps] == ["ask", "answer/0", "answer/1"]
    assert told.steps[0].reply == made[0].prompt
    (asked,) = workspace.generate.asked(owner, done.id)
    told = [step.reply for pair in made for step in workspace.generate.steps(owner, pair.id)]
    assert result["tokens"] == asked.completion_tokens > 0


def test_what_was_asked_before_a_stop_is_not_asked_again(workspace, owner, teacher):
    def stop_at_answers(request: ChatRequest) -> str:
        if "#" in request.messages[-1].content:
            for running in workspace.jobs.page(owner, active=True):  # it may not be told yet
                workspace.jobs.cancel(owner, running.id)
            raise TeacherUnreachable("Gone.")
        return say(request)

    teacher.replies = stop_at_answers
    teacher.delay_s = 0.02
    job = start(workspace, owner)
    stopped = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert stopped.state is JobState.CANCELLED
    assert all_pairs(workspace) == []
    planned = workspace.db.value("SELECT count(*) FROM generation_steps WHERE step = 'ask'")
    assert planned >= 1
    teacher.replies, before = say, teacher.calls
    workspace.generate.retry(owner, job.id)
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert (done.state, done.result["answered"]) == (JobState.DONE, 10)
    asked = [r.messages[-1].content for r in teacher.requests[before:]]
    assert sum(a.startswith("Make") for a in asked) == 5 - planned
    assert len(all_pairs(workspace)) == 10


def test_an_unreadable_reply_is_a_row_with_its_text_and_asked_again_with_other_luck(
    workspace, owner, teacher
):
    teacher.replies = lambda r: "No idea." if "thing 3" in r.messages[-1].content else say(r)
    done = run(workspace, owner)
    assert (done.result["through"], done.result["failed"]) == (4, 1)
    (failure,) = workspace.generate.failures(owner, done.id)
    assert (failure.code, failure.text, failure.attempts) == ("unreadable", "No idea.", 1)
    workspace.generate.retry(owner, done.id)
    done = workspace.jobs.wait(owner, done.id, timeout_s=60)
    assert [f.attempts for f in workspace.generate.failures(owner, done.id)] == [2]
    seeds_sent = [r.sampling.seed for r in teacher.requests if "thing 3" in r.messages[-1].content]
    assert len(set(seeds_sent)) == 2
    teacher.replies = say
    workspace.generate.retry(owner, done.id)
    done = workspace.jobs.wait(owner, done.id, timeout_s=60)
    assert (done.result["through"], done.result["failed"]) == (5, 0)


def test_a_new_seed_that_equals_an_old_one_becomes_that_one(workspace, owner, teacher):
    old = Seed(messages=user("What of thing 2?"))
    seeds.insert(workspace.db, [old])
    run(workspace, owner, seeds=SeedFilter(search="thing 2", limit=1))
    assert {pair.seed_id for pair in all_pairs(workspace)} == {old.id}
    assert {r.seed_id for r in preferences.page(workspace.db, PreferenceQuery())} == {old.id}


def test_a_dry_run_shows_what_would_be_stored_and_stores_nothing(workspace, owner, teacher):
    teacher.replies = lambda r: "No idea." if "thing 1" in r.messages[-1].content else say(r)
    name = teachers_service.STARTER.name
    job = operations.call(
        workspace,
        owner,
        "generate_try_out",
        {"wish": {"teachers": [name], "recipe": "toy", "n": 2}},
    )
    done = workspace.jobs.wait(owner, job["id"], timeout_s=60)
    assert done.state is JobState.DONE, done.error
    tried = done.result["tried"]
    assert [t["prompt"] for t in tried] == ["thing 0", "thing 1", "thing 2"]
    assert [len(t["pairs"]) for t in tried] == [2, 0, 2]
    assert [s["step"] for s in tried[0]["steps"]] == ["ask", "answer/0", "answer/1"]
    assert tried[0]["new_seeds"] == ["What of thing 0?"]
    assert tried[0]["preferences"] == 1
    assert tried[1]["failed_text"] == "No idea."
    assert "no question" in tried[1]["failure"]
    for table in ("pairs", "preferences", "failures", "generation_steps", "generation_seeds"):
        assert workspace.db.value(f"SELECT count(*) FROM {table}") == 0
    assert seeds.count(workspace.db) == 5


def test_the_settings_of_a_dry_run_bind_the_run(workspace, owner, teacher):
    name = teachers_service.STARTER.name

    def wish(**changed):
        sampling = SamplingParams(**{"max_tokens": 9, **changed.pop("sampling", {})})
        asked = {"teachers": [name], "recipe": "toy", "n": 2, "sampling": sampling}
        return GenerationWish(**asked | changed)

    def seen(**changed):
        preview = workspace.generate.preview(owner, wish(**changed))
        return preview["tried"], preview["tried_otherwise"]

    assert seen() == (False, [])
    job = workspace.generate.try_out(owner, wish())
    assert workspace.jobs.wait(owner, job.id, timeout_s=60).state is JobState.DONE
    for same in ({}, {"n": 3}, {"sampling": {"seed": 5}}, {"seeds": SeedFilter(limit=1)}):
        assert seen(**same) == (True, []), same
    for other, named in (
        ({"sampling": {"temperature": 0.1}}, ["temperature"]),
        ({"sampling": {"max_tokens": 8, "stop": ("x",)}}, ["longest answer", "stop strings"]),
        ({"options": {"answers": 3}}, ["Answers"]),
        ({"system_prompt": "Be brief.", "sampling": {"top_p": 0.5}}, ["system prompt", "top-p"]),
    ):
        assert seen(**other) == (False, named), other
    assert seen(recipe="direct") == (False, []), "another recipe is tried for itself"

    workspace.recipes.edit(owner, "toy", {"ask": "Question from: ${prompt}"})
    assert seen() == (False, ["the recipe's texts"])
    workspace.recipes.reset(owner, "toy")
    assert seen() == (True, [])


def test_every_setting_of_a_plan_binds():
    """A new field of a plan or of sampling is compared and named, whoever adds it."""
    plan = GenerationPlan(teachers=("a",), recipe="self_instruct", options={"count": 2})
    free = {"selection", "n"}
    other = {
        "teachers": ("b",),
        "recipe": "direct",
        "n": 2,
        "texts": {"list": "x"},
        "options": {"count": 1},
        "examples": ("p",),
        "turns": {"a": UserTurn(name="t", bare="<", with_system="<", stop=())},
    }
    for field in GenerationPlan.model_fields:
        if field != "sampling":
            changed = plan.model_copy(update={field: other.get(field, "other")})
            found = changed.differences(plan)
            assert bool(found) is (field not in free), field
    for field in SamplingParams.model_fields:
        sampling = SamplingParams(**{field: ("x",) if field == "stop" else 1})
        found = plan.model_copy(update={"sampling": sampling}).differences(plan)
        assert bool(found) is (field != "seed"), field


def test_edited_texts_are_used_named_and_taken_back(workspace, owner, teacher):
    edited = workspace.recipes.edit(owner, "toy", {"ask": "Question from: ${prompt}"})
    assert edited.version.startswith("1-edited-")
    again = workspace.recipes.edit(owner, "toy", {"ask": "Question from: ${prompt}"})
    assert again == edited
    assert len(workspace.recipes.history(owner, "toy")) == 1
    run(workspace, owner)
    assert {pair.recipe_version for pair in all_pairs(workspace)} == {edited.version}
    assert teacher.requests[0].messages[0].content.startswith("Question from: thing")
    assert workspace.recipes.reset(owner, "toy").version == "1"
    assert workspace.recipes.in_force("toy") == Toy.prompts
    assert [h.version for h in workspace.recipes.history(owner, "toy")] == ["1", edited.version]
    with pytest.raises(InvalidInput, match=r"must hold \$\{prompt\}"):
        workspace.recipes.edit(owner, "toy", {"ask": "Nothing."})
    with pytest.raises(NotFound, match="no recipe 'toyy'"):
        workspace.recipes.edit(owner, "toyy", {})


def test_a_job_keeps_the_texts_it_was_started_with(workspace, owner, teacher):
    teacher.delay_s = 0.05
    job = start(workspace, owner)
    workspace.recipes.edit(owner, "toy", {"ask": "Question from: ${prompt}"})
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert {pair.recipe_version for pair in all_pairs(workspace)} == {"1"}
    workspace.recipes.edit(owner, "toy", {"ask": "Something of: ${prompt}"})
    workspace.generate.retry(owner, done.id)
    workspace.jobs.wait(owner, done.id, timeout_s=60)
    assert {pair.recipe_version for pair in all_pairs(workspace)} == {"1"}


def test_accepted_pairs_serve_as_examples_edited_ones_first(workspace, owner, teacher):
    with pytest.raises(InvalidInput, match="Accept some in Review"):
        workspace.generate.preview(
            owner, GenerationWish(teachers=[teachers_service.STARTER.name], examples=1)
        )
    seed = Seed(messages=user("What is two and two?"))
    seeds.insert(workspace.db, [seed])
    answers = [
        Pair(seed_id=seed.id, messages=seed.messages, answer=text, job_id="j", sample=k)
        for k, text in enumerate(("4", "five", "four, no doubt"))
    ]
    pairs.insert(workspace.db, answers)
    decisions.record(
        workspace.db,
        owner.user,
        [
            Decision(id="d" * 8 + "1", pair_id=answers[0].id, kind=DecisionKind.ACCEPT),
            Decision(
                id="d" * 8 + "2", pair_id=answers[2].id, kind=DecisionKind.EDIT, answer="Four."
            ),
        ],
    )
    name = teachers_service.STARTER.name
    first = workspace.generate.preview(
        owner, GenerationWish(teachers=[name], seeds=SeedFilter(search="thing 0"), examples=1)
    )["first"]
    assert [m["content"] for m in first["messages"]] == [
        "What is two and two?",
        "Four.",
        "thing 0",
    ]
    job = workspace.generate.start(
        owner,
        GenerationWish(
            teachers=[name], recipe="direct", seeds=SeedFilter(search="thing 0"), examples=2
        ),
    )
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    (pair,) = workspace.generate.recent(owner, done.id)
    assert pair.messages == user("thing 0")
    assert pair.params["examples"] == [answers[2].id]
    assert [m.content for m in teacher.requests[-1].messages][1] == "Four."


def test_options_and_judge_are_checked_before_anything_starts(workspace, owner, teacher):
    with pytest.raises(InvalidInput, match="outside 1 to 3"):
        start(workspace, owner, options={"answers": 7})
    with pytest.raises(InvalidInput, match="no option 'rounds'"):
        start(workspace, owner, options={"rounds": 1})
    done = run(workspace, owner, options={"answers": 1}, sampling=SamplingParams(seed=3))
    assert done.result["answered"] == 5


def test_seeds_that_a_recipe_has_done_are_not_asked_anew_unless_wished(workspace, owner, teacher):
    run(workspace, owner)
    name = teachers_service.STARTER.name
    made = workspace.generate.preview(owner, GenerationWish(teachers=[name], recipe="toy"))
    assert made["seeds"] == 0  # neither the five nor the answered ones that came of them
    again = workspace.generate.preview(
        owner,
        GenerationWish(teachers=[name], recipe="toy", seeds=SeedFilter(only_unanswered=False)),
    )
    assert again["seeds"] == 10
    assert (
        workspace.generate.preview(owner, GenerationWish(teachers=[name], recipe="direct"))["seeds"]
        == 5
    )


def test_two_units_that_come_to_one_prompt_give_candidates_of_one_seed(workspace, owner, teacher):
    teacher.replies = lambda r: "One question?" if "Make" in r.messages[-1].content else "So."
    done = run(workspace, owner, options={"answers": 1}, seeds=SeedFilter(limit=3))
    assert (done.result["through"], done.result["answered"]) == (3, 3)
    made = all_pairs(workspace)
    assert len({pair.seed_id for pair in made}) == 1
    assert sorted(pair.sample for pair in made) == [0, 1, 2]
    origins = {workspace.generate.steps(owner, p.id)[0].seed_id for p in made}
    assert origins == {p.params["from_seed"] for p in made}


def test_half_a_character_does_not_hold_up_the_others(workspace, owner, teacher):
    teacher.replies = lambda r: say(r) + ("" if "Make" in r.messages[-1].content else " \ud83d")
    done = run(workspace, owner)
    assert (done.state, done.result["answered"]) == (JobState.DONE, 10)
    assert all(pair.answer.endswith(" \ufffd") for pair in all_pairs(workspace))


def test_a_stopped_dry_run_is_none_when_it_goes_on(workspace, owner, teacher):
    teacher.delay_s = 0.5
    name = teachers_service.STARTER.name
    job = workspace.generate.try_out(owner, GenerationWish(teachers=[name], recipe="toy"))
    workspace.jobs.cancel(owner, job.id)
    assert workspace.jobs.wait(owner, job.id, timeout_s=60).state is JobState.CANCELLED
    assert (
        workspace.generate.preview(owner, GenerationWish(teachers=[name], recipe="toy"))["tried"]
        is False
    )
    teacher.delay_s = 0
    workspace.jobs.resume(owner, job.id)
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert len(done.result["tried"]) == 3
    assert (
        workspace.generate.preview(owner, GenerationWish(teachers=[name], recipe="toy"))["tried"]
        is True
    )


def test_a_job_of_an_older_version_goes_on(workspace, owner, teacher, monkeypatch):
    teacher.fail_next(TeacherUnreachable("Gone."), times=1)
    done = run(workspace, owner)
    assert done.result["failed"] == 1

    class Newer(Toy):
        prompts = Toy.prompts.model_copy(
            update={
                "version": "2",
                "texts": (PromptText(name="put", label="Put", text="Put: ${prompt}"),),
                "options": (Option(name="answers", label="Answers", default=1, maximum=1),),
            }
        )

        def steps(self, unit: Unit, settings: Settings) -> Steps:
            reply = yield Ask("ask", user(fill(settings.texts["put"], prompt=unit.seed.prompt)))
            assert settings.number("answers") == 2
            return Made((Draft(reply, unit.seed.messages),))

    monkeypatch.setitem(RECIPES, "toy", Newer())
    workspace.generate.retry(owner, done.id)
    done = workspace.jobs.wait(owner, done.id, timeout_s=60)
    assert (done.state, done.result["failed"]) == (JobState.DONE, 0), done.error
    assert {pair.recipe_version for pair in all_pairs(workspace)} == {"1"}
    workspace.recipes.edit(owner, "toy", {"put": "Set: ${prompt}"})
