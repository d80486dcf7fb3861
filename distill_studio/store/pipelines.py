"""Named curation settings."""

import json
from collections.abc import Mapping
from typing import Any

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row


def page(db: Database) -> list[Row]:
    """All of them by name: `name`, `settings`, `compares`, `user`, `changed_at`."""
    rows = db.rows(
        "SELECT name, settings, compares, user_name AS user, changed_at"
        " FROM curation_pipelines ORDER BY lower(name), name"
    )
    return [{**row, "settings": json.loads(row["settings"])} for row in rows]


def save(
    db: Database, user: str, name: str, settings: Mapping[str, Any], *, compares: bool
) -> None:
    """Store settings under a name, in place of what was there."""
    with db.write() as cursor:
        cursor.execute(
            "INSERT OR REPLACE INTO curation_pipelines VALUES (?, ?, ?, ?, ?)",
            [name, json.dumps(settings), compares, user, utc_now()],
        )


def delete(db: Database, name: str) -> None:
    """Forget a name. What was applied under it stays applied."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM curation_pipelines WHERE name = ?", [name])
