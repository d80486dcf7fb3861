"""Votes on comparisons and the preferences that follow from them.

A comparison (which pair stood on which side, for whom) is stored before it is shown. Votes are
append-only, stored once per (user, client id); `record_votes` keeps the rows of `preferences` in
step with the votes in force in the same transaction. Judges, rules and imports use `insert`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records import Outcome, Preference, Record, Vote
from distill_studio.core.records.base import utc_now
from distill_studio.store.client_values import plausible_time
from distill_studio.store.database import Database, Row

_COLUMNS = """id, seed_id, chosen_pair_id, rejected_pair_id, outcome, strength, user_name AS "user",
source, vote_id, coalesce(is_final, false) AS is_final, created_at"""
# A judge's votes on models rank them; nobody asked for them as data to train on.
RANKS_ONLY = "{p}.id IN (SELECT preference_id FROM arena_verdicts)"


class PreferenceQuery(Record):
    """Which preferences. Empty fields do not restrict."""

    outcome: str = Field(default="", description="win, tie or both_bad.")
    source: str = Field(default="", description="person, arena, judge, rule or import.")
    user: str = Field(default="", description="Who voted.")
    seed_id: str = Field(default="", description="For this prompt.")
    after: str = Field(default="", description="Keyset: only ids after this one.")
    newest_first: bool = Field(default=False, description="Descending; `after` then means before.")
    limit: int = Field(default=50, ge=1, le=10_000, description="Rows at most.")


def insert(db: Database, preferences: Sequence[Preference]) -> int:
    """Store preferences; one whose id is there already is left as it is. Returns how many new."""
    rows = [
        {**p.model_dump(exclude={"user"}), "user_name": p.user}
        for p in {p.id: p for p in preferences}.values()
    ]
    with db.write():
        before = db.value("SELECT count(*) FROM preferences")
        db.insert("preferences", rows, or_ignore=True)
        return int(db.value("SELECT count(*) FROM preferences") - before)


def get(db: Database, preference_id: str) -> Preference | None:
    """The preference of that id."""
    row = db.row(f"SELECT {_COLUMNS} FROM preferences WHERE id = ?", [preference_id])
    return Preference(**row) if row else None


def page(db: Database, query: PreferenceQuery) -> list[Preference]:
    """The preferences of one page, oldest first unless `newest_first`."""
    where, params = _where(query)
    order = "DESC" if query.newest_first else "ASC"
    if query.after:
        where += f" AND id {'<' if query.newest_first else '>'} ?"
        params.append(query.after)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM preferences WHERE {where} ORDER BY id {order} LIMIT ?",
        [*params, query.limit],
    )
    return [Preference(**row) for row in rows]


def count(db: Database, query: PreferenceQuery) -> int:
    """How many preferences match, whatever the page."""
    where, params = _where(query)
    return int(db.value(f"SELECT count(*) FROM preferences WHERE {where}", params))


def counts(db: Database) -> Row:
    """`total`, `win`, `tie`, `both_bad`, and `usable`: wins whose both pairs may be trained on.

    A judge's votes on models (the arena) are not among them.
    """
    return (
        db.row(
            f"""SELECT count(*) AS total,
            count(*) FILTER (outcome = 'win') AS win,
            count(*) FILTER (outcome = 'tie') AS tie,
            count(*) FILTER (outcome = 'both_bad') AS both_bad,
            count(*) FILTER (outcome = 'win' AND chosen_pair_id IN (
                SELECT id FROM pairs WHERE status <> 'rejected' AND curation = 'kept'
            )) AS usable
            FROM preferences WHERE NOT {RANKS_ONLY.format(p="preferences")}"""
        )
        or {}
    )


def add_tasks(db: Database, rows: Sequence[Row]) -> None:
    """Store comparisons before they are shown.

    Each row has `id`, `seed_id`, `left_pair_id`, `right_pair_id`, `user_name`; and may have
    `source` (person), `repeats` (the task shown before with the sides the other way round),
    `is_final` (an adjudicator's), `pair_ids` (of a ranking, in the order shown: the first two are
    its left and right) and `created_at`.
    """
    filled = [
        {
            "id": row["id"],
            "seed_id": row["seed_id"],
            "left_pair_id": row["left_pair_id"],
            "right_pair_id": row["right_pair_id"],
            "user_name": row["user_name"],
            "source": row.get("source", "person"),
            "repeats": row.get("repeats", ""),
            "is_final": row.get("is_final", False),
            "pair_ids": row.get("pair_ids", []),
            "created_at": row.get("created_at") or utc_now(),
        }
        for row in rows
    ]
    db.insert("comparison_tasks", filled, or_ignore=True)


def record_votes(
    db: Database, user: str, votes: Sequence[Vote], *, names_shown: bool = False
) -> list[str]:
    """Store votes in their order and bring `preferences` in line, in one transaction.

    A vote whose (user, id) is there already is left as it was first stored.

    Args:
        db: The store.
        user: Who votes.
        votes: In their order.
        names_shown: The voter saw who wrote which answer, so that none of these is blind.

    Returns:
        The ids that are now stored, earlier or by this call; the others were refused.
    """
    return settle_votes(db, user, votes, names_shown=names_shown)[0]


def settle_votes(
    db: Database, user: str, votes: Sequence[Vote], *, names_shown: bool = False
) -> tuple[list[str], dict[str, str]]:
    """As `record_votes`; returns the stored ids, and the refused ones with the reason.

    Refused for good are: a comparison that was made for somebody else or does not exist, an undo
    of something that is not this user's or is about another comparison, ranks that do not fit the
    number of answers.
    """
    with db.write():
        there = _stored_votes(db, user, [i for v in votes for i in (v.id, v.undoes) if i])
        shown = {t["id"]: len(t["pair_ids"]) for t in tasks(db, user, [v.task_id for v in votes])}
        fresh: dict[str, Vote] = {}
        refused: dict[str, str] = {}
        undoable = dict(there)
        for v in votes:
            if v.id in there or v.id in fresh or v.id in refused:
                continue
            reason = _refusal(v, shown, undoable)
            if reason:
                refused[v.id] = reason
            else:
                fresh[v.id] = v
                undoable[v.id] = v.task_id
        _append(db, user, list(fresh.values()), names_shown)
        bring_in_line(db, user, (v.task_id for v in fresh.values()))
    return [v.id for v in votes if v.id not in refused], refused


def bring_in_line(db: Database, user: str, task_ids: Iterable[str]) -> None:
    """Make this user's preferences of these tasks equal to what the votes in force say."""
    tasks = list(dict.fromkeys(task_ids))
    if not tasks:
        return
    with db.write() as cursor:
        cursor.execute(
            """DELETE FROM preferences WHERE user_name = ? AND vote_id IN (
                SELECT id FROM votes
                WHERE user_name = ? AND task_id IN (SELECT unnest(?::VARCHAR[])))""",
            [user, user, tasks],
        ).fetchall()
        votes = db.rows(
            """SELECT id, seed_id, left_pair_id, right_pair_id, outcome, strength, source,
            is_final, made_at FROM votes_in_force
            WHERE user_name = ? AND repeats = '' AND outcome <> 'skip'
              AND task_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY seq""",
            [user, tasks],
        )
        insert(db, [_preference(user, vote) for vote in votes])


def out_of_step(db: Database) -> list[str]:
    """Vote ids whose preference is missing, left over or different (should be none)."""
    rows = db.rows(
        """WITH said AS (
            SELECT user_name, id AS vote_id, seed_id,
                CASE outcome WHEN 'right' THEN right_pair_id ELSE left_pair_id END AS chosen,
                CASE outcome WHEN 'right' THEN left_pair_id ELSE right_pair_id END AS rejected,
                CASE WHEN outcome IN ('left', 'right') THEN 'win' ELSE outcome END AS outcome,
                strength, source
            FROM votes_in_force WHERE repeats = '' AND outcome <> 'skip'),
        kept AS (
            SELECT user_name, vote_id, seed_id, chosen_pair_id, rejected_pair_id, outcome, strength,
                source FROM preferences WHERE vote_id <> '')
        (SELECT vote_id FROM (SELECT * FROM said EXCEPT ALL SELECT * FROM kept))
        UNION ALL (SELECT vote_id FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM said))
        ORDER BY vote_id"""
    )
    return [r["vote_id"] for r in rows]


def vote_counts(db: Database, user: str, since: datetime) -> Row:
    """This user's votes in force on comparisons of people.

    `total`, `today`, and of those `rankings`; of two answers, wins of the `left` and the `right`.
    """
    return (
        db.row(
            """SELECT count(DISTINCT task_id) AS total,
            count(DISTINCT task_id) FILTER (made_at >= $since) AS today,
            count(DISTINCT task_id) FILTER (is_ranking) AS rankings,
            count(*) FILTER (outcome = 'left' AND NOT is_ranking) AS "left",
            count(*) FILTER (outcome = 'right' AND NOT is_ranking) AS "right"
            FROM votes_in_force WHERE user_name = $user AND source = 'person'""",
            {"user": user, "since": since},
        )
        or {}
    )


def recent_votes(db: Database, user: str, limit: int, source: str = "person") -> list[Row]:
    """What this user could undo, newest first: `id`, `outcome`, `ranks` and the task's columns.

    Every vote that is not taken back, so a task comes as often as it was voted on. `before` is the
    vote on it that is in force again once this one is undone (`outcome`, `ranks`, `strength`,
    `reason`), or None.
    """
    return db.rows(
        """WITH standing AS (
            SELECT v.*, lag({'outcome': outcome, 'ranks': ranks, 'strength': strength,
                             'reason': reason}) OVER (PARTITION BY task_id ORDER BY seq) AS before
            FROM votes v ANTI JOIN votes_taken_back b USING (user_name, id)
            WHERE v.user_name = ? AND v.outcome <> 'undo'
        )
        SELECT v.id, v.task_id, v.outcome, v.ranks, v.before, t.seed_id, t.left_pair_id,
        t.right_pair_id, t.pair_ids
        FROM standing v JOIN comparison_tasks t ON t.id = v.task_id
        WHERE t.source = ? ORDER BY v.seq DESC LIMIT ?""",
        [user, source, limit],
    )


def standing_votes(db: Database, user: str, task_ids: Sequence[str]) -> list[Row]:
    """This user's votes on these comparisons that are not taken back: `id`, `task_id`."""
    return db.rows(
        """SELECT v.id, v.task_id FROM votes v ANTI JOIN votes_taken_back b USING (user_name, id)
        WHERE v.user_name = ? AND v.outcome <> 'undo'
          AND v.task_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY v.seq""",
        [user, list(task_ids)],
    )


def tasks(db: Database, user: str, task_ids: Sequence[str]) -> list[Row]:
    """These comparisons, as far as they were made for this user."""
    return db.rows(
        """SELECT id, seed_id, left_pair_id, right_pair_id, pair_ids, source,
        coalesce(repeats, '') AS repeats, coalesce(is_final, false) AS is_final, created_at
        FROM comparison_tasks
        WHERE user_name = ? AND id IN (SELECT unnest(?::VARCHAR[])) ORDER BY id""",
        [user, list(task_ids)],
    )


def _refusal(v: Vote, shown: dict[str, int], undoable: dict[str, str]) -> str:
    """Why this vote can never be stored, or ''. `shown`: answers to rank by task; 0 for two."""
    if v.task_id not in shown:
        return "This comparison was not shown to you in this workspace."
    if v.ranks and not shown[v.task_id]:
        return "Two answers are compared here: say left, right, tie or both_bad."
    if v.ranks and len(v.ranks) != shown[v.task_id]:
        return f"{shown[v.task_id]} answers are ranked here, and {len(v.ranks)} ranks were sent."
    if shown[v.task_id] and v.outcome in (Outcome.LEFT, Outcome.RIGHT, Outcome.TIE):
        return f"{shown[v.task_id]} answers are ranked here: send the outcome 'rank' with ranks."
    if v.outcome is Outcome.UNDO and undoable.get(v.undoes or "") != v.task_id:
        return "It undoes a vote that is not yours or not stored."
    return ""


def _preference(user: str, vote: Row) -> Preference:
    left, right = vote["left_pair_id"], vote["right_pair_id"]
    is_right = vote["outcome"] == Outcome.RIGHT
    is_win = vote["outcome"] in (Outcome.LEFT, Outcome.RIGHT)
    return Preference(
        id=new_id(),
        seed_id=vote["seed_id"],
        chosen_pair_id=right if is_right else left,
        rejected_pair_id=left if is_right else right,
        outcome="win" if is_win else vote["outcome"],
        strength=vote["strength"],
        user=user,
        source=vote["source"],
        vote_id=vote["id"],
        is_final=vote["is_final"],
        created_at=vote["made_at"],
    )


def fill_blindness(db: Database) -> None:
    """Derive whether votes were blind where that was not recorded with them (older versions)."""
    with db.write() as cursor:
        cursor.execute(
            """UPDATE votes SET is_blind = b.is_blind FROM votes_blindness b
            WHERE b.user_name = votes.user_name AND b.id = votes.id AND votes.is_blind IS NULL"""
        ).fetchall()


def _append(db: Database, user: str, votes: Sequence[Vote], names_shown: bool) -> None:
    if not votes:
        return
    blind = _blind_ones(db, user, votes, names_shown)
    numbers = db.rows("SELECT nextval('vote_order') AS seq FROM range(?)", [len(votes)])
    numbered = zip(sorted(r["seq"] for r in numbers), votes, strict=True)
    db.insert(
        "votes",
        [
            {
                "seq": seq,
                "user_name": user,
                **v.model_dump(exclude={"outcome", "made_at", "ranks", "receipt"}),
                "outcome": v.outcome.value,
                "ranks": list(v.ranks),
                "made_at": plausible_time(v.made_at),
                "is_blind": v.id in blind,
            }
            for seq, v in numbered
        ],
    )


def _blind_ones(db: Database, user: str, votes: Sequence[Vote], names_shown: bool) -> set[str]:
    """Ids of the votes that are blind.

    Names are told after the first vote on a comparison. What says the same once more (how clearly,
    or why) stays as blind as that was; what says otherwise is not blind, taken back or not.
    """
    said: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
    for row in db.rows(
        """SELECT task_id, outcome, ranks, is_blind FROM votes
        WHERE user_name = ? AND task_id IN (SELECT unnest(?::VARCHAR[]))
          AND outcome NOT IN ('skip', 'undo')""",
        [user, [v.task_id for v in votes]],
    ):
        one = (row["outcome"], tuple(row["ranks"]), row["is_blind"])
        said.setdefault(row["task_id"], []).append(one)
    blind: set[str] = set()
    for v in votes:
        if v.outcome in (Outcome.SKIP, Outcome.UNDO):
            blind |= set() if names_shown else {v.id}
            continue
        earlier, say = said.setdefault(v.task_id, []), (v.outcome.value, v.ranks)
        is_blind = not names_shown and all(one == (*say, True) for one in earlier)
        blind |= {v.id} if is_blind else set()
        earlier.append((*say, is_blind))
    return blind


def _stored_votes(db: Database, user: str, ids: Sequence[str]) -> dict[str, str]:
    rows = db.rows(
        "SELECT id, task_id FROM votes WHERE user_name = ? AND id IN (SELECT unnest(?::VARCHAR[]))",
        [user, list(ids)],
    )
    return {r["id"]: r["task_id"] for r in rows}


def _where(query: PreferenceQuery) -> tuple[str, list[str]]:
    tests, params = ["true"], []
    for column, value in (
        ("outcome", query.outcome),
        ("source", query.source),
        ("user_name", query.user),
        ("seed_id", query.seed_id),
    ):
        if value:
            tests.append(f"{column} = ?")
            params.append(value)
    return " AND ".join(tests), params
