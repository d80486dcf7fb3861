"""Comparing, stopping, voting: what is stored, exactly once, and what a blind reader sees."""

import asyncio
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound, TeacherUnreachable
from distill_studio.core.ids import new_id
from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    JobState,
    Message,
    Pair,
    TeacherConfig,
    TeacherKind,
)
from distill_studio.core.records.comparison import (
    AnswerState,
    Comparison,
    CostKind,
)
from distill_studio.evaluate.prompts import prompt_of_row
from distill_studio.services import operations
from distill_studio.store import pairs, seeds
from distill_studio.teachers.scripted import ScriptedChatModel
from tests.services.suite_models import Scripted

HELLO = [Message(role="user", content="Say hello.")]


@pytest.fixture
def models(workspace) -> dict[str, ScriptedChatModel]:
    models = {
        "teacher:big": ScriptedChatModel("big", lambda r: "Hello from the big one."),
        "base:raw": ScriptedChatModel("raw", lambda r: "hello hello hello"),
        "student:small": ScriptedChatModel("small", lambda r: "Hello there."),
    }
    workspace.evaluate.comparable = Scripted(workspace, models)
    return models


@pytest.fixture
def compared(workspace, owner, models) -> Comparison:
    return workspace.evaluate.compare(owner, list(models), "Say hello.")


def preference_rows(workspace) -> list[tuple[str, str, str, str]]:
    """(chosen, rejected, outcome, source) by teacher name."""
    rows = workspace.db.rows(
        """SELECT c.teacher AS chosen, r.teacher AS rejected, p.outcome, p.source FROM preferences p
        JOIN pairs c ON c.id = p.chosen_pair_id JOIN pairs r ON r.id = p.rejected_pair_id"""
    )
    return sorted(tuple(row.values()) for row in rows)


def test_compare_stores_texts_and_stats(workspace, owner, models, compared):
    assert [a.text for a in compared.answers] == [m.replies(None) for m in models.values()]
    assert all(a.state is AnswerState.DONE for a in compared.answers)
    assert all(a.stats.total_s >= 0 and a.stats.tokens > 1 for a in compared.answers)
    assert compared.sampling["max_tokens"] == 256
    assert workspace.evaluate.get(owner, compared.id) == compared
    assert workspace.evaluate.page(owner) == [compared]
    assert {m.requests[0].sampling for m in models.values()} == {
        SamplingParams(temperature=0, top_p=0.95, max_tokens=256, seed=0)
    }


def test_an_answer_that_fills_the_limit_is_marked_and_stored_as_cut(workspace, owner, models):
    found = workspace.evaluate.compare(
        owner, ["big", "small"], "Say hello.", max_tokens=2, blind=True
    )
    by_text = {a.text: a for a in found.answers}
    pieces = {text: answer.is_cut for text, answer in by_text.items()}
    assert pieces == dict.fromkeys(by_text, True), "a blind voter sees it too"
    workspace.evaluate.vote(owner, found.id, "tie")
    stored = workspace.review.page(owner, pairs.PairQuery(recipe=pairs.COMPARED))
    assert {p.finish_reason for p in stored} == {"length"}
    whole = workspace.evaluate.compare(owner, ["big", "small"], "Say hello.")
    assert not any(a.is_cut for a in whole.answers)


class Counted(ScriptedChatModel):
    """A server that counts more than it shows, as one that thinks does."""

    async def stream_counted(self, request, cancel, heard):
        async for piece in self.stream(request, cancel):
            yield piece
        heard(ChatReply(key=request.key, prompt_tokens=1000, completion_tokens=2000))


def priced(workspace, owner, name: str, **prices: float) -> None:
    address = {"kind": TeacherKind.OPENAI, "base_url": "https://api.example.com/v1"}
    workspace.teachers.save(owner, TeacherConfig(name=name, model="m", **address, **prices))


def test_each_answer_says_what_it_cost(workspace, owner, models):
    models["teacher:thinker"] = Counted("thinker", lambda r: "Hello.")
    models["teacher:riddle"] = ScriptedChatModel("riddle", lambda r: "Hello?")
    priced(workspace, owner, "big", price_in=2.0, price_out=8.0)
    priced(workspace, owner, "thinker", price_in=1.0, price_out=10.0)
    priced(workspace, owner, "riddle")
    chosen = ["teacher:big", "teacher:thinker", "teacher:riddle", "student:small"]
    found = workspace.evaluate.compare(owner, chosen, "Say hello.")
    big, thinker, riddle, small = (answer.stats for answer in found.answers)
    assert (big.cost, big.prompt_tokens) == (CostKind.KNOWN, None)
    # a token is about four characters of the ten asked, a piece of the answer another
    assert big.cost_usd == pytest.approx((3 * 2.0 + big.tokens * 8.0) / 1e6)
    assert thinker.cost_usd == pytest.approx((1000 * 1.0 + 2000 * 10.0) / 1e6)
    assert (thinker.prompt_tokens, thinker.billed_tokens, thinker.tokens) == (1000, 2000, 1)
    assert (riddle.cost, riddle.cost_usd) == (CostKind.UNKNOWN, None)
    assert (small.cost, small.cost_usd) == (CostKind.FREE, 0.0)
    assert workspace.evaluate.page(owner)[0] == found  # kept


def test_a_cost_is_hidden_until_the_vote(workspace, owner, models):
    priced(workspace, owner, "big", price_in=2.0, price_out=8.0)
    found = workspace.evaluate.compare(owner, ["big", "small"], "Say hello.", blind=True)
    hidden = CostKind.NOT_SAID, None, None, None
    assert {
        (s.cost, s.cost_usd, s.prompt_tokens, s.billed_tokens)
        for s in (answer.stats for answer in found.answers)
    } == {hidden}
    voted = workspace.evaluate.vote(owner, found.id, "tie")
    assert {a.card.label: a.stats.cost for a in voted.answers} == {
        "big": CostKind.KNOWN, "small": CostKind.FREE,
    }  # fmt: skip


def test_an_answer_without_a_word_has_no_cost(workspace, owner, models):
    priced(workspace, owner, "big", price_in=2.0, price_out=8.0)
    models["teacher:big"].fail_next(TeacherUnreachable("gone"))
    found = workspace.evaluate.compare(owner, ["big", "small"], "Say hello.")
    assert found.answers[0].state is AnswerState.FAILED
    assert found.answers[0].stats.cost is CostKind.NOT_SAID


def test_compare_is_an_operation(workspace, owner, models):
    found = operations.call(
        workspace, owner, "evaluate_compare", {"models": ["big", "small"], "prompt": "Say hello."}
    )
    assert [a["card"]["id"] for a in found["answers"]] == ["teacher:big", "student:small"]
    names = [n for n in operations.operations() if n.startswith("evaluate_")]
    assert "evaluate_stream" not in names
    assert {"evaluate_vote", "evaluate_compare_set", "evaluate_get"} <= set(names)


@pytest.mark.parametrize(
    ("chosen", "prompt"),
    [
        (["big"], "hi"),
        (["big", "teacher:big"], "hi"),
        (["big", "raw", "small", "small"], "hi"),
        (["big", "small"], "  "),
    ],
)
def test_what_cannot_be_compared_is_refused(workspace, owner, models, chosen, prompt):
    with pytest.raises(InvalidInput):
        workspace.evaluate.compare(owner, chosen, prompt)
    with pytest.raises(NotFound, match="student:small"):
        workspace.evaluate.compare(owner, ["big", "nobody"], "hi")
    with pytest.raises(InvalidInput, match="max_tokens"):
        workspace.evaluate.compare(owner, ["big", "small"], "hi", max_tokens=0)
    assert workspace.evaluate.page(owner) == []


def test_viewers_read_only(workspace, compared):
    viewer = Actor(user="guest", role=Role.VIEWER)
    assert workspace.evaluate.get(viewer, compared.id).id == compared.id
    for call in (
        lambda: workspace.evaluate.vote(viewer, compared.id, "1"),
        lambda: workspace.evaluate.compare(viewer, ["big", "small"], "hi"),
        lambda: workspace.evaluate.compare_set(viewer, ["big", "small"], prompts=["hi"]),
        lambda: workspace.evaluate.stop(viewer, compared.id),
    ):
        with pytest.raises(NotAllowed):
            call()


def test_a_failure_is_stored_with_its_reason(workspace, owner, models):
    models["base:raw"].fail_next(TeacherUnreachable("No connection to raw."))
    found = workspace.evaluate.compare(owner, list(models), "Say hello.")
    assert [a.state.value for a in found.answers] == ["done", "failed", "done"]
    assert found.answers[1].error_code == "unreachable"
    workspace.evaluate.vote(owner, found.id, "small")
    assert preference_rows(workspace) == [("small", "big", "win", "arena")]


def test_frames_grow_and_the_end_is_stored(workspace, owner, models):
    models["student:small"].delay_s = 0.1

    async def watch() -> list[Comparison]:
        frames = workspace.evaluate.stream(owner, list(models), HELLO, SamplingParams())
        return [frame async for frame in frames]

    frames = asyncio.run(watch())
    lengths = [len(frame.answers[2].text) for frame in frames]
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert frames[-1].is_final
    assert frames[-1] == workspace.evaluate.get(owner, frames[-1].id)


def test_stop_is_quick_and_keeps_what_was_written(workspace, owner, models):
    models["student:small"].replies = lambda r: "word " * 1000
    models["student:small"].delay_s = 0.02

    async def watch() -> tuple[Comparison, float]:
        asked, last = None, None
        async for last in workspace.evaluate.stream(owner, list(models), HELLO, SamplingParams()):
            if asked is None and len(last.answers[2].text) > 20:
                asked = time.monotonic()
                assert workspace.evaluate.get(owner, last.id).answers[2].text  # as it stands
                assert workspace.evaluate.stop(owner, last.id)
        return last, time.monotonic() - asked

    last, took_s = asyncio.run(watch())
    assert took_s < 15  # the whole answer takes twenty seconds
    stored = workspace.evaluate.get(owner, last.id)
    assert [a.state.value for a in stored.answers] == ["done", "done", "stopped"]
    assert stored.answers[2].text.startswith("word word")
    assert not workspace.evaluate.stop(owner, last.id)
    with pytest.raises(InvalidInput):
        workspace.evaluate.vote(owner, last.id, "3")  # a stopped answer cannot win


def test_a_reader_who_leaves_loses_nothing_written(workspace, owner, models):
    models["student:small"].replies = lambda r: "word " * 1000
    models["student:small"].delay_s = 0.02

    async def leave() -> str:
        frames = workspace.evaluate.stream(owner, list(models), HELLO, SamplingParams())
        async for frame in frames:
            if len(frame.answers[2].text) > 20:
                await frames.aclose()
                return frame.id
        raise AssertionError

    stored = workspace.evaluate.get(owner, asyncio.run(leave()))
    assert stored.answers[2].state is AnswerState.STOPPED
    assert len(stored.answers[2].text) > 20


class Crowded(ScriptedChatModel):
    """Writes only once twenty are asking it."""

    asking = 0

    async def stream(self, request, cancel=None):
        self.asking += 1
        async with asyncio.timeout(120):
            while self.asking < 20:
                await asyncio.sleep(0.01)
        async for piece in super().stream(request, cancel):
            yield piece


def test_twenty_at_once(workspace, owner, models):
    models["student:small"] = Crowded("small", lambda r: "Hello there.")

    async def one() -> Comparison:
        async for frame in workspace.evaluate.stream(owner, list(models), HELLO, SamplingParams()):
            last = frame
        return last

    async def crowd() -> list[Comparison]:
        return await asyncio.gather(*(one() for _ in range(20)))

    found = asyncio.run(crowd())
    assert all(a.state is AnswerState.DONE for c in found for a in c.answers)
    assert len({c.id for c in found}) == 20
    assert len(workspace.evaluate.page(owner, limit=50)) == 20


# -- votes --------------------------------------------------------------------------------


def test_a_vote_becomes_preferences_exactly_once(workspace, owner, compared):
    vote_id = new_id()
    for _ in range(3):  # a browser that sends again
        voted = workspace.evaluate.vote(owner, compared.id, "3", vote_id)
    assert voted.verdict.winner == "3"
    wanted = [("small", "big", "win", "arena"), ("small", "raw", "win", "arena")]
    assert preference_rows(workspace) == wanted
    stored = pairs.page(workspace.db, pairs.PairQuery(recipe="compare"))
    assert [(p.teacher, p.recipe, p.job_id) for p in stored] == [
        (name, "compare", compared.id) for name in ("big", "raw", "small")
    ]
    assert len({p.seed_id for p in stored}) == 1
    assert seeds.get(workspace.db, [stored[0].seed_id])[0].prompt == "Say hello."
    assert workspace.db.value("SELECT count(*) FROM votes") == 2
    assert workspace.db.value("SELECT count(*) FROM comparison_tasks WHERE source = 'arena'") == 2


def test_a_vote_leaves_nothing_to_review_curate_or_train_on(workspace, owner, compared):
    workspace.evaluate.vote(owner, compared.id, "small")
    everything = pairs.PairQuery()
    assert workspace.review.queue(owner) == workspace.review.page(owner, everything) == []
    assert workspace.review.count(owner, everything) == 0
    assert workspace.review.bulk_count(owner, everything, DecisionKind.ACCEPT) == 0
    progress = workspace.review.progress(owner)
    assert (progress.pending, progress.set_aside, progress.accepted) == (0, 0, 0)
    counts = workspace.overview.counts(owner)
    assert {
        counts[k] for k in ("total", "pending", "waiting", "usable", "comparable", "unanswered")
    } == {0}
    assert workspace.overview.next_step(owner).tab == "seeds"
    state = workspace.curate.state(owner)
    assert (state.total, state.kept, state.unmeasured) == (0, 0, 0)
    assert workspace.curate.preview(owner).considered == 0
    assert workspace.curate.plan_report(owner).by_topic == []
    assert workspace.review.facets(owner)["teacher"] == []
    with pytest.raises(InvalidInput):
        workspace.export.pairs(owner)

    # the vote itself counts, and who asks for the answers sees them
    assert len(workspace.review.page(owner, pairs.PairQuery(recipe=pairs.COMPARED))) == 3
    assert workspace.review.facets(owner)["recipe"] == [pairs.COMPARED]
    stored = workspace.prefer.progress(owner)
    assert (stored.wins, stored.open, stored.candidates) == (2, 0, 0)
    assert workspace.prefer.queue(owner) == []
    assert workspace.freeze.preview(owner, format="preference").rows == 2
    workspace.freeze.create(owner, "votes", format="preference")
    assert workspace.export.preferences(owner).rows == 2


def test_an_accepted_answer_of_a_comparison_is_not_frozen_and_stands_for_nobody(
    workspace, owner, compared
):
    workspace.evaluate.vote(owner, compared.id, "small")
    mine = Pair(seed_id="mine", messages=tuple(HELLO), answer="Hello there.", teacher="big")
    pairs.insert(workspace.db, [mine])
    made = workspace.review.page(owner, pairs.PairQuery(recipe=pairs.COMPARED))
    accepts = [
        Decision(id=new_id(), pair_id=pair.id, kind=DecisionKind.ACCEPT) for pair in [*made, mine]
    ]
    workspace.review.decide(owner, accepts)
    report = workspace.curate.apply(owner)
    assert (report.considered, report.kept, report.conflicts) == (1, 1, 0)
    assert workspace.freeze.preview(owner).rows == 1
    assert workspace.overview.counts(owner)["usable"] == 1


def test_a_changed_mind_replaces_the_vote(workspace, owner, compared):
    workspace.evaluate.vote(owner, compared.id, "3")
    workspace.evaluate.vote(owner, compared.id, "tie")
    assert {row[2] for row in preference_rows(workspace)} == {"tie"}
    assert len(preference_rows(workspace)) == 3
    workspace.evaluate.vote(owner, compared.id, "1")
    assert preference_rows(workspace) == [
        ("big", "raw", "win", "arena"),
        ("big", "small", "win", "arena"),
    ]
    assert workspace.evaluate.get(owner, compared.id).verdict.winner == "1"


def test_a_vote_for_one_of_two_equal_answers_is_stored_as_the_tie_that_it_is(
    workspace, owner, models
):
    models["student:small"] = ScriptedChatModel("small", lambda r: "Hello from the big one. ")
    found = workspace.evaluate.compare(owner, ["big", "small"], "Say hello.", blind=True)
    voted = workspace.evaluate.vote(owner, found.id, "2")
    assert voted.verdict.winner == "tie"
    assert [row[2] for row in preference_rows(workspace)] == ["tie"]
    three = workspace.evaluate.compare(owner, ["big", "small", "raw"], "Say hello.")
    voted = workspace.evaluate.vote(owner, three.id, "small")
    assert voted.verdict.winner == voted.winner == "2"  # it beats the third
    assert sorted(row[2] for row in preference_rows(workspace)) == ["tie", "tie", "win"]


def test_both_bad_is_kept_as_such(workspace, owner, compared):
    workspace.evaluate.vote(owner, compared.id, "both_bad")
    assert {row[2] for row in preference_rows(workspace)} == {"both_bad"}


def test_two_people_vote_for_themselves(workspace, owner, compared):
    other = Actor(user="other", role=Role.REVIEWER)
    workspace.evaluate.vote(owner, compared.id, "3", "same-vote-id")
    workspace.evaluate.vote(other, compared.id, "1", "same-vote-id")
    assert len(preference_rows(workspace)) == 4
    assert workspace.evaluate.get(owner, compared.id).verdict.winner == "3"
    assert workspace.evaluate.get(other, compared.id).verdict.winner == "1"
    assert workspace.db.value("SELECT count(*) FROM pairs") == 3
    rows = {(r.model, r.against): r for r in workspace.arena.standings(owner, sighted=True).rates}
    assert (rows["small", "big"].n, rows["small", "big"].wins) == (2, 1)
    assert rows["small", "raw"].wins == 1
    assert rows["small", "big"].prompts == 1


def test_a_wrong_vote_stores_nothing(workspace, owner, compared):
    for winner in ("4", "nobody", ""):
        with pytest.raises(InvalidInput):
            workspace.evaluate.vote(owner, compared.id, winner)
    with pytest.raises(InvalidInput):
        workspace.evaluate.vote(owner, compared.id, "1", vote_id="short")
    with pytest.raises(NotFound):
        workspace.evaluate.vote(owner, "no-such-id", "1")
    assert workspace.db.value("SELECT count(*) FROM comparison_votes") == 0
    assert workspace.db.value("SELECT count(*) FROM pairs") == 0


def test_blind_hides_names_until_the_reader_has_voted(workspace, owner, models):
    orders = set()
    for _ in range(12):
        found = workspace.evaluate.compare(owner, list(models), "Say hello.", blind=True)
        assert [a.card.label for a in found.answers] == ["Model A", "Model B", "Model C"]
        shown = str([c.model_dump() for c in workspace.evaluate.page(owner)])
        assert not any(name in shown for name in ("teacher:", "student:", "base:"))
        orders.add(tuple(a.text for a in found.answers))
    assert len(orders) > 1
    with pytest.raises(InvalidInput):
        workspace.evaluate.vote(owner, found.id, "student:small")  # not even by guessing
    place = [a.text for a in found.answers].index("Hello there.")
    voted = workspace.evaluate.vote(owner, found.id, str(place + 1))
    assert voted.answers[place].card.id == "student:small"
    assert [a.text for a in voted.answers] == [a.text for a in found.answers]
    assert ("small", "big", "win", "arena") in preference_rows(workspace)
    other = Actor(user="other", role=Role.REVIEWER)
    assert workspace.evaluate.get(other, found.id).answers[0].card.label == "Model A"


# -- sets ---------------------------------------------------------------------------------


def freeze_by_hand(workspace, prompts: list[str]) -> None:
    folder = workspace.folder / "snapshots" / "s1"
    folder.mkdir(parents=True)
    rows = [
        {"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": "a"}]}
        for p in prompts
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "validation.parquet")


def test_a_set_answers_held_out_prompts_and_resumes(workspace, owner, models):
    with pytest.raises(InvalidInput, match="held-out"):
        workspace.evaluate.compare_set(owner, ["big", "small"])
    freeze_by_hand(workspace, ["one", "two", "two", "three", "four"])
    held_out = workspace.evaluate.examples(owner)
    assert [turns[-1].content for turns in held_out.prompts] == ["one", "two", "three", "four"]
    assert held_out.snapshot == "s1"
    job = workspace.evaluate.compare_set(owner, ["big", "small"], count=3)
    job = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert job.state is JobState.DONE
    assert job.result == {"set_id": job.id, "comparisons": 3, "cost_usd": 0.0}
    found = workspace.evaluate.page(owner, set_id=job.id)
    assert [c.prompt for c in found] == ["one", "two", "three"]
    assert workspace.evaluate.page(owner) == []  # a set is one entry, not three
    asked = models["teacher:big"].calls
    workspace.db.cursor().execute("DELETE FROM comparisons WHERE set_number = 1")
    workspace.db.cursor().execute("UPDATE jobs SET state = 'cancelled'")
    workspace.jobs.resume(owner, job.id)
    assert workspace.jobs.wait(owner, job.id, timeout_s=60).state is JobState.DONE
    assert models["teacher:big"].calls == asked + 1  # only what was missing
    assert len(workspace.evaluate.page(owner, set_id=job.id)) == 3


def test_a_stopped_set_keeps_whole_comparisons_only(workspace, owner, models):
    models["student:small"].delay_s = 0.1
    job = workspace.evaluate.compare_set(owner, ["big", "small"], prompts=["one"] * 50)
    while not workspace.evaluate.page(owner, set_id=job.id):
        time.sleep(0.02)
    workspace.jobs.cancel(owner, job.id)
    assert workspace.jobs.wait(owner, job.id, timeout_s=60).state is JobState.CANCELLED
    found = workspace.evaluate.page(owner, set_id=job.id)
    assert 1 <= len(found) < 50
    assert all(a.state is AnswerState.DONE for c in found for a in c.answers)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"prompt": [{"role": "user", "content": "q"}], "completion": []}, ["q"]),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, ["q"]),
        (
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                ]
            },
            ["s", "q"],
        ),
        ({"messages": [{"role": "assistant", "content": "a"}]}, []),
        ({}, []),
    ],
)
def test_the_prompt_of_a_row(row, wanted):
    assert [m.content for m in prompt_of_row(row)] == wanted
