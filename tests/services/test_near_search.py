"""The near-pair search through the store, where there are too many units to compare all."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from distill_studio.core.errors import Cancelled
from distill_studio.core.progress import CancelToken
from distill_studio.curate.reports import CurateSettings
from distill_studio.services import curation_work
from distill_studio.services.curation_plan import dedup_base, plan_dedup
from distill_studio.services.curation_views import dedup_preview
from distill_studio.store import embeddings
from distill_studio.store.database import Database
from distill_studio.ui.panels.curate_html import dedup_html

UNITS = 400
FLOOR = 0.8


@dataclass
class Model:
    model: str = "m"
    dim: int = 24


@pytest.fixture
def db(tmp_path, monkeypatch):
    monkeypatch.setattr(curation_work, "EXACT_UNITS", 100)
    db = Database(tmp_path / "studio.duckdb")
    yield db
    db.close()


def add(db, start, stop):
    """Couples of a prompt and an answer of one or two windows; each third is a copy."""
    rng = np.random.default_rng(4)
    texts = {"p": rng.standard_normal((UNITS, 2, 24)), "a": rng.standard_normal((UNITS, 2, 24))}
    for side, made in texts.items():
        made[2::3] = made[1:-1:3][: len(made[2::3])] + 0.1 * made[2::3]
        rows = (made / np.linalg.norm(made, axis=2, keepdims=True)).astype(np.float32)
        windows = [1 + (k // 3) % 2 for k in range(start, stop)]
        embeddings.save_vectors(
            db,
            "m",
            [f"{side}{k}" for k in range(start, stop)],
            windows,
            np.concatenate([rows[k][:n] for k, n in zip(range(start, stop), windows, strict=True)]),
        )
    with db.write() as cursor:
        units = pa.table({"n": np.arange(start, stop)})
        cursor.register("incoming", units)
        cursor.execute(
            """INSERT INTO dedup_units
            SELECT 'm', unnest(['both', 'prompt']), n, 'p' || n, 'a' || n FROM incoming"""
        ).fetchall()
        cursor.unregister("incoming")


def find(db, field="both", cancel=None):
    curation_work.find_near(db, Model(), field, FLOOR, cancel=cancel)
    a, b, similarity = embeddings.near_pairs(db, "m", field, 0.0)
    return dict(zip(zip(a.tolist(), b.tolist(), strict=True), similarity.tolist(), strict=True))


@pytest.mark.parametrize("field", ["prompt", "both"])
def test_by_clusters_and_exactly_give_the_same_pairs_and_the_recall_is_stored(
    db, tmp_path, monkeypatch, field
):
    add(db, 0, UNITS)
    found = find(db, field)
    state = embeddings.search_state(db, field, "m")
    assert state["recall_low"] <= state["recall"] <= state["recall_high"]
    assert state["recall_pairs"] == pytest.approx(UNITS / 3, abs=2)  # all of them are judged
    monkeypatch.setattr(curation_work, "EXACT_UNITS", 10**6)
    other = Database(tmp_path / "exact.duckdb")
    add(other, 0, UNITS)
    exact = find(other, field)
    assert embeddings.search_state(other, field, "m")["recall_pairs"] is None
    other.close()
    assert found.items() <= exact.items()
    assert len(found) == round(state["recall"] * len(exact))
    assert state["recall"] >= 0.995


def test_new_units_are_compared_with_stored_ones_and_few_of_them_exactly(db):
    add(db, 0, 300)
    before = find(db)
    add(db, 300, 390)
    more = find(db)
    assert before.items() <= more.items()
    measured = embeddings.search_state(db, "both", "m")
    assert measured["recall_pairs"] == len(more)
    add(db, 390, UNITS)
    assert not curation_work.is_large(UNITS, 390)
    last = find(db)
    assert more.items() < last.items()
    state = embeddings.search_state(db, "both", "m")
    assert state["recall_pairs"] == measured["recall_pairs"]  # what is exact lowers no recall
    assert state["searched_to"] == UNITS


def test_a_stopped_search_goes_on_by_clusters_and_is_measured(db, monkeypatch):
    add(db, 0, UNITS)
    token = CancelToken()
    save = embeddings.save_near_pairs

    def save_and_stop(*args, **kwargs):
        save(*args, **kwargs)
        token.cancel()

    monkeypatch.setattr(embeddings, "save_near_pairs", save_and_stop)
    monkeypatch.setattr("distill_studio.curate.dedup.clustered.ClusteredSearch.BLOCK", 100)
    with pytest.raises(Cancelled):
        find(db, cancel=token)
    monkeypatch.setattr(embeddings, "save_near_pairs", save)
    stopped = embeddings.search_state(db, "both", "m")
    assert (stopped["searched_to"], stopped["recall_pairs"]) == (100, 0)
    assert "Not measured yet" in preview_html(db)
    monkeypatch.setattr(curation_work, "EXACT_UNITS", 10**6)  # the rest alone would be done exactly
    found = find(db)
    state = embeddings.search_state(db, "both", "m")
    assert state["searched_to"] == UNITS
    assert state["recall_pairs"] >= len(found) > 100
    assert "of near pairs (95% interval" in preview_html(db)


def preview_html(db):
    asked = CurateSettings(model="m")
    made = plan_dedup(dedup_base(db, asked), asked)
    return dedup_html(dedup_preview(db, asked, made, (0, 0)))


def test_a_lower_floor_begins_anew_and_forgets_the_recall(db):
    embeddings.begin_search(db, "m", 24, "both", 0.9)
    embeddings.save_recall(db, "m", "both", 0, 0.99, (0.98, 1.0), 500)
    assert embeddings.begin_search(db, "m", 24, "both", 0.95)["recall_pairs"] == 500
    lower = embeddings.begin_search(db, "m", 24, "both", 0.8)
    assert (lower["recall_pairs"], lower["generation"]) == (None, 1)
    assert embeddings.search_state(db, "both", "m")["recall"] == 0.99, "until it has ended"
    embeddings.finish_search(db, "m", "both", 1)
    assert embeddings.search_state(db, "both", "m")["recall"] is None
