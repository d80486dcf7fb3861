"""Prefer: which of two answers is better, or of several in what order, blind.

Start from `queue` (two answers), `rank_queue` (three or more) and `vote`. Which comparisons there
are is decided in `prefer_making.py` and `prefer_ranking.py`.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed
from distill_studio.core.ids import new_id
from distill_studio.core.records import Outcome, Pair, Preference, Record, Vote
from distill_studio.core.records.backup import BackupPoint
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.labelling import Portion
from distill_studio.prefer.blind import BlindTask, Reveal, blind_task, reveal
from distill_studio.prefer.consistency import Consistency, consistency
from distill_studio.prefer.ranking import RankReveal, RankTask, rank_reveal, rank_task
from distill_studio.services import receipts
from distill_studio.services.base import Service
from distill_studio.services.prefer_making import ComparisonMaker, Order
from distill_studio.services.prefer_ranking import RankingMaker, RankOrder
from distill_studio.services.review import Refusal, require_same_user
from distill_studio.store import comparisons, leases, pairs, rankings
from distill_studio.store import preferences as store
from distill_studio.store.database import Row
from distill_studio.store.preferences import PreferenceQuery

_MOST_RENEWED = 500


class VoteResult(Record):
    """What became of a batch of votes."""

    stored: tuple[str, ...] = Field(description="Ids that are committed, now or earlier.")
    refused: tuple[Refusal, ...] = Field(default=(), description="Ids that never will be.")
    reveals: tuple[Reveal, ...] = Field(default=(), description="Who stood where.")
    ranked: tuple[RankReveal, ...] = Field(default=(), description="The same of rankings.")
    backup: BackupPoint | None = Field(
        default=None, description="How far the backup is; None where there is none."
    )
    receipts: dict[str, str] = Field(
        default={},
        description="With a backup, by vote: what to send along should it be sent again.",
    )


class EarlierVote(Record):
    """A vote that is in force again once the newer one is undone."""

    outcome: Outcome = Field(description="What was voted.")
    ranks: tuple[int, ...] = Field(default=(), description="Of a ranking, in the order shown.")
    strength: int | None = Field(default=None, description="How clearly, 1 to 3.")
    reason: str = Field(default="", description="Why.")


class UndoableVote(Record):
    """A vote that this user may undo."""

    id: str = Field(description="The vote's id.")
    outcome: Outcome = Field(description="What was voted.")
    ranks: tuple[int, ...] = Field(default=(), description="Of a ranking, in the order shown.")
    before: EarlierVote | None = Field(
        default=None, description="The vote that holds after the undo; None: no vote."
    )
    task: BlindTask | RankTask = Field(description="The comparison, for voting again.")


class PreferProgress(Record):
    """Counts of the prefer stage for one user."""

    open: int = Field(description="Comparisons left, about: seeds with two or more candidates.")
    rankings: int = Field(default=0, description="Rankings left, about: three or more of a seed.")
    voted: int = Field(description="This user's votes in force, skips included.")
    today: int = Field(description="Of those, since midnight UTC.")
    preferences: int = Field(description="Preferences of everybody, ties included.")
    wins: int = Field(description="Of those, with a winner.")
    disputed: int = Field(default=0, description="Comparisons whose voters are even.")
    candidates: int = Field(description="Seeds with two or more different answers.")
    rankable: int = Field(default=0, description="Seeds with three or more different answers.")


class PreferService(Service):
    """Prefer: which answer is better, of two or of several."""

    word = "prefer"

    def queue(
        self,
        actor: Actor,
        after: str = "",
        limit: int = 50,
        fresh: bool = False,
        order: Order = "",
    ) -> list[BlindTask]:
        """The next comparisons for this user, blind; the same ones again until voted on.

        They are leased to this person for some minutes.

        Args:
            actor: For whom.
            after: Keyset: only comparisons with a greater id.
            limit: Comparisons at most.
            fresh: The page holds nothing else: give back what it held before.
            order: Which comparisons are made next, where those made before are not enough: '' the
                oldest, `random`, `informative` (those that tell most about which of the models
                are stronger), or `disagreement` (where several votes are asked for: those whose
                votes so far differ, then those where no person says what a judge does). What was
                made before comes first.
        """
        actor.require(Role.REVIEWER)
        portion, now = self.workspace.labelling.portion_of(actor.user), utc_now()
        tasks = self._handed_out(
            actor,
            max(1, min(limit, 200)),
            fresh,
            now,
            lambda most: self._open_tasks(portion, after, most, now),
            lambda missing: ComparisonMaker(self.db, actor.user, now).make(portion, missing, order),
        )
        return self._blind(tasks)

    def rank_queue(
        self,
        actor: Actor,
        after: str = "",
        limit: int = 20,
        fresh: bool = False,
        order: RankOrder = "",
    ) -> list[RankTask]:
        """The next rankings for this user, blind: three to six answers to one prompt each.

        As `queue`: leased, and the same ones again until voted on. `vote` with the outcome `rank`
        and `ranks` says of every two of the answers which is better. What was compared in twos is
        not ranked again, nor the other way round.

        Args:
            actor: For whom.
            after: Keyset: only rankings with a greater id.
            limit: Rankings at most.
            fresh: The page holds nothing else: give back what it held before.
            order: Of which prompts new ones are made first: '' the oldest, or `random`.
        """
        actor.require(Role.REVIEWER)
        portion, now = self.workspace.labelling.portion_of(actor.user), utc_now()
        tasks = self._handed_out(
            actor,
            max(1, min(limit, 100)),
            fresh,
            now,
            lambda most: self._open_rankings(portion, after, most, now),
            lambda missing: RankingMaker(self.db, actor.user, now).make(portion, missing, order),
        )
        return self._blind_rankings(tasks)

    def renew(self, actor: Actor, ids: tuple[str, ...]) -> list[str]:
        """Prolong the leases of a page; returns the ids that it may forget: others did them."""
        actor.require(Role.REVIEWER)
        portion, now = self.workspace.labelling.portion_of(actor.user), utc_now()
        with self.db.write():
            tasks = [
                *self._open_tasks(portion, "", _MOST_RENEWED, now),
                *self._open_tasks(portion, "", _MOST_RENEWED, now, is_final=True),
                *self._open_rankings(portion, "", _MOST_RENEWED, now),
            ]
            kept = {t["id"] for t in tasks} & set(ids)
            until = self.workspace.labelling.lease_until()
            leases.take(self.db, leases.PREFER, actor.user, sorted(kept), until)
        return [i for i in ids if i not in kept]

    def ties(self, actor: Actor, after: str = "", limit: int = 50) -> list[BlindTask]:
        """Comparisons whose voters are even, for an adjudicator; that vote settles them.

        Raises:
            NotAllowed: Not an owner, and not named as adjudicator.
        """
        actor.require(Role.REVIEWER)
        if not self.workspace.labelling.can_settle(actor):
            raise NotAllowed("Only an owner or an adjudicator settles ties.")
        portion, now = self.workspace.labelling.portion_of(actor.user), utc_now()
        limit = max(1, min(limit, 200))
        with self.db.write():
            new = comparisons.disputed(self.db, actor.user, limit)
            ComparisonMaker(self.db, actor.user, now).compare(new, is_final=True)
            tasks = self._open_tasks(portion, after, limit, now, is_final=True)
        return self._blind(tasks)

    def vote(self, actor: Actor, votes: list[Vote], for_user: str = "") -> VoteResult:
        """Store votes, once per client id; sending again is safe.

        Raises:
            Conflict: `for_user` (who made them) is not the acting user any more.
        """
        actor.require(Role.REVIEWER)
        require_same_user(actor, for_user)
        key = self.workspace.studio.backups.seal_key()
        with self.db.write():
            if key:
                receipts.store_missing(self.db, key, actor.user, votes)
            stored, refused = store.settle_votes(self.db, actor.user, votes)
            last = {v.task_id: v.outcome for v in votes if v.id not in refused}
            undone = [i for i, outcome in last.items() if outcome is Outcome.UNDO]
            leases.release(self.db, leases.PREFER, actor.user, list(last))
            until = self.workspace.labelling.lease_until()
            leases.take(self.db, leases.PREFER, actor.user, undone, until)
        told = {
            v.task_id
            for v in votes
            if v.id in set(stored) and v.outcome not in (Outcome.SKIP, Outcome.UNDO)
        }
        voted = store.tasks(self.db, actor.user, sorted(told))
        return VoteResult(
            stored=tuple(stored),
            refused=tuple(Refusal(id=i, reason=reason) for i, reason in refused.items()),
            reveals=tuple(self._reveals([t for t in voted if not t["pair_ids"]])),
            ranked=tuple(
                rank_reveal(t["id"], answers)
                for t, answers in self._ranked([t for t in voted if t["pair_ids"]])
            ),
            backup=self.workspace.studio.backups.point(),
            receipts=receipts.receipts(
                self.db, key, actor.user, [v for v in votes if v.task_id in told]
            )
            if key
            else {},
        )

    def recent(self, actor: Actor, limit: int = 20) -> list[UndoableVote]:
        """What this user could undo, newest first, and what holds then; survives restarts."""
        actor.require(Role.VIEWER)
        rows = store.recent_votes(self.db, actor.user, min(limit, 200))
        shown = [{**row, "id": row["task_id"]} for row in rows]
        tasks: dict[str, BlindTask | RankTask] = {
            t.id: t for t in self._blind([row for row in shown if not row["pair_ids"]])
        }
        tasks |= {t.id: t for t in self._blind_rankings([r for r in shown if r["pair_ids"]])}
        return [
            UndoableVote(
                id=row["id"],
                outcome=row["outcome"],
                ranks=row["ranks"],
                before=row["before"],
                task=tasks[row["task_id"]],
            )
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
        """A page of preferences; a reviewer from whom others' are kept gets their own alone."""
        actor.require(Role.VIEWER)
        return store.page(self.db, self.workspace.labelling.visible(actor, query))

    def count(self, actor: Actor, query: PreferenceQuery) -> int:
        """How many preferences match, whatever the page."""
        actor.require(Role.VIEWER)
        return store.count(self.db, self.workspace.labelling.visible(actor, query))

    def progress(self, actor: Actor) -> PreferProgress:
        """Counts: comparisons left, voted by this user, preferences of everybody."""
        actor.require(Role.VIEWER)
        mine = store.vote_counts(self.db, actor.user, _midnight())
        everybody = store.counts(self.db)
        portion = self.workspace.labelling.portion_of(actor.user)
        now = utc_now()
        seeds = comparisons.seed_counts(self.db, portion, now)
        return PreferProgress(
            open=seeds["open"] + comparisons.count_tasks(self.db, actor.user),
            rankings=rankings.count_open(self.db, portion, now),
            voted=mine["total"],
            today=mine["today"],
            preferences=everybody["total"],
            wins=everybody["win"],
            disputed=comparisons.count_disputed(self.db) if portion.overlap > 1 else 0,
            candidates=seeds["all"],
            rankable=rankings.count_seeds(self.db),
        )

    def consistency(self, actor: Actor) -> Consistency:
        """How often this user voted the same when the sides were swapped, and leaned left."""
        actor.require(Role.VIEWER)
        mine = store.vote_counts(self.db, actor.user, _midnight())
        rows = comparisons.repeat_outcomes(self.db, actor.user)
        twice = [(Outcome(row["first"]), Outcome(row["again"])) for row in rows]
        tasks = len({row["task"] for row in rows})
        return consistency(twice, mine["left"], mine["right"], tasks=tasks)

    def _handed_out(
        self,
        actor: Actor,
        limit: int,
        fresh: bool,
        now: datetime,
        open_ones: Callable[[int], list[Row]],
        make: Callable[[int], None],
    ) -> list[Row]:
        """Open tasks, new ones made where they are too few, leased to this person."""
        with self.db.write():
            leases.forget_old(self.db, now)
            if fresh:
                leases.release(self.db, leases.PREFER, actor.user)
            tasks = open_ones(limit)
            if len(tasks) < limit:
                make(limit - len(tasks))
                tasks = open_ones(limit)
            until = self.workspace.labelling.lease_until()
            leases.take(self.db, leases.PREFER, actor.user, [t["id"] for t in tasks], until)
        return tasks

    def _open_tasks(
        self, portion: Portion, after: str, limit: int, now: datetime, *, is_final: bool = False
    ) -> list[Row]:
        return comparisons.open_tasks(
            self.db,
            portion.user,
            limit,
            after=after,
            now=now,
            overlap=portion.overlap,
            is_final=is_final,
        )

    def _open_rankings(self, portion: Portion, after: str, limit: int, now: datetime) -> list[Row]:
        return rankings.open_rankings(
            self.db, portion.user, limit, now=now, overlap=portion.overlap, after=after
        )

    def _blind(self, tasks: Sequence[Row]) -> list[BlindTask]:
        found = self._pairs_of(tasks)
        return [
            blind_task(t["id"], found[t["left_pair_id"]], found[t["right_pair_id"]])
            for t in tasks
            if t["left_pair_id"] in found and t["right_pair_id"] in found
        ]

    def _blind_rankings(self, tasks: Sequence[Row]) -> list[RankTask]:
        return [rank_task(task["id"], answers) for task, answers in self._ranked(tasks)]

    def _ranked(self, tasks: Sequence[Row]) -> list[tuple[Row, list[Pair]]]:
        """Rankings with their answers in the order shown."""
        ids = {i for t in tasks for i in t["pair_ids"]}
        found = {p.id: p for p in pairs.get(self.db, sorted(ids))}
        return [
            (t, [found[i] for i in t["pair_ids"]])
            for t in tasks
            if all(i in found for i in t["pair_ids"])
        ]

    def _reveals(self, tasks: Sequence[Row]) -> list[Reveal]:
        found = self._pairs_of(tasks)
        return [
            reveal(t["id"], found[t["left_pair_id"]], found[t["right_pair_id"]])
            for t in tasks
            if t["left_pair_id"] in found and t["right_pair_id"] in found
        ]

    def _pairs_of(self, tasks: Sequence[Row]) -> dict[str, Pair]:
        ids = {i for t in tasks for i in (t["left_pair_id"], t["right_pair_id"])}
        return {p.id: p for p in pairs.get(self.db, sorted(ids))}


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
