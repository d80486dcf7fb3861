"""Plans: one row per list of trainings."""

import json

from distill_studio.core.records import Plan
from distill_studio.store.database import Database, Row

_COLUMNS = """id, name, kind, specs, grid, job_id, user_name AS "user", created_at"""


def insert(db: Database, plan: Plan) -> None:
    """Store a new plan."""
    row = plan.model_dump(exclude={"user", "specs", "grid", "kind"})
    row |= {
        "user_name": plan.user,
        "kind": plan.kind.value,
        "specs": json.dumps(plan.specs),
        "grid": json.dumps(plan.grid),
    }
    db.insert("plans", [row])


def set_job(db: Database, name: str, job_id: str) -> None:
    """Name the job that runs a plan."""
    with db.write() as cursor:
        cursor.execute("UPDATE plans SET job_id = ? WHERE name = ?", [job_id, name]).fetchall()


def get(db: Database, name: str) -> Plan | None:
    """The plan of that name."""
    row = db.row(f"SELECT {_COLUMNS} FROM plans WHERE name = ?", [name])
    return _from_row(row) if row else None


def page(db: Database, *, after: str = "", limit: int = 50) -> list[Plan]:
    """Newest first, from the id `after` on."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM plans WHERE ? = '' OR id < ? ORDER BY id DESC LIMIT ?",
        [after, after, limit],
    )
    return [_from_row(row) for row in rows]


def delete(db: Database, name: str) -> None:
    """Forget a plan; its runs stay."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM plans WHERE name = ?", [name]).fetchall()


def _from_row(row: Row) -> Plan:
    decoded = {"specs": json.loads(row["specs"]), "grid": json.loads(row["grid"])}
    return Plan(**{**row, **decoded})
