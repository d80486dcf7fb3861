"""Prefer: which of two answers is better, blind. Start from `queue` and `vote`.

A comparison is stored, sides and all, before it is shown; a share of them comes back later with
the sides swapped, to measure the voter.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.ids import new_id
from distill_studio.core.records import Outcome, Pair, Preference, Record, Vote
from distill_studio.prefer.blind import BlindTask, Reveal, blind_task, place, reveal
from distill_studio.prefer.consistency import Consistency, consistency
from distill_studio.prefer.pairing import matches
from distill_studio.services.base import Service
from distill_studio.services.review import Refusal, require_same_user
from distill_studio.store import comparisons, pairs
from distill_studio.store import preferences as store
from distill_studio.store.database import Row
from distill_studio.store.preferences import PreferenceQuery

REPEAT_SHARE = 0.05  # of comparisons, shown again with sides swapped
REPEAT_AFTER = 10  # votes in between, so that nobody votes from memory of the last screen
_SEEDS_A_LOOK = 100


class VoteResult(Record):
    """What became of a batch of votes."""

    stored: tuple[str, ...] = Field(description="Ids that are committed, now or earlier.")
    refused: tuple[Refusal, ...] = Field(default=(), description="Ids that never will be.")
    reveals: tuple[Reveal, ...] = Field(default=(), description="Who stood where.")


class UndoableVote(Record):
    """A vote that this user may undo."""

    id: str = Field(description="The vote's id.")
    outcome: Outcome = Field(description="What was voted.")
    task: BlindTask = Field(description="The comparison, for voting again.")


class PreferProgress(Record):
    """Counts of the prefer stage for one user."""

    open: int = Field(description="Comparisons left, about: seeds with two or more candidates.")
    voted: int = Field(description="This user's votes in force, skips included.")
    today: int = Field(description="Of those, since midnight UTC.")
    preferences: int = Field(description="Preferences of everybody, ties included.")
    wins: int = Field(description="Of those, with a winner: rows for DPO.")
    candidates: int = Field(description="Seeds with two or more different answers.")


class PreferService(Service):
    """Prefer: which of two answers is better."""

    word = "prefer"

    def queue(self, actor: Actor, after: str = "", limit: int = 50) -> list[BlindTask]:
        """The next comparisons for this user, blind; the same ones again until voted on.

        Args:
            actor: For whom.
            after: Keyset: only comparisons with a greater id.
            limit: Comparisons at most.
        """
        actor.require(Role.REVIEWER)
        limit = max(1, min(limit, 200))
        with self.db.write():
            tasks = comparisons.open_tasks(self.db, actor.user, limit, after=after)
            if len(tasks) < limit:
                self._make_tasks(actor, limit - len(tasks))
                tasks = comparisons.open_tasks(self.db, actor.user, limit, after=after)
        return self._blind(tasks)

    def vote(self, actor: Actor, votes: list[Vote], for_user: str = "") -> VoteResult:
        """Store votes, once per client id; sending again is safe.

        Raises:
            Conflict: `for_user` (who made them) is not the acting user any more.
        """
        actor.require(Role.REVIEWER)
        require_same_user(actor, for_user)
        stored, refused = store.settle_votes(self.db, actor.user, votes)
        told = {
            v.task_id
            for v in votes
            if v.id in set(stored) and v.outcome not in (Outcome.SKIP, Outcome.UNDO)
        }
        return VoteResult(
            stored=tuple(stored),
            refused=tuple(Refusal(id=i, reason=reason) for i, reason in refused.items()),
            reveals=tuple(self._reveals(actor, sorted(told))),
        )

    def recent(self, actor: Actor, limit: int = 20) -> list[UndoableVote]:
        """What this user could undo, newest first; survives restarts."""
        actor.require(Role.VIEWER)
        rows = store.recent_votes(self.db, actor.user, min(limit, 200))
        tasks = {t.id: t for t in self._blind([{**row, "id": row["task_id"]} for row in rows])}
        return [
            UndoableVote(id=row["id"], outcome=row["outcome"], task=tasks[row["task_id"]])
            for row in rows
            if row["task_id"] in tasks
        ]

    def undo_last(self, actor: Actor) -> UndoableVote | None:
        """Take this user's last vote back; None when there is none."""
        actor.require(Role.REVIEWER)
        with self.db.write():
            last = next(iter(self.recent(actor, limit=1)), None)
            if last is not None:
                undo = Vote(id=new_id(), task_id=last.task.id, outcome=Outcome.UNDO, undoes=last.id)
                store.record_votes(self.db, actor.user, [undo])
        return last

    def page(self, actor: Actor, query: PreferenceQuery) -> list[Preference]:
        """A page of preferences."""
        actor.require(Role.VIEWER)
        return store.page(self.db, query)

    def count(self, actor: Actor, query: PreferenceQuery) -> int:
        """How many preferences match, whatever the page."""
        actor.require(Role.VIEWER)
        return store.count(self.db, query)

    def progress(self, actor: Actor) -> PreferProgress:
        """Counts: comparisons left, voted by this user, preferences of everybody."""
        actor.require(Role.VIEWER)
        mine = store.vote_counts(self.db, actor.user, _midnight())
        everybody = store.counts(self.db)
        seeds = comparisons.seed_counts(self.db, actor.user)
        return PreferProgress(
            open=seeds["open"] + comparisons.count_tasks(self.db, actor.user),
            voted=mine["total"],
            today=mine["today"],
            preferences=everybody["total"],
            wins=everybody["win"],
            candidates=seeds["all"],
        )

    def consistency(self, actor: Actor) -> Consistency:
        """How often this user voted the same when the sides were swapped, and leaned left."""
        actor.require(Role.VIEWER)
        mine = store.vote_counts(self.db, actor.user, _midnight())
        twice = [
            (Outcome(row["first"]), Outcome(row["again"]))
            for row in comparisons.repeat_outcomes(self.db, actor.user)
        ]
        return consistency(twice, mine["left"], mine["right"])

    def _make_tasks(self, actor: Actor, wanted: int) -> None:
        """Store up to `wanted` new comparisons and the repeats that are due."""
        rng = random.SystemRandom()
        rows = self._repeats(actor)
        after = ""
        while len(rows) < wanted:
            candidates = comparisons.free_candidates(self.db, actor.user, after, _SEEDS_A_LOOK)
            if not candidates:
                break
            after = max(p.seed_id for p in candidates)
            for first, second in matches(candidates, rng)[: wanted - len(rows)]:
                left, right = place(first, second, rng)
                rows.append(_task_row(actor, left, right))
        rng.shuffle(rows)
        store.add_tasks(self.db, [{**row, "id": new_id()} for row in rows])

    def _repeats(self, actor: Actor) -> list[Row]:
        votes = store.vote_counts(self.db, actor.user, _midnight())["total"]
        due = round(REPEAT_SHARE * votes) - comparisons.repeat_count(self.db, actor.user)
        if due <= 0:
            return []
        return [
            {
                "seed_id": task["seed_id"],
                "left_pair_id": task["right_pair_id"],
                "right_pair_id": task["left_pair_id"],
                "user_name": actor.user,
                "repeats": task["id"],
            }
            for task in comparisons.repeatable(self.db, actor.user, REPEAT_AFTER, due)
        ]

    def _blind(self, tasks: Sequence[Row]) -> list[BlindTask]:
        found = self._pairs_of(tasks)
        return [
            blind_task(t["id"], found[t["left_pair_id"]], found[t["right_pair_id"]])
            for t in tasks
            if t["left_pair_id"] in found and t["right_pair_id"] in found
        ]

    def _reveals(self, actor: Actor, task_ids: Sequence[str]) -> list[Reveal]:
        tasks = store.tasks(self.db, actor.user, task_ids)
        found = self._pairs_of(tasks)
        return [
            reveal(t["id"], found[t["left_pair_id"]], found[t["right_pair_id"]])
            for t in tasks
            if t["left_pair_id"] in found and t["right_pair_id"] in found
        ]

    def _pairs_of(self, tasks: Sequence[Row]) -> dict[str, Pair]:
        ids = {i for t in tasks for i in (t["left_pair_id"], t["right_pair_id"])}
        return {p.id: p for p in pairs.get(self.db, sorted(ids))}


def _task_row(actor: Actor, left: Pair, right: Pair) -> Row:
    return {
        "seed_id": left.seed_id,
        "left_pair_id": left.id,
        "right_pair_id": right.id,
        "user_name": actor.user,
        "repeats": "",
    }


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
