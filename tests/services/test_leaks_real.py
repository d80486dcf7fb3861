"""Leaks planted into real data: GSM8K's test questions among rows of its training set."""

import json
import random
import re

import pytest

from distill_studio.core.records import JobState, Message, Pair
from distill_studio.services import leak_work as work
from distill_studio.services.leaks import FLOOR, NEAREST
from distill_studio.store import leaks as table
from distill_studio.store import pairs

PLANTED = 50
QUEUE = 200  # candidates a person looks at, from the top
NAMES = (
    "Olivia", "Marcus", "Priya", "Tomas", "Ingrid", "Kofi", "Yuki", "Fatima", "Diego", "Nora",
    "Aiko", "Bram", "Carla", "Dmitri", "Esra", "Farid", "Gita", "Hugo", "Ines", "Jonas",
    "Keiko", "Lars", "Mina", "Nils", "Oona",
)  # fmt: skip
COMMON = {
    "A", "An", "The", "If", "He", "She", "They", "It", "How", "What", "In", "On", "At", "For",
    "Each", "Every", "There", "Then", "When", "After", "His", "Her", "Their", "One", "Two",
    "Three", "Of", "To", "By", "And", "But", "Some", "All", "So", "This", "That", "These",
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
}  # fmt: skip
WORDS = (
    "garden", "yellow", "quickly", "seven", "basket", "river", "maybe", "window", "teacher",
    "often",
)  # fmt: skip


def renamed(text, rng):
    """Other names and other numbers."""
    names = sorted({w for w in re.findall(r"\b[A-Z][a-z]+\b", text) if w not in COMMON})
    others = dict(zip(names, rng.sample(NAMES, len(names)), strict=True))
    text = re.sub(r"\b[A-Z][a-z]+\b", lambda m: others.get(m[0], m[0]), text)
    return re.sub(r"\d+", lambda m: str(int(m[0]) + rng.randint(1, 9)), text)


def three_words_changed(text, rng):
    words = text.split()
    for k in rng.sample(range(len(words)), 3):
        words[k] = rng.choice(WORDS)
    return " ".join(words)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def stored(workspace, kind, rows):
    made = [
        Pair(
            seed_id=f"s{k}",
            messages=(Message(role="user", content=question),),
            answer=answer,
            job_id=kind,
            sample=k,
        )
        for k, (question, answer) in enumerate(rows)
    ]
    pairs.insert(workspace.db, made)
    return [pair.id for pair in made]


def done(workspace, owner, job):
    ended = workspace.jobs.wait(owner, job.id, 1500)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(1800)
def test_planted_questions_are_found(workspace, owner, shared_data, record_property):
    rng = random.Random(0)
    test = read(shared_data / "gsm8k_test.jsonl")
    train = read(shared_data / "gsm8k_train_2000.jsonl")
    chosen = rng.sample(range(len(test)), 3 * PLANTED)
    kinds = {
        "verbatim": chosen[:PLANTED],
        "renamed": chosen[PLANTED : 2 * PLANTED],
        "three_words": chosen[2 * PLANTED :],
    }
    change = {
        "verbatim": lambda text, rng: text,
        "renamed": renamed,
        "three_words": three_words_changed,
    }
    own = stored(workspace, "own", [(row["question"], row["answer"]) for row in train])
    planted = {  # kind -> {(item, row)}; the answers give nothing away
        kind: set(
            zip(
                items,
                stored(
                    workspace,
                    kind,
                    [(change[kind](test[i]["question"], rng), f"It is {i}.") for i in items],
                ),
                strict=True,
            )
        )
        for kind, items in kinds.items()
    }
    leaks = workspace.leaks
    leaks.add(owner, workspace.studio.uploads.add(shared_data / "gsm8k_test.jsonl"), "GSM8K test")
    pack = table.pack(workspace.db, "GSM8K test")

    def queue():
        rows = table.candidates(workspace.db, pack["id"], is_open=True, limit=10_000)
        return [(row["item"], row["pair_id"]) for row in rows]

    # Embeddings alone first: as long as nothing is checked, the rules leave the queue whole.
    embedder = workspace.studio.models.embedder()
    work.find_candidates(workspace.db, embedder, pack["id"], NEAREST, FLOOR)
    alone = queue()
    done(workspace, owner, leaks.find_candidates(owner))
    rest = queue()
    hits = workspace.db.rows("SELECT item, pair_id FROM leak_hits")
    found = {(row["item"], row["pair_id"]) for row in hits}
    false_alarms = {row["pair_id"] for row in hits} & set(own)
    figures = {"false alarms": len(false_alarms), "rows": len(own)}
    figures |= {"candidates alone": len(alone), "candidates after n-grams": len(rest)}
    for kind, wanted in planted.items():
        figures[f"{kind}: n-grams"] = len(found & wanted)
        for length in (150, QUEUE, 1000, len(alone)):
            figures[f"{kind}: first {length} alone"] = len(set(alone[:length]) & wanted)
            figures[f"{kind}: n-grams, first {length}"] = len((set(rest[:length]) | found) & wanted)
    record_property("figures", json.dumps(figures))

    assert found >= planted["verbatim"]
    assert len(false_alarms) <= 0.01 * len(own)
    for kind in ("renamed", "three_words"):
        assert len(set(alone[:QUEUE]) & planted[kind]) >= 0.9 * PLANTED, figures
    report = workspace.curate.apply(owner)
    assert report.by_reason["contaminated"] == len({row["pair_id"] for row in hits})
