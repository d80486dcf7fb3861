"""Review: people decide. Accept, edit, reject, skip, undo; one by one or a filtered list at once.

Start from `decide`. Browsers send each decision under an id of their own and send it again until
it is answered as stored, so nothing is lost or doubled by a crash on either side.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import (
    Curation,
    Decision,
    DecisionKind,
    Pair,
    PairStatus,
    Record,
)
from distill_studio.core.records.backup import BackupPoint
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.labelling import Portion
from distill_studio.curate.filters.verification import stored_verdict
from distill_studio.review import reasons
from distill_studio.review.bench_record import BenchRecord, Related, RelatedRow, bench_record
from distill_studio.services.curation_settings import settings_in_force
from distill_studio.services.review_bulk import BulkDeciding
from distill_studio.store import comparisons, leases, notes, pairs, related, undoing
from distill_studio.store import decisions as store
from distill_studio.store.database import Row
from distill_studio.store.pairs import PairQuery

_MOST_RELATED = 20
_TO_DO = PairQuery(status=PairStatus.PENDING, curation=Curation.KEPT)


class Refusal(Record):
    """A decision or vote that can never be stored."""

    id: str = Field(description="The client's id.")
    reason: str = Field(description="Why, for the person who made it.")


class DecideResult(Record):
    """What became of a batch of decisions."""

    stored: tuple[str, ...] = Field(description="Ids that are committed, now or earlier.")
    refused: tuple[Refusal, ...] = Field(default=(), description="Ids that never will be.")
    backup: BackupPoint | None = Field(
        default=None, description="How far the backup is; None where there is none."
    )


class DecisionEntry(Record):
    """One decision in a pair's history."""

    user: str = Field(description="Who.")
    id: str = Field(description="The client's id.")
    kind: DecisionKind = Field(description="What.")
    answer: str | None = Field(default=None, description="The edited answer.")
    reason: str = Field(default="", description="Why it was rejected.")
    note: str = Field(default="", description="Free note.")
    tags: tuple[str, ...] = Field(default=(), description="For a note: its tags.")
    undoes: str | None = Field(default=None, description="What an undo takes back.")
    bulk_id: str | None = Field(default=None, description="The bulk it belongs to.")
    made_at: datetime = Field(description="When, UTC.")
    is_final: bool = Field(default=False, description="An adjudicator's word.")
    is_taken_back: bool = Field(default=False, description="True when an undo took it back.")


class PairState(Record):
    """What holds of a pair."""

    status: PairStatus = Field(description="Decided how.")
    edited_answer: str | None = Field(default=None, description="A person's edit, if any.")
    reject_reason: str = Field(default="", description="Why it was rejected.")
    decided_by: str = Field(default="", description="Who decided.")
    decided_at: datetime | None = Field(default=None, description="When, UTC.")


class Undoable(Record):
    """Something this user did and may undo."""

    id: str = Field(description="The decision's id; for a bulk, of its last one.")
    kind: DecisionKind = Field(description="What was done.")
    bulk_id: str = Field(default="", description="Set for a bulk.")
    count: int = Field(default=1, description="Decisions in it.")
    record: BenchRecord | None = Field(default=None, description="The pair, as it is now.")
    after: PairState | None = Field(
        default=None, description="Of the pair, once this and what is above it is undone."
    )


class ReviewProgress(Record):
    """Counts of the review stage."""

    pending: int = Field(description="Kept by curate, and this user's decision is wanted.")
    set_aside: int = Field(description="Not decided, but filtered or duplicate.")
    accepted: int = Field(description="Accepted as they are.")
    edited: int = Field(description="Accepted with an edit.")
    rejected: int = Field(description="Rejected.")
    disputed: int = Field(default=0, description="Whose voters tie: for an adjudicator.")
    mine: int = Field(description="Decided by this user.")
    mine_today: int = Field(description="Of those, since midnight UTC.")


class ReviewService(BulkDeciding):
    """Review: people decide."""

    word = "review"

    # -- looking ----------------------------------------------------------------------------

    def queue(self, actor: Actor, query: PairQuery = _TO_DO) -> list[BenchRecord]:
        """The next records for the bench: by default what nobody decided and curate keeps."""
        actor.require(Role.VIEWER)
        return self._records(actor, pairs.page(self.db, self._in_order(actor, query)))

    def page(self, actor: Actor, query: PairQuery) -> list[Pair]:
        """A page of pairs."""
        actor.require(Role.VIEWER)
        return pairs.page(self.db, self._in_order(actor, query))

    def count(self, actor: Actor, query: PairQuery) -> int:
        """How many pairs match, whatever the page."""
        actor.require(Role.VIEWER)
        return pairs.count(self.db, self.workspace.labelling.visible_pairs(actor, query))

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
        """Every decision about a pair, oldest first.

        Where several vote, a reviewer sees only their own until they have voted (`labelling`).
        """
        actor.require(Role.VIEWER)
        rows = store.history(self.db, pair_id)
        hides = self.workspace.labelling.hides_decisions
        if any(hides(actor, pair) for pair in pairs.get(self.db, [pair_id])):
            rows = [row for row in rows if row["user"] == actor.user]
        return [DecisionEntry(**row) for row in rows]

    def facets(self, actor: Actor) -> dict[str, list[str]]:
        """Values to filter by: `teacher`, `recipe`, `topic`, `source`, `tag`."""
        actor.require(Role.VIEWER)
        return {**pairs.facets(self.db), "tag": self.tags(actor)}

    def tags(self, actor: Actor) -> list[str]:
        """The tags in use, most frequent first: one's own where others' votes are hidden."""
        actor.require(Role.VIEWER)
        return notes.tags(self.db, user=self.workspace.labelling.only_tags_of(actor))

    def related(self, actor: Actor, pair_id: str) -> Related:
        """Other answers to the same prompt, and the near-duplicates that a search has found."""
        actor.require(Role.VIEWER)
        self.get(actor, pair_id)
        model = settings_in_force(self.db).model
        near = {row["id"]: row for row in related.near(self.db, pair_id, _MOST_RELATED, model)}
        found = related.candidates(self.db, pair_id, _MOST_RELATED)
        rows = {p.id: p for p in pairs.get(self.db, [*found, *near])}
        return Related(
            candidates=tuple(_related_row(rows[i]) for i in found),
            near=tuple(_related_row(rows[i], near[i]) for i in near),
            is_compared=related.is_compared(self.db, model),
        )

    def reasons(self, actor: Actor) -> list[str]:
        """The reject reasons on the digit keys."""
        actor.require(Role.VIEWER)
        used = notes.used_reasons(self.db, limit=30)
        return reasons.offered(used, notes.chosen_reasons(self.db))

    def set_reasons(self, actor: Actor, chosen: list[str]) -> list[str]:
        """Offer these reject reasons to everybody; an empty list brings the standard ones back.

        Raises:
            InvalidInput: More than nine, one too long, or one twice.
        """
        actor.require(Role.OWNER)
        notes.set_reasons(self.db, reasons.checked(chosen))
        return self.reasons(actor)

    def progress(self, actor: Actor) -> ReviewProgress:
        """Counts: pending, accepted, edited, rejected, and by this user today."""
        actor.require(Role.VIEWER)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        counted = store.counts(self.db, actor.user, midnight)
        portion = self.workspace.labelling.portion_of(actor.user)
        if portion != Portion(user=actor.user):  # else what is pending is everybody's
            counted["pending"] = leases.count_pairs(self.db, portion)
        if portion.overlap > 1:
            mine = store.vote_count(self.db, actor.user, midnight)
            counted |= {"mine": mine["total"], "mine_today": mine["since"]}
            counted["disputed"] = leases.count_disputed(self.db)
        return ReviewProgress(**counted)

    # -- handing out ------------------------------------------------------------------------

    def next(
        self,
        actor: Actor,
        query: PairQuery = _TO_DO,
        have: tuple[str, ...] = (),
        fresh: bool = False,
    ) -> list[BenchRecord]:
        """The next undecided records for this person, leased to them for some minutes.

        Args:
            actor: For whom.
            query: Filters, order and limit; its keyset does not matter.
            have: Ids that the page holds: not handed out again.
            fresh: The page holds nothing else: give back what it held before.
        """
        actor.require(Role.REVIEWER)
        labelling = self.workspace.labelling
        with self.db.write():
            now = utc_now()
            leases.forget_old(self.db, now)
            if fresh:
                leases.release(self.db, leases.REVIEW, actor.user)
            portion = labelling.portion_of(actor.user)
            wanted = self._in_order(actor, query)
            ids = leases.next_pairs(self.db, wanted, portion, have, now)
            leases.take(self.db, leases.REVIEW, actor.user, ids, labelling.lease_until())
        found = {p.id: p for p in pairs.get(self.db, ids)}
        return self._records(actor, [found[i] for i in ids if i in found])

    def renew(self, actor: Actor, ids: tuple[str, ...]) -> list[str]:
        """Prolong the leases of a page; returns the ids that it may forget: others do them now."""
        actor.require(Role.REVIEWER)
        labelling = self.workspace.labelling
        overlap = labelling.portion_of(actor.user).overlap
        with self.db.write():
            held = leases.held_by_others(self.db, leases.REVIEW, actor.user, ids, utc_now())
            wanted = leases.pairs_open_for(self.db, actor.user, ids, overlap)
            kept = [i for i in ids if i in wanted and wanted[i] + held.get(i, 0) < overlap]
            leases.take(self.db, leases.REVIEW, actor.user, kept, labelling.lease_until())
        return [i for i in ids if i not in set(kept)]

    # -- deciding ---------------------------------------------------------------------------

    def decide(self, actor: Actor, decisions: list[Decision], for_user: str = "") -> DecideResult:
        """Store decisions, once per client id; sending again is safe.

        Raises:
            Conflict: `for_user` (who made them) is not the acting user any more.
        """
        actor.require(Role.REVIEWER)
        require_same_user(actor, for_user)
        with self.db.write():
            may_settle = not any(d.is_final for d in decisions) or (
                self.workspace.labelling.can_settle(actor)
            )
            stored, refused = store.settle(self.db, actor.user, decisions, may_settle=may_settle)
            self._settle_leases(actor, [d for d in decisions if d.id not in refused])
        return DecideResult(
            stored=tuple(stored),
            refused=tuple(Refusal(id=i, reason=reason) for i, reason in refused.items()),
            backup=self.workspace.studio.backups.point(),
        )

    def recent(self, actor: Actor, limit: int = 20) -> list[Undoable]:
        """What this user could undo, newest first, and what holds then; survives restarts."""
        actor.require(Role.VIEWER)
        rows = undoing.recent(self.db, actor.user, min(limit, 200))
        found = self._records_of(actor, rows)
        return [
            Undoable(
                id=row["id"],
                kind=row["kind"],
                bulk_id=row["bulk_id"],
                count=row["count"],
                record=found.get(row["pair_id"]),
                after=PairState(**{name: row["after"][name] for name in PairState.model_fields}),
            )
            for row in rows
        ]

    def redoable(self, actor: Actor, limit: int = 20) -> list[Undoable]:
        """What this user undid last and may do again, next first.

        Send an undo of the `id`; of a bulk, its `bulk_id` to `bulk_redo`. It survives restarts; a
        new decision ends it.
        """
        actor.require(Role.VIEWER)
        rows = undoing.redoable(self.db, actor.user, min(limit, 200))
        found = self._records_of(actor, rows)
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

    def _in_order(self, actor: Actor, query: PairQuery) -> PairQuery:
        """The query, less what would tell a voter which way others voted.

        A record that comes first because the judge, whose score they see, and a person disagree.
        """
        query = self.workspace.labelling.visible_pairs(actor, query)
        if query.sort == "disagreement" and self.workspace.labelling.hides_others(actor):
            return query.model_copy(update={"sort": "contested"})
        return query

    def _settle_leases(self, actor: Actor, decisions: Sequence[Decision]) -> None:
        """What is decided or skipped is given back; what is undone is handed out again."""
        last = {d.pair_id: d.kind for d in decisions if d.kind is not DecisionKind.NOTE}
        leases.release(self.db, leases.REVIEW, actor.user, list(last))
        undone = [i for i, kind in last.items() if kind is DecisionKind.UNDO]
        if undone:  # an undo may also be a redo, which leaves nothing to do
            overlap = self.workspace.labelling.portion_of(actor.user).overlap
            open_ones = leases.pairs_open_for(self.db, actor.user, undone, overlap)
            until = self.workspace.labelling.lease_until()
            leases.take(self.db, leases.REVIEW, actor.user, list(open_ones), until)

    def _records(self, actor: Actor, found: Sequence[Pair]) -> list[BenchRecord]:
        places = comparisons.candidate_places(self.db, [p.seed_id for p in found])
        said = notes.of_pairs(self.db, actor.user, [p.id for p in found])
        return [
            bench_record(p, *places.get(p.id, (1, 1)), _checked(p)).model_copy(
                update={"note": said[p.id]["note"], "tags": tuple(said[p.id]["tags"])}
                if p.id in said
                else {}
            )
            for p in found
        ]

    def _records_of(self, actor: Actor, rows: Sequence[Row]) -> dict[str, BenchRecord]:
        """By pair id, the records that rows with `pair_id` speak of."""
        found = pairs.get(self.db, [row["pair_id"] for row in rows])
        return {record.id: record for record in self._records(actor, found)}


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


def _checked(pair: Pair) -> tuple[bool, str] | None:
    verdict = stored_verdict(pair.params)
    return None if verdict is None else (verdict.score >= 0.5, verdict.note)


def _related_row(pair: Pair, near: Row | None = None) -> RelatedRow:
    return RelatedRow(
        id=pair.id,
        prompt=pair.prompt,
        answer=pair.final_answer,
        status=pair.status,
        judge_score=pair.judge_score,
        field=near["field"] if near else "",
        similarity=near["similarity"] if near else None,
    )
