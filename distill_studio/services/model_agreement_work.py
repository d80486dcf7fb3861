"""Measures how far an embedding model agrees with the full one on a workspace's own texts.

The service calls `measure` from its job. At most 400 texts are read by the full model; its vectors
are kept, so that a stopped job goes on where it was.
"""

from collections.abc import Sequence

from distill_studio.core.errors import InvalidInput
from distill_studio.core.progress import CancelToken, Progress
from distill_studio.core.protocols import Embedder
from distill_studio.curate.dedup.vectors import WindowedVectors
from distill_studio.curate.model_agreement import (
    all_similarities,
    matches,
    same_windows,
    spearman,
)
from distill_studio.curate.reports import DedupField, ModelAgreement
from distill_studio.services import curation_work as work
from distill_studio.store import embeddings, model_agreements
from distill_studio.store.database import Database, Row

MAX_TEXTS = 400
_LEAST_UNITS = 3


def measure(
    db: Database,
    full: Embedder,
    fast: Embedder,
    field: DedupField,
    threshold: float,
    progress: Progress,
    cancel: CancelToken,
) -> ModelAgreement:
    """Compare two models on random texts and near ones; stored, and returned.

    Half of the texts are drawn at random, half are ends of near pairs that either model has found.

    Raises:
        InvalidInput: There are not enough texts.
    """
    work.refresh_hashes(db, cancel)
    units = sample(db, (full.model, fast.model), field)
    texts = model_agreements.texts_of_units(units, field)
    for embedder in (full, fast):
        work.embed_some(db, embedder, texts, progress, cancel)
    known = [_vectors(db, embedder, texts) for embedder in (full, fast)]
    hashes = [_hashes(unit, field) for unit in units]
    # A text that was edited since the sample was drawn has no vectors.
    hashes = [one for one in hashes if all(digest in rows for digest in one for rows in known)]
    if len(hashes) < _LEAST_UNITS:
        raise InvalidInput(
            f"There are {len(hashes)} different texts to compare two models on.",
            f"Import or generate at least {_LEAST_UNITS}.",
        )
    fields = [_fields(hashes, rows) for rows in known]
    similarity = [all_similarities(one) for one in fields]
    both = same_windows(fields[0]) & same_windows(fields[1])
    made = ModelAgreement(
        model=fast.model,
        reference=full.model,
        field=field,
        threshold=threshold,
        units=len(hashes),
        texts=len(texts),
        pairs=len(both),
        spearman=spearman(similarity[0][both], similarity[1][both]),
        matches=matches(similarity[0], similarity[1], threshold),
    )
    model_agreements.save(db, made.model_dump(mode="json"))
    return made


def sample(db: Database, models: Sequence[str], field: DedupField) -> list[Row]:
    """At most `MAX_TEXTS` texts: half at random, half ends of near pairs of the models."""
    most = MAX_TEXTS // len(embeddings.text_sides(field))
    drawn = model_agreements.sample_units(db, field, most)
    near: list[Row] = []
    searched = [m for m in models if embeddings.search_state(db, field, m) is not None]
    for model in searched:
        near += model_agreements.sample_near(db, model, field, most // 4 // len(searched))
    found = {(row["prompt_hash"], row["answer_hash"]): row for row in near}
    for row in drawn:
        if len(found) >= most:
            break
        found.setdefault((row["prompt_hash"], row["answer_hash"]), row)
    return list(found.values())


def stored(db: Database, model: str, field: DedupField) -> ModelAgreement | None:
    """What was measured of a model and field; None if nothing."""
    row = model_agreements.get(db, model, field)
    if row is None:
        return None
    return ModelAgreement(**{name: row[name] for name in ModelAgreement.model_fields})


def _vectors(
    db: Database, embedder: Embedder, texts: Sequence[tuple[str, str, str]]
) -> embeddings.WindowRows:
    hashes = [digest for digest, _, _ in texts]
    return model_agreements.windows_of(db, embedder.model, embedder.dim, hashes)


def _hashes(unit: Row, field: DedupField) -> tuple[str, ...]:
    return tuple(unit[f"{side}_hash"] for side in embeddings.text_sides(field))


def _fields(
    units: Sequence[tuple[str, ...]], rows: embeddings.WindowRows
) -> tuple[WindowedVectors, ...]:
    """A column of texts per side: prompts, answers."""
    return tuple(
        WindowedVectors.of([rows[digest] for digest in column])
        for column in zip(*units, strict=True)
    )
