"""Suites, trials and their scored answers."""

import json
from collections.abc import Sequence

from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.seed import Message
from distill_studio.core.records.suite import DRAFT, Suite, SuiteAnswer, SuiteItem, Trial
from distill_studio.store.database import Database, Row

_SUITE = """id, name, scorer, source, content_hash, item_count, user_name AS "user", created_at"""
_TRIAL = """id, suite_id, models, sampling, samples, most_items, judge, judge_model, judge_warning,
    rubric, usd_per_hour, user_name AS "user", created_at"""
_ANSWER = """model, number, sample, answer, score, reason, error, kl, loss, judged, is_cut, tokens,
    prompt_tokens, latency_ms"""


def insert(db: Database, suite: Suite, items: Sequence[SuiteItem]) -> None:
    """Store a suite with its items."""
    row = suite.model_dump(exclude={"user", "scorer"})
    row |= {"user_name": suite.user, "scorer": suite.scorer.value}
    with db.write():
        db.insert("suites", [row])
        db.insert(
            "suite_items",
            [
                {
                    "suite_id": suite.id,
                    "number": item.number,
                    "messages": json.dumps(
                        [m.model_dump() for m in item.messages], ensure_ascii=False
                    ),
                    "reference": item.reference,
                    "choices": list(item.choices),
                    "topic": item.topic,
                }
                for item in items
            ],
        )


def all_suites(db: Database) -> list[Suite]:
    """Newest first."""
    return [Suite(**row) for row in db.rows(f"SELECT {_SUITE} FROM suites ORDER BY id DESC")]


def get(db: Database, name_or_id: str) -> Suite | None:
    """The suite of this name or id."""
    row = db.row(f"SELECT {_SUITE} FROM suites WHERE id = ? OR name = ?", [name_or_id] * 2)
    return Suite(**row) if row else None


def items(db: Database, suite_id: str, *, after: int = -1, limit: int = 0) -> list[SuiteItem]:
    """Items in order, those with a number above `after`; all of them for limit 0."""
    rows = db.rows(
        f"""SELECT number, messages, reference, choices, topic FROM suite_items
        WHERE suite_id = ? AND number > ? ORDER BY number {"LIMIT ?" if limit else ""}""",
        [suite_id, after, *([limit] if limit else [])],
    )
    return [_item(row) for row in rows]


def delete(db: Database, suite_id: str) -> None:
    """Forget a suite with its trials and answers."""
    with db.write() as cursor:
        cursor.execute(
            """DELETE FROM suite_answers WHERE trial_id IN
            (SELECT id FROM suite_trials WHERE suite_id = ?)""",
            [suite_id],
        )
        for table, column in (
            ("suite_trials", "suite_id"), ("suite_items", "suite_id"), ("suites", "id"),
        ):  # fmt: skip
            cursor.execute(f"DELETE FROM {table} WHERE {column} = ?", [suite_id])


def add_trial(db: Database, trial: Trial) -> None:
    """Store a new trial."""
    row = trial.model_dump(exclude={"user", "models", "sampling", "rubric"})
    row |= {
        "user_name": trial.user,
        "models": json.dumps([card.model_dump(mode="json") for card in trial.models]),
        "sampling": json.dumps(trial.sampling),
        "rubric": json.dumps(trial.rubric, ensure_ascii=False),
    }
    db.insert("suite_trials", [row])


def set_models(db: Database, trial_id: str, models: Sequence[ModelCard]) -> None:
    """Store what is known of the models now that they are loaded."""
    found = json.dumps([card.model_dump(mode="json") for card in models])
    with db.write() as cursor:
        cursor.execute("UPDATE suite_trials SET models = ? WHERE id = ?", [found, trial_id])


def set_price(db: Database, trial_id: str, usd_per_hour: float | None) -> None:
    """Store what the machine of a trial's local models costs an hour."""
    with db.write() as cursor:
        cursor.execute(
            "UPDATE suite_trials SET usd_per_hour = ? WHERE id = ?", [usd_per_hour, trial_id]
        )


def trial(db: Database, trial_id: str) -> Trial | None:
    """One trial."""
    row = db.row(f"SELECT {_TRIAL} FROM suite_trials WHERE id = ?", [trial_id])
    return _trial(row) if row else None


def trials(db: Database, suite_id: str, limit: int = 50) -> list[Trial]:
    """Trials of a suite, newest first; all of them for limit 0."""
    rows = db.rows(
        f"""SELECT {_TRIAL} FROM suite_trials WHERE suite_id = ? ORDER BY id DESC
        {"LIMIT ?" if limit else ""}""",
        [suite_id, *([limit] if limit else [])],
    )
    return [_trial(row) for row in rows]


def add_answers(db: Database, trial_id: str, answers: Sequence[SuiteAnswer]) -> None:
    """Store answers; a failure gives way to a later answer, an answer stays."""
    keys = [(a.model, a.number, a.sample) for a in answers]
    with db.write() as cursor:
        for key in keys:
            cursor.execute(
                """DELETE FROM suite_answers WHERE trial_id = ? AND model = ? AND number = ?
                AND sample = ? AND error <> ''""",
                [trial_id, *key],
            )
        rows: list[Row] = [{"trial_id": trial_id, **a.model_dump()} for a in answers]
        db.insert("suite_answers", rows, or_ignore=True)


def done(db: Database, trial_id: str, model: str) -> set[tuple[int, int]]:
    """(number, sample) of what a model has answered; failures are not among them."""
    rows = db.rows(
        """SELECT number, sample FROM suite_answers
        WHERE trial_id = ? AND model = ? AND error = ''""",
        [trial_id, model],
    )
    return {(row["number"], row["sample"]) for row in rows}


def of_model(db: Database, trial_id: str, model: str) -> list[SuiteAnswer]:
    """All that one model answered, failures too, in order."""
    rows = db.rows(
        f"""SELECT {_ANSWER} FROM suite_answers WHERE trial_id = ? AND model = ?
        ORDER BY number, sample""",
        [trial_id, model],
    )
    return [SuiteAnswer(**row) for row in rows]


def scores(db: Database, trial_id: str) -> list[Row]:
    """`model`, `number`, `sample`, `score`, `error`, `kl`, `loss`, `is_cut`, `tokens`,
    `prompt_tokens`, `latency_ms`, `topic`, `choices` (how many) of every answer but drafts, in
    order."""
    return db.rows(
        """SELECT a.model, a.number, a.sample, a.score, a.error, a.kl, a.loss, a.is_cut,
        a.tokens, a.prompt_tokens, a.latency_ms, i.topic, len(i.choices) AS choices
        FROM suite_answers a JOIN suite_trials t ON t.id = a.trial_id
        JOIN suite_items i ON i.suite_id = t.suite_id AND i.number = a.number
        WHERE a.trial_id = ? AND a.error <> ? ORDER BY a.model, a.number, a.sample""",
        [trial_id, DRAFT],
    )


def answers(db: Database, trial_id: str, *, after: int = -1, limit: int = 20) -> list[SuiteAnswer]:
    """Answers of the next `limit` prompts after number `after`, in order."""
    rows = db.rows(
        f"""SELECT {_ANSWER} FROM suite_answers WHERE trial_id = $trial AND number IN (
            SELECT DISTINCT number FROM suite_answers WHERE trial_id = $trial AND number > $after
            ORDER BY number LIMIT $limit)
        ORDER BY number, model, sample""",
        {"trial": trial_id, "after": after, "limit": limit},
    )
    return [SuiteAnswer(**row) for row in rows]


def answers_to(db: Database, trial_id: str, numbers: Sequence[int]) -> list[SuiteAnswer]:
    """All answers to some prompts, in order."""
    rows = db.rows(
        f"""SELECT {_ANSWER} FROM suite_answers
        WHERE trial_id = ? AND number IN (SELECT unnest(?::INTEGER[]))
        ORDER BY number, model, sample""",
        [trial_id, list(numbers)],
    )
    return [SuiteAnswer(**row) for row in rows]


def _item(row: Row) -> SuiteItem:
    messages = tuple(Message(**m) for m in json.loads(row["messages"]))
    return SuiteItem(**{**row, "messages": messages, "choices": tuple(row["choices"])})


def _trial(row: Row) -> Trial:
    models = tuple(ModelCard(**card) for card in json.loads(row["models"]))
    decoded = {name: json.loads(row[name]) for name in ("sampling", "rubric")}
    return Trial(**{**row, **decoded, "models": models})
