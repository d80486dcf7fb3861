"""What the tests of Curate share: rows, an embedder of word counts, and what became of rows."""

import numpy as np

from distill_studio.core import embedding_models
from distill_studio.core.records import Decision, JobState, Message, Pair
from distill_studio.core.words import words
from distill_studio.store import decisions, pairs

BEES = "Bees make honey from the nectar of flowers and store it in combs of wax for the winter"

SHIPS = "Ships float because the water that they push aside weighs as much as the whole ship"

RAIN = "Rain falls when small drops in a cloud join and grow too heavy for the air to hold up"


class WordCounts:
    """An embedder whose vectors are hashed word counts; a window is twenty words."""

    model = embedding_models.FULL
    dim = 256

    def __init__(self):
        self.embedded = []

    def windows(self, text):
        words = text.split()
        return [" ".join(words[k : k + 20]) for k in range(0, max(1, len(words)), 20)]

    def embed(self, texts):
        self.embedded += texts
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[sum(word.encode()) * 7 % self.dim] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


_count = iter(range(10**6))


def pair(prompt, answer, *, seed=None, **fields):
    number = next(_count)
    return Pair(
        seed_id=seed or f"seed-{number}",
        messages=(Message(role="user", content=prompt),),
        answer=answer,
        job_id="test",
        sample=number,
        **fields,
    )


def talk(turns, said):
    """A conversation of which only turn `said` has its own words."""
    messages = tuple(
        Message(role=role, content=content if k == said else "Go on.")
        for k, (role, content) in enumerate(turns)
    )
    return pair("", BEES).model_copy(update={"messages": messages})


def store(workspace, *rows):
    pairs.insert(workspace.db, rows)
    return [row.id for row in rows]


def decide(workspace, pair_id, kind, **fields):
    decisions.record(
        workspace.db,
        "owner",
        [Decision(id=f"decision-{next(_count)}", pair_id=pair_id, kind=kind, **fields)],
    )


def done(workspace, owner, job):
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


def curation(workspace):
    return {
        row["id"]: row["curation"] for row in workspace.db.rows("SELECT id, curation FROM pairs")
    }


def snapshot(workspace):
    return workspace.db.rows("SELECT id, curation, curation_reason FROM pairs ORDER BY id")
