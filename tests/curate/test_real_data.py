"""Near-duplicates in real text: the 3,220 answers of four models to AlpacaEval, and ShareGPT.

Everything is embedded once; each test gets a copy of that data folder. What is near is looked up in
a slow product of all windows (`Truth`), never in what the search stored.
"""

import json
import random
import shutil
from collections import Counter

import numpy as np
import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core import embedding_models
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Decision, DecisionKind, JobState, Message, Pair
from distill_studio.core.settings import Settings
from distill_studio.curate.filters import LengthConfig
from distill_studio.curate.reports import NearChoices
from distill_studio.curate.text import conversation_text, normalise
from distill_studio.services.curation_work import messages_of
from distill_studio.store import decisions, embeddings, model_agreements, pairs

LIMIT_S = 1800
pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(LIMIT_S)]

MODELS = ("gpt4_1106_preview", "vicuna-7b", "text_davinci_003", "alpaca-7b")
ROLES = {"human": "user", "gpt": "assistant"}
OWNER = Actor(user="owner", role=Role.OWNER)
FULL = embedding_models.FULL
OLDEST = NearChoices(priority="oldest")
CASES = [("both", 0.9), ("answer", 0.9), ("answer", 0.8)]


def sharegpt(folder):
    for k, entry in enumerate(json.loads((folder / "sharegpt_conversations.json").read_text())):
        turns = [
            Message(role=ROLES[turn["from"]], content=turn["value"])
            for turn in entry["conversations"]
        ]
        yield Pair(
            seed_id=f"sharegpt-{k}",
            messages=tuple(turns[:-1]),
            answer=turns[-1].content,
            job_id="sharegpt",
        )


def alpaca_eval(folder):
    for model in MODELS:
        for k, row in enumerate(json.loads((folder / f"alpaca_eval_{model}.json").read_text())):
            yield Pair(
                seed_id=f"alpaca-{k}",  # four candidates each
                messages=(Message(role="user", content=row["instruction"]),),
                answer=row["output"],
                teacher=model,
                job_id=model,
            )


def done(workspace, job):
    ended = workspace.jobs.wait(OWNER, job.id, LIMIT_S)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


class Truth:
    """Similarities of rows by a plain product of all windows, and which rows are the same text."""

    def __init__(self, db, field):
        self.rows = db.rows(
            """SELECT p.id, p.seed_id, p.messages, p.answer, t.prompt_hash, t.answer_hash
            FROM pairs p JOIN pair_texts t ON t.pair_id = p.id ORDER BY p.id"""
        )
        for row in self.rows:
            row["prompt"] = conversation_text(messages_of(row))
        self.by_id = {row["id"]: row for row in self.rows}
        self.place = {row["id"]: k for k, row in enumerate(self.rows)}
        self.sides = ["prompt", "answer"] if field == "both" else [field]
        self.similarity = np.ones((len(self.rows), len(self.rows)), np.float32)
        for side in self.sides:
            np.minimum(self.similarity, self._of(db, side), out=self.similarity)

    def _of(self, db, side):
        hashes = [row[f"{side}_hash"] for row in self.rows]
        vectors = model_agreements.windows_of(db, FULL, 384, sorted({h for h in hashes if h}))
        counts = np.array([len(vectors.get(h, ())) for h in hashes])
        found = np.zeros((len(hashes), len(hashes)), np.float32)  # of other lengths: never near
        for count in sorted(set(counts.tolist()) - {0}):
            places = np.flatnonzero(counts == count)
            windows = np.stack([vectors[hashes[k]] for k in places])
            alike = np.min([windows[:, w] @ windows[:, w].T for w in range(count)], axis=0)
            found[np.ix_(places, places)] = alike
        return found

    def is_same_text(self, a, b):
        return all(
            normalise(self.by_id[a][side]) == normalise(self.by_id[b][side]) for side in self.sides
        )

    def alike(self, a, b):
        return 1.0 if self.is_same_text(a, b) else self.similarity[self.place[a], self.place[b]]

    def near(self, threshold):
        """Couples of ids of different seeds, (older, newer), from the threshold up."""
        i, j = np.nonzero(np.triu(self.similarity >= threshold, k=1))
        couples = [(self.rows[a]["id"], self.rows[b]["id"]) for a, b in zip(i, j, strict=True)]
        return [(a, b) for a, b in couples if self.seed(a) != self.seed(b)]

    def seed(self, pair_id):
        return self.by_id[pair_id]["seed_id"]


def lost_to(workspace):
    """Removed row -> (the row that stands for it, similarity, code), of what is in force."""
    removed = workspace.db.rows("SELECT id FROM pairs WHERE curation = 'duplicate'")
    why = {row["id"]: workspace.curate.explain(OWNER, row["id"]) for row in removed}
    return {one: (said.lost_to.pair_id, said.score, said.code) for one, said in why.items()}


def apply(workspace, field="both", threshold=0.9, **choices):
    return workspace.curate.apply(
        OWNER, filters=[], field=field, threshold=threshold, near=OLDEST, **choices
    )


def decide(workspace, ids, kind):
    decisions.record(
        workspace.db,
        "owner",
        [Decision(id=f"{kind}-{one}", pair_id=one, kind=kind) for one in ids],
    )


@pytest.fixture(scope="module")
def real_rows(shared_data):
    """(rows, in the order of their ids)."""
    rows = [*sharegpt(shared_data), *alpaca_eval(shared_data)]
    assert len(rows) > 4 * 805, "the four files and ShareGPT"
    return sorted(rows, key=lambda row: row.id)


@pytest.fixture(scope="module")
def compared_home(real_rows, starter_cache, tmp_path_factory):
    """A data folder whose workspace `main` holds all rows, embedded and compared."""
    home = tmp_path_factory.mktemp("real") / "home"
    studio = build_studio(Settings(home=home, cache=starter_cache, port=0))
    try:
        main = studio.workspace("main")
        pairs.insert(main.db, real_rows)
        done(main, main.curate.measure(OWNER))
        for field in ("both", "answer"):
            done(main, main.curate.embed(OWNER, field))
    finally:
        studio.close()
    return home


@pytest.fixture
def opened(compared_home, starter_cache, tmp_path):
    """The workspace, in a copy of its own."""
    shutil.copytree(compared_home, tmp_path / "home")
    studio = build_studio(Settings(home=tmp_path / "home", cache=starter_cache, port=0))
    yield studio.workspace("main")
    studio.close()


@pytest.mark.parametrize(("field", "threshold"), CASES)
def test_what_goes_is_near_to_what_stays_and_nothing_near_stays(opened, field, threshold):
    truth = Truth(opened.db, field)
    report = apply(opened, field, threshold)
    gone = lost_to(opened)
    assert len(gone) == report.duplicates > 10
    for one, (to, score, code) in gone.items():
        assert to not in gone, "the representative is there"
        assert truth.alike(one, to) == pytest.approx(score, abs=1e-5)
        assert score >= threshold
        assert (code == "exact") == truth.is_same_text(one, to)
        stored = embeddings.similarity_of(opened.db, field, FULL, one, to)
        assert code == "exact" or stored == score
    left = [c for c in truth.near(threshold + 1e-5) if not gone.keys() & set(c)]
    assert not left, "no two near rows of different prompts stay"

    assert opened.curate.settle(OWNER).changed == 0, "removing twice removes nothing"
    groups = opened.curate.near_groups([row["id"] for row in truth.rows])
    if field == "both":
        assert all(groups[one] == groups[to] for one, (to, _, _) in gone.items()), "no split leak"


@pytest.mark.parametrize(("field", "threshold"), CASES)
def test_candidates_of_one_prompt_stay(opened, field, threshold):
    truth = Truth(opened.db, field)
    apply(opened, field, threshold)
    gone = lost_to(opened)
    for one, (to, _, code) in gone.items():
        assert truth.seed(one) != truth.seed(to) or code == "exact"
    i, j = np.nonzero(np.triu(truth.similarity >= threshold, k=1))
    ids = [row["id"] for row in truth.rows]
    near = [(ids[a], ids[b]) for a, b in zip(i, j, strict=True)]
    of_one_prompt = [
        c for c in near if truth.seed(c[0]) == truth.seed(c[1]) and not truth.is_same_text(*c)
    ]
    assert len(of_one_prompt) > 20, "models give near answers to one prompt"
    both_stay = [c for c in of_one_prompt if not gone.keys() & set(c)]
    assert len(both_stay) > 0.8 * len(of_one_prompt), "the others lose to rows of other prompts"


def test_the_order_in_which_rows_came_changes_no_group(opened, real_rows):
    apply(opened, "answer", 0.85)
    expected = lost_to(opened)
    for seed in (1, 2):
        shuffled = random.Random(seed).sample(real_rows, len(real_rows))
        name = opened.studio.create_workspace(OWNER, f"shuffled-{seed}")
        other = opened.studio.workspace(name)
        pairs.insert(other.db, shuffled)
        copy_vectors(opened.db, other.db)
        done(other, other.curate.embed(OWNER, "answer"))
        apply(other, "answer", 0.85)
        assert lost_to(other) == expected


def copy_vectors(source, target):
    """Vectors of all answers, so that none is computed again."""
    hashes = [
        row["answer_hash"] for row in source.rows("SELECT DISTINCT answer_hash FROM pair_texts")
    ]
    found = model_agreements.windows_of(source, FULL, 384, hashes)
    embeddings.ensure_vectors(target, 384)
    counts = [len(windows) for windows in found.values()]
    embeddings.save_vectors(target, FULL, list(found), counts, np.concatenate([*found.values()]))


def test_a_rejected_row_removes_nobody(opened):
    truth = Truth(opened.db, "answer")
    apply(opened, "answer", 0.85)
    stood = {to for to, _, _ in lost_to(opened).values()}
    decide(opened, sorted(stood), DecisionKind.REJECT)
    apply(opened, "answer", 0.85)
    gone = lost_to(opened)
    assert not stood & {to for to, _, _ in gone.values()}
    assert not stood & gone.keys(), "they went by a person's decision, not as duplicates"
    left = [c for c in truth.near(0.85 + 1e-5) if not (gone.keys() | stood) & set(c)]
    assert not left, "of what they stood for, others stand for the rest"


def test_a_filtered_row_removes_nobody(opened):
    apply(opened, "answer", 0.85)
    before = {to for to, _, _ in lost_to(opened).values()}
    short = [LengthConfig(min_words=20)]
    opened.curate.apply(OWNER, filters=short, field="answer", threshold=0.85, near=OLDEST)
    states = {r["id"]: r["curation"] for r in opened.db.rows("SELECT id, curation FROM pairs")}
    filtered = {one for one, state in states.items() if state == "filtered"}
    assert filtered & before, "some that stood for others are filtered now"
    assert all(states[to] == "kept" for to, _, _ in lost_to(opened).values())


def test_an_accepted_row_is_never_removed_silently(opened):
    apply(opened, "answer", 0.85)
    gone = lost_to(opened)
    accepted = sorted(gone)[::2]
    decide(opened, accepted, DecisionKind.ACCEPT)
    report = apply(opened, "answer", 0.85)
    after = lost_to(opened)
    assert not after.keys() & set(accepted)
    assert all(to not in after for to, _, _ in after.values())
    shown = opened.curate.dedup_preview(OWNER, "answer", 0.85, [], OLDEST)
    assert report.conflicts == shown.conflicts
    disputed = {one.b.pair_id for one in shown.conflict_pairs}
    assert disputed <= set(accepted), "accepted rows near to accepted ones are shown as conflicts"
    near = [c for c in Truth(opened.db, "answer").near(0.85 + 1e-5) if set(c) <= set(accepted)]
    assert report.conflicts > 0 or not near

    apply(opened, "answer", 0.85, remove_accepted=True)
    assert lost_to(opened).keys() & set(accepted), "only when it is asked for"


def test_long_answers_equal_in_their_first_256_tokens_both_stay(opened, real_rows):
    embedder = opened.studio.models.embedder()
    long = [row for row in real_rows if len(embedder.windows(row.answer)) == 2][:60]
    made, couples = [], []
    for first, second in zip(long[::2], long[1::2], strict=True):
        start = embedder.windows(first.answer)[0]
        rest = embedder.windows(second.answer)[1]
        twin = f"{start.rstrip()} {rest.lstrip()}"
        if embedder.windows(twin)[0].rstrip() != start.rstrip():  # the joint moved the cut
            continue
        made.append(
            Pair(seed_id=f"twin-{len(made)}", messages=first.messages, answer=twin, job_id="twins")
        )
        couples.append((first.id, made[-1].id))
    assert len(made) >= 20
    pairs.insert(opened.db, made)
    for field in ("both", "answer"):
        done(opened, opened.curate.embed(OWNER, field))
        apply(opened, field, 0.8)
        gone = lost_to(opened)
        truth = Truth(opened.db, field)
        for a, b in couples:
            assert (gone.get(b) or ("",))[0] != a
            assert truth.alike(a, b) < 0.8, "their second windows differ"
        assert sum(not gone.keys() & {a, b} for a, b in couples) >= 0.9 * len(couples)


def test_each_way_to_choose_who_stays_removes_only_what_is_near(opened):
    truth = Truth(opened.db, "answer")
    lengths = {row["id"]: len(row["answer"]) for row in truth.rows}
    for priority in ("newest", "longest", "shortest", "teacher"):
        near = NearChoices(priority=priority, teacher=MODELS[1])
        opened.curate.apply(OWNER, filters=[], field="answer", threshold=0.85, near=near)
        gone = lost_to(opened)
        assert all(to not in gone for to, _, _ in gone.values())
        assert all(truth.alike(one, to) >= 0.85 - 1e-5 for one, (to, _, _) in gone.items())
        longer = Counter(lengths[to] >= lengths[one] for one, (to, _, _) in gone.items())
        if priority == "longest":
            assert longer[False] == 0
        if priority == "newest":
            assert all(one < to for one, (to, _, _) in gone.items())
