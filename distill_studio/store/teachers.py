"""Teacher configurations. Keys are never stored."""

import json

from distill_studio.core.records import TeacherConfig
from distill_studio.store.database import Database


def save(db: Database, teacher: TeacherConfig) -> None:
    """Insert, or replace the one of the same name."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM teachers WHERE name = ?", [teacher.name]).fetchall()
        db.insert(
            "teachers",
            [
                {
                    "id": teacher.id,
                    "name": teacher.name,
                    "config": teacher.model_dump_json(),
                    "created_at": teacher.created_at,
                }
            ],
        )


def everyone(db: Database) -> list[TeacherConfig]:
    """All teachers, by name."""
    rows = db.rows("SELECT config FROM teachers ORDER BY name")
    return [TeacherConfig(**json.loads(row["config"])) for row in rows]


def mean_completion_tokens(db: Database, name: str) -> float | None:
    """Tokens of the teacher's answers so far, on average; None without any."""
    mean = db.value("SELECT avg(completion_tokens) FROM pairs WHERE teacher = ?", [name])
    return None if mean is None else float(mean)


def delete(db: Database, name: str) -> None:
    """Forget a teacher; its pairs stay."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM teachers WHERE name = ?", [name]).fetchall()
