"""400 real judgements as a judge's votes: agreement, win rates and the DPO export to the row."""

import json

import pyarrow.parquet as pq
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace
from distill_studio.store.preferences import PreferenceQuery, page

JUDGE = "weighted-gpt4"


@pytest.fixture
def judged(studio, workspace, owner, shared_data) -> list[dict]:
    """The rows of the file, imported as the votes of a judge."""
    path = shared_data / "alpaca_eval_preferences.jsonl"
    upload_id = studio.uploads.add(path)
    mapping = workspace.seeds.preview(owner, upload_id).mapping
    named = mapping.model_copy(update={"default_judge": JUDGE})
    report = workspace.seeds.import_file(owner, upload_id, named)
    assert (report.counts.preferences, report.counts.pairs_new) == (400, 800)
    assert report.counts.remark_count == 1  # two answers with the same text
    again = workspace.seeds.import_file(owner, upload_id, named)
    assert (again.counts.preferences, again.counts.pairs_new) == (0, 0)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def points(row: dict) -> float:
    """What the first model gets, read off the file by hand."""
    if row["output_1"] == row["output_2"] or row["preference"] == 1.5:
        return 0.5
    return 1.0 if row["preference"] < 1.5 else 0.0


def winners(rows: list[dict]) -> set[tuple[str, str, str]]:
    """(prompt, chosen, rejected) of the rows with a winner."""
    found = set()
    for row in rows:
        both = (row["output_1"], row["output_2"])
        if points(row) != 0.5:
            chosen, rejected = both if points(row) == 1 else both[::-1]
            found.add((row["instruction"], chosen, rejected))
    return found


def test_every_judgement_is_the_judges_vote(workspace: Workspace, judged: list[dict]) -> None:
    stored = page(workspace.db, PreferenceQuery(source="judge", user=JUDGE, limit=1000))
    assert len(stored) == len(judged) == 400
    rows = workspace.db.rows(
        """SELECT c.prompt, c.answer AS chosen, r.answer AS rejected FROM preferences p
        JOIN pairs c ON c.id = p.chosen_pair_id JOIN pairs r ON r.id = p.rejected_pair_id
        WHERE p.outcome = 'win'"""
    )
    assert {(r["prompt"], r["chosen"], r["rejected"]) for r in rows} == winners(judged)
    assert sum(p.outcome == "tie" for p in stored) == sum(points(r) == 0.5 for r in judged) == 1


def test_win_rates_equal_a_plain_count(
    workspace: Workspace, owner: Actor, judged: list[dict]
) -> None:
    report = workspace.agreement.ranking(owner)
    assert (report.sources, report.voters) == ("judges", {JUDGE: 400})
    first = judged[0]["generator_1"]
    mean = sum(map(points, judged)) / len(judged)
    rate = next(r for r in report.rates if r.model == first and not r.against)
    assert (rate.n, rate.rate) == (400, pytest.approx(mean))
    assert rate.low < mean < rate.high
    # Of two models the likelihood has its top where it predicts the observed rate.
    best, other = report.ranking.strengths
    assert best.model == first
    gap = best.rating - other.rating
    assert 1 / (1 + 10 ** (-gap / 400)) == pytest.approx(mean, abs=1e-6)
    controlled = report.length_controlled[0]
    assert controlled.rate.low < controlled.rate.value < controlled.rate.high


def test_the_dpo_snapshot_has_each_winner_once(
    workspace: Workspace, owner: Actor, judged: list[dict]
) -> None:
    preview = workspace.freeze.preview(owner, "preference")
    snapshot = workspace.freeze.create(owner, "judged", "preference", validation_share=0.1)
    wanted = winners(judged)
    assert snapshot.train_rows + snapshot.validation_rows == len(wanted) == 399
    assert preview.left_out == {"no winner (tie)": 1}
    folder = workspace.folder / "snapshots" / "judged"
    rows = [
        r for path in sorted(folder.rglob("*.parquet")) for r in pq.read_table(path).to_pylist()
    ]
    found = {
        (r["prompt"][-1]["content"], r["chosen"][0]["content"], r["rejected"][0]["content"])
        for r in rows
    }
    assert len(rows) == len(wanted)
    assert found == wanted


def test_people_are_set_beside_the_judge(
    studio: Studio, workspace: Workspace, owner: Actor, judged: list[dict]
) -> None:
    """Ann votes as the file says but for every fifth couple, Bob by the left side."""
    ann, bob = Actor(user="ann", role=Role.REVIEWER), Actor(user="bob", role=Role.REVIEWER)
    workspace.labelling.save(owner, LabellingSettings(overlap=2))
    truth = {(row["instruction"], row["output_1"]): points(row) for row in judged}
    agreed = 0
    for actor in (ann, bob):
        tasks = workspace.prefer.queue(actor, limit=60)
        votes = []
        for n, task in enumerate(tasks):
            key = (task.messages[-1].content, task.left)
            is_left = (
                truth[key] == 1 if key in truth
                else truth[task.messages[-1].content, task.right] == 0
            )  # fmt: skip
            if actor is ann:
                is_kept = n % 5 > 0
                agreed += is_kept
                outcome = "left" if is_left == is_kept else "right"
            else:
                outcome = "left"
            votes.append(Vote(id=f"{actor.user}-vote-{n:03d}", task_id=task.id, outcome=outcome))
        assert len(workspace.prefer.vote(actor, votes).stored) == 60
    stats = {p.user: p for p in workspace.agreement.people(owner)}
    assert stats["ann"].with_judges.percent.value == pytest.approx(agreed / 60)
    assert stats["bob"].position.share.value == 1.0
    assert stats["bob"].position.warning.startswith("Leans to the left")
    report = workspace.agreement.rows(owner, "votes")
    assert (report.people, report.rows[0].items) == (("ann", "bob"), 60)
    judge = workspace.agreement.judges(owner)[0]
    assert (judge.judge, judge.of, judge.agreement.n) == (JUDGE, "votes", 60)
