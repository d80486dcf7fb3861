"""Bulks: a whole filtered list decided at once, undone and done again as one."""

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed
from distill_studio.core.records import DecisionKind, PairStatus, Record
from distill_studio.core.records.labelling import Portion
from distill_studio.services.base import Service
from distill_studio.store import decisions as store
from distill_studio.store import pairs
from distill_studio.store.pairs import PairQuery

_SHOWN = 5


class BulkRow(Record):
    """A record that a bulk would decide."""

    id: str = Field(description="The pair's id.")
    prompt: str = Field(description="Its last user message.")
    answer: str = Field(description="Its answer as it counts, edits included.")
    status: PairStatus = Field(description="Decided how, now.")


class BulkPreview(Record):
    """What a bulk would do."""

    count: int = Field(description="Pairs that it would decide.")
    first: tuple[BulkRow, ...] = Field(description="The first of them, five at most.")
    in_others_hands: int = Field(
        description="Of an owner's bulk: how many of the pairs are on lease to others."
    )
    left_out: int = Field(
        description="Of the list, not this person's to decide: of others' portions, or on lease."
    )


class BulkResult(Record):
    """What a bulk did."""

    bulk_id: str = Field(description="For `bulk_undo` and `bulk_redo`.")
    count: int = Field(description="Pairs decided, or decisions undone or done again.")


class BulkDeciding(Service):
    """The part of `ReviewService` that decides whole lists."""

    def bulk_count(self, actor: Actor, query: PairQuery, kind: DecisionKind) -> int:
        """How many pairs `bulk` would change."""
        actor.require(Role.VIEWER)
        query = self.workspace.labelling.visible_pairs(actor, query)
        _require_bulk_kind(kind)
        return store.bulk_count(self.db, query, kind, self._own_only(actor))

    def bulk_preview(self, actor: Actor, query: PairQuery, kind: DecisionKind) -> BulkPreview:
        """What `bulk` would change: how many pairs, the first of them, and whose they are."""
        actor.require(Role.VIEWER)
        query = self.workspace.labelling.visible_pairs(actor, query)
        _require_bulk_kind(kind)
        own = self._own_only(actor)
        count, everything = (store.bulk_count(self.db, query, kind, one) for one in (own, None))
        free = count
        if own is None:
            free = store.bulk_count(self.db, query, kind, Portion(user=actor.user))
        first = pairs.get(self.db, store.bulk_first(self.db, query, kind, _SHOWN, own))
        return BulkPreview(
            count=count,
            first=tuple(
                BulkRow(id=p.id, prompt=p.prompt, answer=p.final_answer, status=p.status)
                for p in sorted(first, key=lambda p: p.id)
            ),
            in_others_hands=count - free,
            left_out=everything - count,
        )

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

        A reviewer's takes what is of their portion and in nobody else's hands, an owner's all.

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
        query = self.workspace.labelling.visible_pairs(actor, query)
        _require_bulk_kind(kind)
        self._require_whole_lists(actor)
        if not 8 <= len(bulk_id) <= 40:
            raise InvalidInput("A bulk id has 8 to 40 characters.")
        with self.db.write():
            own = self._own_only(actor)
            is_new = not store.has_bulk(self.db, actor.user, bulk_id)
            now = store.bulk_count(self.db, query, kind, own)
            if is_new and expected is not None and now != expected:
                raise Conflict(
                    f"The list changed: {now} pairs instead of the {expected} you confirmed.",
                    "Look at the new number and confirm again.",
                )
            is_final = actor.role >= Role.OWNER  # a whole list is settled, not voted on
            count = store.record_bulk(
                self.db,
                actor.user,
                bulk_id,
                query,
                kind,
                reason,
                is_final=is_final,
                portion=own,
            )
        return BulkResult(bulk_id=bulk_id, count=count)

    def bulk_undo(self, actor: Actor, bulk_id: str) -> BulkResult:
        """Take a whole bulk of this user back."""
        actor.require(Role.REVIEWER)
        return BulkResult(bulk_id=bulk_id, count=store.undo_bulk(self.db, actor.user, bulk_id))

    def bulk_redo(self, actor: Actor, bulk_id: str) -> BulkResult:
        """Do again a bulk of this user that `bulk_undo` took back."""
        actor.require(Role.REVIEWER)
        self._require_whole_lists(actor)
        return BulkResult(bulk_id=bulk_id, count=store.redo_bulk(self.db, actor.user, bulk_id))

    # -- inside ---------------------------------------------------------------------------

    def _require_whole_lists(self, actor: Actor) -> None:
        if actor.role < Role.OWNER and self.workspace.labelling.portion_of(actor.user).overlap > 1:
            raise NotAllowed(
                "Several people vote on each record here, so a whole list is an owner's to decide."
            )

    def _own_only(self, actor: Actor) -> Portion | None:
        """What this person's bulks are held to; None for an owner, who may decide all."""
        is_owner = actor.role >= Role.OWNER
        return None if is_owner else self.workspace.labelling.portion_of(actor.user)


def _require_bulk_kind(kind: DecisionKind) -> None:
    if kind not in (DecisionKind.ACCEPT, DecisionKind.REJECT):
        raise InvalidInput("A bulk can accept or reject.", "Edit pairs one by one.")
