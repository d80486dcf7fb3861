"""Near-duplicates in real text: ShareGPT conversations and answers of four models."""

import json

import pytest

from distill_studio.core.records import JobState, Message, Pair
from distill_studio.store import embeddings, pairs

pytestmark = [pytest.mark.models, pytest.mark.slow]

MODELS = ("gpt4_1106_preview", "vicuna-7b", "text_davinci_003", "alpaca-7b")
ROLES = {"human": "user", "gpt": "assistant"}


def sharegpt(folder):
    rows = []
    for k, entry in enumerate(json.loads((folder / "sharegpt_conversations.json").read_text())):
        turns = [
            Message(role=ROLES[turn["from"]], content=turn["value"])
            for turn in entry["conversations"]
        ]
        rows.append(
            Pair(
                seed_id=f"sharegpt-{k}",
                messages=tuple(turns[:-1]),
                answer=turns[-1].content,
                job_id="sharegpt",
            )
        )
    return rows


def alpaca_eval(folder, count):
    return [
        Pair(
            seed_id=f"alpaca-{k}",
            messages=(Message(role="user", content=row["instruction"]),),
            answer=row["output"],
            teacher=model,
            job_id=model,
        )
        for model in MODELS
        for k, row in enumerate(
            json.loads((folder / f"alpaca_eval_{model}.json").read_text())[:count]
        )
    ]


def test_what_is_found_is_right(workspace, owner, shared_data):
    made = sharegpt(shared_data) + alpaca_eval(shared_data, 5)
    pairs.insert(workspace.db, made)
    curate = workspace.curate
    job = workspace.jobs.wait(owner, curate.dedup(owner, "both", 0.9, filters=[]).id, 280)
    assert job.state is JobState.DONE, job.error
    report = job.result
    assert report["by_reason"]["near"] > 50, "the file has many near-duplicates"
    states = {
        row["id"]: row["curation"] for row in workspace.db.rows("SELECT id, curation FROM pairs")
    }
    removed = [one for one, state in states.items() if state == "duplicate"]
    assert len(removed) == report["duplicates"]
    for one in removed:
        why = curate.explain(owner, one)
        assert states[why.lost_to.pair_id] == "kept", "the representative is there"
        assert why.score >= 0.9
        if why.code == "near":
            stored = embeddings.similarity_of(workspace.db, "both", one, why.lost_to.pair_id)
            assert stored == why.score
    assert curate.settle(owner).changed == 0, "removing twice removes nothing"

    groups = curate.near_groups([row.id for row in made])
    for one in removed:
        assert groups[one] == groups[curate.explain(owner, one).lost_to.pair_id], "no split leak"
