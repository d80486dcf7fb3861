"""Texts of recipes as people changed them: append-only, the newest of a recipe is in force."""

import json

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row


def save(db: Database, recipe: str, version: str, texts: dict[str, str], user: str) -> None:
    """Put texts in force; {} brings the shipped ones back."""
    db.insert(
        "recipe_texts",
        [
            {
                "id": new_id(),
                "recipe": recipe,
                "version": version,
                "texts": json.dumps(texts, ensure_ascii=False),
                "user_name": user,
                "created_at": utc_now(),
            }
        ],
    )


def in_force(db: Database, recipe: str) -> dict[str, str]:
    """Name of the text -> the text, where it was changed."""
    newest = next(iter(history(db, recipe, 1)), None)
    return dict(newest["texts"]) if newest else {}


def history(db: Database, recipe: str, limit: int = 50) -> list[Row]:
    """`version`, `texts`, `user_name`, `created_at` of the changes, newest first."""
    rows = db.rows(
        "SELECT version, texts, user_name, created_at FROM recipe_texts"
        " WHERE recipe = ? ORDER BY id DESC LIMIT ?",
        [recipe, limit],
    )
    return [{**row, "texts": json.loads(row["texts"])} for row in rows]
