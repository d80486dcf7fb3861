"""Review: people decide. Accept, edit, reject, skip, undo; one by one or a filtered list at once.

Start from `decide`. Browsers send each decision under an id of their own and send it again until
it is answered as stored, so nothing is lost or doubled by a crash on either side.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import (
    Curation,
    Decision,
    DecisionKind,
    Pair,
    PairStatus,
    Record,
)
from distill_studio.review import reasons
from distill_studio.review.bench_record import BenchRecord, bench_record
from distill_studio.services.base import Service
from distill_studio.store import comparisons, pairs
from distill_studio.store import decisions as store
from distill_studio.store.pairs import PairQuery

_TO_DO = PairQuery(status=PairStatus.PENDING, curation=Curation.KEPT)


class Refusal(Record):
    """A decision or vote that can never be stored."""

    id: str = Field(description="The client's id.")
    reason: str = Field(description="Why, for the person who made it.")


class DecideResult(Record):
    """What became of a batch of decisions."""

    stored: tuple[str, ...] = Field(description="Ids that are committed, now or earlier.")
    refused: tuple[Refusal, ...] = Field(default=(), description="Ids that never will be.")


class DecisionEntry(Record):
    """One decision in a pair's history."""

    user: str = Field(description="Who.")
    id: str = Field(description="The client's id.")
    kind: DecisionKind = Field(description="What.")
    answer: str | None = Field(default=None, description="The edited answer.")
    reason: str = Field(default="", description="Why it was rejected.")
    note: str = Field(default="", description="Free note.")
    undoes: str | None = Field(default=None, description="What an undo takes back.")
    bulk_id: str | None = Field(default=None, description="The bulk it belongs to.")
    made_at: datetime = Field(description="When, UTC.")
    is_taken_back: bool = Field(default=False, description="True when an undo took it back.")


class Undoable(Record):
    """Something this user did and may undo."""

    id: str = Field(description="The decision's id; for a bulk, of its last one.")
    kind: DecisionKind = Field(description="What was done.")
    bulk_id: str = Field(default="", description="Set for a bulk.")
    count: int = Field(default=1, description="Decisions in it.")
    record: BenchRecord | None = Field(default=None, description="The pair, as it is now.")


class ReviewProgress(Record):
    """Counts of the review stage."""

    pending: int = Field(description="Kept by curate and not decided.")
    set_aside: int = Field(description="Not decided, but filtered or duplicate.")
    accepted: int = Field(description="Accepted as they are.")
    edited: int = Field(description="Accepted with an edit.")
    rejected: int = Field(description="Rejected.")
    mine: int = Field(description="Decided by this user.")
    mine_today: int = Field(description="Of those, since midnight UTC.")


class BulkResult(Record):
    """What a bulk did."""

    bulk_id: str = Field(description="For `bulk_undo`.")
    count: int = Field(description="Pairs decided, or decisions undone.")


class ReviewService(Service):
    """Review: people decide."""

    word = "review"

    # -- looking ----------------------------------------------------------------------------

    def queue(self, actor: Actor, query: PairQuery = _TO_DO) -> list[BenchRecord]:
        """The next records for the bench: by default what nobody decided and curate keeps."""
        actor.require(Role.VIEWER)
        return self._records(pairs.page(self.db, query))

    def page(self, actor: Actor, query: PairQuery) -> list[Pair]:
        """A page of pairs."""
        actor.require(Role.VIEWER)
        return pairs.page(self.db, query)

    def count(self, actor: Actor, query: PairQuery) -> int:
        """How many pairs match, whatever the page."""
        actor.require(Role.VIEWER)
        return pairs.count(self.db, query)

    def get(self, actor: Actor, pair_id: str) -> Pair:
        """One pair.

        Raises:
            NotFound: No such pair.
        """
        actor.require(Role.VIEWER)
        found = pairs.get(self.db, [pair_id])
        if not found:
            raise NotFound(f"There is no pair {pair_id} in this workspace.")
        return found[0]

    def history(self, actor: Actor, pair_id: str) -> list[DecisionEntry]:
        """Every decision about a pair, oldest first."""
        actor.require(Role.VIEWER)
        return [DecisionEntry(**row) for row in store.history(self.db, pair_id)]

    def facets(self, actor: Actor) -> dict[str, list[str]]:
        """Values to filter by: `teacher`, `recipe`, `topic`, `source`."""
        actor.require(Role.VIEWER)
        return pairs.facets(self.db)

    def reasons(self, actor: Actor) -> list[str]:
        """The reject reasons on the digit keys."""
        actor.require(Role.VIEWER)
        return reasons.offered(store.reasons(self.db, limit=30))

    def progress(self, actor: Actor) -> ReviewProgress:
        """Counts: pending, accepted, edited, rejected, and by this user today."""
        actor.require(Role.VIEWER)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return ReviewProgress(**store.counts(self.db, actor.user, midnight))

    # -- deciding ---------------------------------------------------------------------------

    def decide(self, actor: Actor, decisions: list[Decision], for_user: str = "") -> DecideResult:
        """Store decisions, once per client id; sending again is safe.

        Raises:
            Conflict: `for_user` (who made them) is not the acting user any more.
        """
        actor.require(Role.REVIEWER)
        require_same_user(actor, for_user)
        stored, refused = store.settle(self.db, actor.user, decisions)
        return DecideResult(
            stored=tuple(stored),
            refused=tuple(Refusal(id=i, reason=reason) for i, reason in refused.items()),
        )

    def recent(self, actor: Actor, limit: int = 20) -> list[Undoable]:
        """What this user could undo, newest first; survives restarts."""
        actor.require(Role.VIEWER)
        rows = store.recent(self.db, actor.user, min(limit, 200))
        found = {r.id: r for r in self._records(pairs.get(self.db, [r["pair_id"] for r in rows]))}
        return [
            Undoable(
                id=row["id"],
                kind=row["kind"],
                bulk_id=row["bulk_id"],
                count=row["count"],
                record=found.get(row["pair_id"]),
            )
            for row in rows
        ]

    def undo_last(self, actor: Actor) -> Undoable | None:
        """Take this user's last decision back, a bulk as one; None when there is none."""
        actor.require(Role.REVIEWER)
        with self.db.write():
            last = next(iter(self.recent(actor, limit=1)), None)
            if last is None:
                return None
            if last.bulk_id:
                store.undo_bulk(self.db, actor.user, last.bulk_id)
            elif last.record is not None:
                undo = Decision(
                    id=new_id(), pair_id=last.record.id, kind=DecisionKind.UNDO, undoes=last.id
                )
                store.record(self.db, actor.user, [undo])
        return last

    def bulk_count(self, actor: Actor, query: PairQuery, kind: DecisionKind) -> int:
        """How many pairs `bulk` would change."""
        actor.require(Role.VIEWER)
        _require_bulk_kind(kind)
        return store.bulk_count(self.db, query, kind)

    def bulk(
        self,
        actor: Actor,
        query: PairQuery,
        kind: DecisionKind,
        bulk_id: str,
        reason: str = "",
        expected: int | None = None,
    ) -> BulkResult:
        """Accept or reject every pair of a filtered list; undone as one with `bulk_undo`.

        Args:
            actor: Who.
            query: Which pairs; its page does not matter.
            kind: accept or reject.
            bulk_id: Made by the client; sending it again changes nothing.
            reason: Why, for a reject.
            expected: The number the person confirmed; another number now is refused.

        Raises:
            Conflict: The list is not as long as `expected` any more.
        """
        actor.require(Role.REVIEWER)
        _require_bulk_kind(kind)
        if not 8 <= len(bulk_id) <= 40:
            raise InvalidInput("A bulk id has 8 to 40 characters.")
        with self.db.write():
            is_new = store.bulk_size(self.db, actor.user, bulk_id) == 0
            now = store.bulk_count(self.db, query, kind)
            if is_new and expected is not None and now != expected:
                raise Conflict(
                    f"The list changed: {now} pairs instead of the {expected} you confirmed.",
                    "Look at the new number and confirm again.",
                )
            count = store.record_bulk(self.db, actor.user, bulk_id, query, kind, reason)
        return BulkResult(bulk_id=bulk_id, count=count)

    def bulk_undo(self, actor: Actor, bulk_id: str) -> BulkResult:
        """Take a whole bulk of this user back."""
        actor.require(Role.REVIEWER)
        return BulkResult(bulk_id=bulk_id, count=store.undo_bulk(self.db, actor.user, bulk_id))

    def _records(self, found: Sequence[Pair]) -> list[BenchRecord]:
        places = comparisons.candidate_places(self.db, [p.seed_id for p in found])
        return [bench_record(p, *places.get(p.id, (1, 1))) for p in found]


def require_same_user(actor: Actor, for_user: str) -> None:
    """Refuse what another user's browser tab left behind: it must not be stored under this name.

    Raises:
        Conflict: `for_user` is given and is not the acting user.
    """
    if for_user and for_user != actor.user:
        raise Conflict(
            f"These were made by {for_user}, but you are now logged in as {actor.user}.",
            f"Log in as {for_user} to have them saved.",
        )


def _require_bulk_kind(kind: DecisionKind) -> None:
    if kind not in (DecisionKind.ACCEPT, DecisionKind.REJECT):
        raise InvalidInput("A bulk can accept or reject.", "Edit pairs one by one.")
