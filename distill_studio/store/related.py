"""The rows to look at beside a row: other answers to its prompt, and its near-duplicates."""

from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import Field, search_state, unit_hashes
from distill_studio.store.pairs import IS_ANSWER

_FIELDS: tuple[Field, ...] = ("both", "answer", "prompt")


def is_compared(db: Database, model: str) -> bool:
    """Whether any search for near-duplicates was made with a model."""
    return any(search_state(db, field, model) for field in _FIELDS)


def candidates(db: Database, pair_id: str, limit: int) -> list[str]:
    """Ids of the other answers to the same seed, of any status, oldest first."""
    rows = db.rows(
        f"""SELECT id FROM pairs WHERE seed_id = (SELECT seed_id FROM pairs WHERE id = $id)
        AND id <> $id AND {IS_ANSWER} ORDER BY id LIMIT $limit""",
        {"id": pair_id, "limit": limit},
    )
    return [row["id"] for row in rows]


def near(db: Database, pair_id: str, limit: int, model: str) -> list[Row]:
    """The most alike rows of other seeds that a model has found: `id`, `field`, `similarity`.

    A row that several fields find (prompt, answer, both) is listed once, at its greatest
    similarity.
    """
    best: dict[str, Row] = {}
    for field in _FIELDS:
        for row in _near(db, pair_id, field, model, limit):
            known = best.get(row["id"])
            if known is None or row["similarity"] > known["similarity"]:
                best[row["id"]] = {**row, "field": field}
    return sorted(best.values(), key=lambda row: (-row["similarity"], row["id"]))[:limit]


def _near(db: Database, pair_id: str, field: Field, model: str, limit: int) -> list[Row]:
    prompt, answer = unit_hashes(field)
    return db.rows(
        f"""WITH mine AS (
            SELECT u.number FROM pair_texts t JOIN dedup_units u ON u.model = $model
            AND u.field = $field AND u.prompt_hash = {prompt} AND u.answer_hash = {answer}
            WHERE t.pair_id = $id),
        found AS (
            SELECT number, 1.0::DOUBLE AS similarity FROM mine
            UNION ALL SELECT b, similarity FROM near_pairs_in_force
            WHERE model = $model AND field = $field AND a IN (SELECT number FROM mine)
            UNION ALL SELECT a, similarity FROM near_pairs_in_force
            WHERE model = $model AND field = $field AND b IN (SELECT number FROM mine)),
        units AS (
            SELECT u.prompt_hash, u.answer_hash, f.similarity FROM found f
            JOIN dedup_units u ON u.model = $model AND u.field = $field AND u.number = f.number
            ORDER BY f.similarity DESC LIMIT 200)
        SELECT p.id, max(u.similarity) AS similarity FROM units u
        JOIN pair_texts t ON {prompt} = u.prompt_hash AND {answer} = u.answer_hash
        JOIN pairs p ON p.id = t.pair_id
        WHERE p.id <> $id AND {IS_ANSWER}
        AND p.seed_id <> (SELECT seed_id FROM pairs WHERE id = $id)
        GROUP BY p.id ORDER BY 2 DESC, 1 LIMIT $limit""",
        {"id": pair_id, "model": model, "field": field, "limit": limit},
    )
