"""Settings of labelling and its guidelines: append-only, the newest is in force."""

import json

from distill_studio.core.records.base import utc_now
from distill_studio.core.records.labelling import Guidelines, LabellingSettings
from distill_studio.store.database import Database

_GUIDELINES = 'SELECT version, text, user_name AS "user", changed_at FROM guidelines'


def settings(db: Database) -> LabellingSettings:
    """The settings in force; the defaults when none were set."""
    stored = db.value("SELECT settings FROM labelling_settings ORDER BY seq DESC LIMIT 1")
    return LabellingSettings(**json.loads(stored)) if stored else LabellingSettings()


def save_settings(db: Database, user: str, changed: LabellingSettings) -> None:
    """Put new settings in force. The caller brings the pairs in line (`decisions.rebuild`)."""
    row = {
        "overlap": changed.overlap,
        "settings": changed.model_dump_json(),
        "user_name": user,
        "changed_at": utc_now(),
    }
    db.insert("labelling_settings", [row])


def reopened_by(db: Database, overlap: int) -> int:
    """How many decided pairs would have too few votes, or a tie, with this overlap."""
    return int(
        db.value(
            """SELECT count(*) FROM pairs p LEFT JOIN review_tallies t ON t.pair_id = p.id
            WHERE p.status <> 'pending' AND $overlap > 1
              AND (coalesce(t.votes, 0) < $overlap OR 2 * t.noes = t.votes)
              AND p.id NOT IN (
                SELECT d.pair_id FROM decisions d ANTI JOIN decisions_taken_back b
                    ON b.user_name = d.user_name AND b.id = d.id
                WHERE d.is_final AND d.kind IN ('accept', 'edit', 'reject'))""",
            {"overlap": overlap},
        )
    )


def guidelines(db: Database, version: int = 0) -> Guidelines:
    """One version, or the newest for 0; an empty one when there is none."""
    row = db.row(f"{_GUIDELINES} WHERE ? IN (0, version) ORDER BY version DESC LIMIT 1", [version])
    return Guidelines(**row) if row else Guidelines()


def guideline_versions(db: Database) -> list[Guidelines]:
    """All versions, newest first."""
    return [Guidelines(**row) for row in db.rows(f"{_GUIDELINES} ORDER BY version DESC")]


def save_guidelines(db: Database, user: str, text: str) -> Guidelines:
    """Store a new version, unless the newest says the same."""
    with db.write():
        newest = guidelines(db)
        if newest.text != text:
            row = {
                "version": newest.version + 1,
                "text": text,
                "user_name": user,
                "changed_at": utc_now(),
            }
            db.insert("guidelines", [row])
        return guidelines(db)
