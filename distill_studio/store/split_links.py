"""What ties rows together when they are split: seeds, equal prompts, near pairs of the searches."""

from collections.abc import Sequence
from typing import Any

from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import Field, searched_by, unit_hashes


def split_links(
    db: Database, pair_ids: Sequence[str], at_least: float, model: str
) -> tuple[list[Row], list[Row]]:
    """What ties rows together: (`pair_id`, `seed_id`, `prompt_key`) and near (`a_id`, `b_id`).

    Near pairs are those of prompts and of couples among the rows, by `model`; by the one that
    searched last where that one has not, so that a split is not made blindly.
    """
    rows = db.rows(
        """SELECT p.id AS pair_id, p.seed_id, t.prompt_key FROM pairs p
        JOIN pair_texts t ON t.pair_id = p.id WHERE p.id IN (SELECT unnest(?)) ORDER BY p.id""",
        [list(pair_ids)],
    )
    near: list[Row] = []
    fields: tuple[Field, ...] = ("prompt", "both")
    for field in fields:
        used = searched_by(db, field, model)
        if not used:
            continue
        prompt, answer = unit_hashes(field)
        near += db.rows(
            f"""WITH u AS (
                SELECT u.number, min(t.pair_id) AS pair_id, list(t.pair_id) AS ids
                FROM pair_texts t JOIN dedup_units u ON u.model = $model AND u.field = $field
                    AND u.prompt_hash = {prompt} AND u.answer_hash = {answer}
                WHERE t.pair_id IN (SELECT unnest($ids)) GROUP BY 1)
            SELECT x.pair_id AS a_id, y.pair_id AS b_id FROM near_pairs_in_force n
            JOIN u x ON x.number = n.a JOIN u y ON y.number = n.b
            WHERE n.model = $model AND n.field = $field AND n.similarity >= $least
            UNION ALL SELECT pair_id, unnest(ids) FROM u WHERE len(ids) > 1""",
            {
                "model": used,
                "field": field,
                "ids": list(pair_ids),
                "least": at_least,
            },
        )
    return rows, near


def compared_count(db: Database, pair_ids: Sequence[str], model: str) -> int:
    """How many of these rows a search of prompts or of couples has compared; see `split_links`."""
    parts: list[str] = []
    bound: dict[str, Any] = {"ids": list(pair_ids)}
    fields: tuple[Field, ...] = ("prompt", "both")
    for field in fields:
        if used := searched_by(db, field, model):
            prompt, answer = unit_hashes(field)
            parts.append(
                f"""SELECT t.pair_id FROM pair_texts t
                JOIN dedup_units u ON u.model = ${field}_model AND u.field = '{field}'
                    AND u.prompt_hash = {prompt} AND u.answer_hash = {answer}
                JOIN near_searches_in_force s ON s.model = u.model AND s.field = u.field
                    AND u.number < s.searched_to
                WHERE t.pair_id IN (SELECT unnest($ids))"""
            )
            bound[f"{field}_model"] = used
    if not parts:
        return 0
    return int(db.value(f"SELECT count(*) FROM ({' UNION '.join(parts)})", bound))
