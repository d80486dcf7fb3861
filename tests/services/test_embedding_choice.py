"""Which embedding model compares: kept apart, chosen in the settings, judged against the full."""

import json

import numpy as np
import pytest

from distill_studio.core.embedding_models import FAST, FULL
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import JobState, Message, Pair
from distill_studio.core.settings import Settings
from distill_studio.core.words import words
from distill_studio.curate.reports import CurateSettings
from distill_studio.services import model_agreement_work
from distill_studio.store import embeddings, pairs

RIVERS = "The river rises in the hills and runs for many miles through woods and fields to the sea"


class Letters:
    """An embedder of hashed words, or of their first letters only: another scale of cosines."""

    dim = 128

    def __init__(self, model, letters):
        self.model, self._letters = model, letters
        self.embedded = []

    def windows(self, text):
        return [text]

    def embed(self, texts):
        self.embedded += texts
        rows = np.full((len(texts), self.dim), 0.01, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[sum(word[: self._letters].encode()) * 7 % self.dim] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def models(workspace, monkeypatch):
    made = {FULL: Letters(FULL, 99), FAST: Letters(FAST, 1)}
    monkeypatch.setattr(
        workspace.studio.models, "embedder", lambda model=FULL, *_: made[model], raising=False
    )
    return made


def store(workspace, answers):
    rows = [
        Pair(
            seed_id=f"seed-{k}",
            messages=(Message(role="user", content=f"Question {k} on rivers"),),
            answer=answer,
            job_id="test",
        )
        for k, answer in enumerate(answers)
    ]
    pairs.insert(workspace.db, rows)
    return [row.id for row in rows]


def done(workspace, owner, job):
    ended = workspace.jobs.wait(owner, job.id, 120)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


def reworded():
    """Twelve answers: each has one word more replaced, by one with the same first letters."""
    answers, now = [RIVERS], RIVERS.split()
    for k in range(11):
        now = [*now[:k], now[k][: 1 + k % 2] + "xq" * (k + 1), *now[k + 1 :]]
        answers.append(" ".join(now))
    return answers


def test_switching_models_and_back_loses_and_recomputes_nothing(workspace, owner, models):
    curate = workspace.curate
    ids = store(workspace, reworded())
    done(workspace, owner, curate.embed(owner, "answer"))
    by_full = curate.dedup_preview(owner, "answer", 0.9)
    assert (by_full.model, by_full.unembedded) == (FULL, 0)
    assert 0 < by_full.removed < 11
    unsearched = curate.dedup_preview(owner, "answer", 0.9, model="fast")
    assert (unsearched.model, unsearched.removed, unsearched.unembedded) == ("", 0, 12)

    done(workspace, owner, curate.embed(owner, "answer", model="fast"))
    by_fast = curate.dedup_preview(owner, "answer", 0.9, model="fast")
    assert (by_fast.model, by_fast.removed) == (FAST, 11)  # to it they are all the same
    assert curate.dedup_preview(owner, "answer", 0.9) == by_full
    counts = {name: len(model.embedded) for name, model in models.items()}
    assert counts == {FULL: 12, FAST: 12}
    for model in ("full", "fast"):
        result = done(workspace, owner, curate.embed(owner, "answer", model=model))
        assert result["embedded"] == 0
    assert counts == {name: len(model.embedded) for name, model in models.items()}
    assert curate.dedup_preview(owner, "answer", 0.9, model="full") == by_full
    assert curate.dedup_preview(owner, "answer", 0.9, model="fast") == by_fast

    ends = ids[0], ids[-1]
    assert curate.compare(owner, *ends, field="answer", model="full").similarity is None
    assert curate.compare(owner, *ends, field="answer", model="fast").similarity > 0.99


def test_what_is_in_force_names_the_model_everywhere(workspace, owner, models):
    curate = workspace.curate
    ids = store(workspace, reworded())
    done(workspace, owner, curate.embed(owner, "answer"))
    few = len(workspace.review.related(owner, ids[0]).near)
    report = done(workspace, owner, curate.dedup(owner, "answer", 0.9, model="fast"))
    assert (report["settings"]["model"], report["duplicates"]) == (FAST, 11)
    assert curate.state(owner).settings.model == FAST
    assert curate.state(owner).compared == {"answer": 0}
    assert curate.dedup_preview(owner, "answer").model == FAST  # None: as it is in force
    assert curate.settle(owner).changed == 0
    assert len(workspace.review.related(owner, ids[0]).near) > few > 0
    assert workspace.report.dataset(owner).near.model == FAST
    assert "fast static copy" in workspace.report.text(owner)
    saved = workspace.pipelines.save(owner, "Fast", field="answer")
    assert (saved.settings.model, saved.compares) == (FAST, True)
    curate.undo(owner)
    assert curate.state(owner).settings.model == FULL
    result = done(workspace, owner, workspace.pipelines.run(owner, "Fast"))
    assert (result["settings"]["model"], result["duplicates"]) == (FAST, 11)


def test_splits_heed_the_model_in_force_else_what_was_searched(workspace, owner, models):
    curate = workspace.curate
    pairs.insert(
        workspace.db,
        [
            Pair(
                seed_id=f"s{k}",
                messages=(Message(role="user", content=prompt),),
                answer=f"{k}",
                job_id="t",
            )
            for k, prompt in enumerate([RIVERS, reworded()[-1]])
        ],
    )
    ids = [row["id"] for row in workspace.db.rows("SELECT id FROM pairs ORDER BY id")]
    assert len(set(curate.near_groups(ids).values())) == 2
    done(workspace, owner, curate.embed(owner, "prompt", model="fast"))
    assert len(set(curate.near_groups(ids).values())) == 1  # only the fast one has searched
    done(workspace, owner, curate.embed(owner, "prompt"))
    assert len(set(curate.near_groups(ids).values())) == 2


def test_settings_and_pipelines_from_before_the_choice_still_load(workspace, owner):
    old = CurateSettings().model_dump(mode="json")
    del old["model"]
    assert CurateSettings.model_validate(old).model == FULL
    workspace.pipelines.save(owner, "Old")
    file = json.loads(workspace.pipelines.export_text(owner, "Old"))
    del file["settings"]["model"]
    found = workspace.pipelines.import_text(owner, json.dumps(file), "Older")
    assert found.settings.model == FULL
    assert CurateSettings(model="sentence-transformers/all-MiniLM-L6-v2").model == FULL


def test_the_agreement_is_measured_stored_and_shown(workspace, owner, models):
    curate = workspace.curate
    models[FAST] = Letters(FAST, 2)  # sees every other replacement
    store(workspace, reworded())
    with pytest.raises(InvalidInput, match="agrees with itself"):
        curate.model_agreement(owner, "full")
    with pytest.raises(InvalidInput):
        curate.model_agreement(owner, "fast", threshold=0.2)
    assert curate.dedup_preview(owner, "answer", model="fast").agreement is None
    result = done(workspace, owner, curate.model_agreement(owner, "fast", "answer"))
    found = curate.dedup_preview(owner, "answer", model="fast").agreement
    assert found.model_dump(mode="json") == result
    assert (found.units, found.texts, found.pairs, found.threshold) == (12, 12, 66, 0.9)
    answers = reworded()
    full, fast = (
        (models[m].embed(answers) @ models[m].embed(answers).T)[np.triu_indices(12, 1)]
        for m in (FULL, FAST)
    )
    near = full >= 0.9
    assert found.asked.pairs == near.sum() > 5
    assert found.asked.matching == pytest.approx(np.sort(fast)[-near.sum()], abs=1e-5)
    assert 0.5 < found.spearman < 1
    assert curate.dedup_preview(owner, "answer").agreement is None  # of the full model: none
    assert curate.dedup_preview(owner, "prompt", model="fast").agreement is None


def test_a_sample_is_bounded_holds_near_pairs_and_is_the_same_each_time(
    workspace, owner, models, monkeypatch
):
    monkeypatch.setattr(model_agreement_work, "MAX_TEXTS", 24)
    db, curate = workspace.db, workspace.curate
    store(workspace, [*reworded(), *(f"{k * 7919} unlike {k * k}" for k in range(90))])
    done(workspace, owner, curate.embed(owner, "answer"))
    drawn = model_agreement_work.sample(db, [FULL, FAST], "answer")
    assert len({unit["answer_hash"] for unit in drawn}) == len(drawn) == 24
    held = {unit["answer_hash"] for unit in drawn}
    units = {
        row["number"]: row["answer_hash"]
        for row in db.rows("SELECT number, answer_hash FROM dedup_units")
    }
    a, b, _ = embeddings.near_pairs(db, FULL, "answer", 0.8)
    near = list(zip(a.tolist(), b.tolist(), strict=True))
    assert sum(units[i] in held and units[j] in held for i, j in near) >= 6
    before = len(models[FULL].embedded)
    results = [
        done(workspace, owner, curate.model_agreement(owner, "fast", "answer")) for _ in "ab"
    ]
    assert results[0] == results[1]
    assert results[0]["texts"] == 24
    assert len(models[FULL].embedded) == before, "stored vectors are used"


@pytest.fixture
def real(tmp_path, studio):
    """The static copy of the real model, of the tokens that the test's words need."""
    from distill_studio.teachers.models import ModelHost
    from distill_studio.teachers.static_distillation import static_folder

    host = ModelHost(Settings(cache=tmp_path / "cache", device="cpu"))
    full = host.embedder()
    tokens = set(full.tokenizer.encode(RIVERS + " why do ships float? bread is baked").ids)
    static_folder(full, tmp_path / "cache", tokens=sorted({*tokens, *range(1996, 2400)}))
    studio.models.close()
    studio.models = host
    return host


@pytest.mark.models
def test_by_the_real_fast_model_long_answers_equal_in_their_first_part_both_stay(
    workspace, owner, real
):
    start = f"{RIVERS}. " * 25  # more than a window
    assert len(real.embedder("fast").windows(start)) >= 2
    ids = store(
        workspace,
        [
            f"{start} Ships float. " + "Bread is baked. " * 60,
            f"{start} Bread. " + "Why do ships float? " * 60,
            "Ships float. " + RIVERS,
            "ships float.  " + RIVERS.replace("many", "some"),
        ],
    )
    job = workspace.curate.dedup(owner, "answer", 0.9, filters=[], model="fast")
    report = done(workspace, owner, job)
    assert (report["model"], report["duplicates"]) == (FAST, 1)
    kept = {row["id"] for row in workspace.db.rows("SELECT id FROM pairs WHERE curation = 'kept'")}
    assert {ids[0], ids[1]} <= kept
    state = embeddings.search_state(workspace.db, "answer", FAST)
    assert state["dim"] == 256
