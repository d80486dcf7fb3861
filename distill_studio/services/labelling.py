"""Labelling: how several people share a workspace. Settings, guidelines, and who may see or settle.

The benches themselves are `review` and `prefer`; both ask `LabellingService` for the rules.
"""

from datetime import datetime, timedelta

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.core.records import Pair, PairStatus, Record
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.labelling import (
    Guidelines,
    LabellingSettings,
    Portion,
    portion,
)
from distill_studio.services.base import Service
from distill_studio.store import decisions, leases
from distill_studio.store import labelling as store
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery

LONGEST_GUIDELINES = 40_000  # characters; what is longer would not be rendered
_BATCH_ALONE, _BATCH_SHARED = 50, 20  # records handed out at once


class Rules(Record):
    """What holds for one person on the benches."""

    overlap: int = Field(description="Votes that a record needs.")
    may_settle: bool = Field(description="May work off the ties, with a final word.")
    batch: int = Field(description="Records handed out at once.")
    renew_s: float = Field(description="How often a page prolongs what it holds.")


class SettingsSaved(Record):
    """New settings are in force."""

    settings: LabellingSettings = Field(description="As they are now.")
    changed: int = Field(description="Records whose state changed with them.")


class LabellingService(Service):
    """Labelling: how several people share a workspace."""

    word = "labelling"

    def settings(self, actor: Actor) -> LabellingSettings:
        """The settings in force."""
        actor.require(Role.VIEWER)
        return store.settings(self.db)

    def rules(self, actor: Actor) -> Rules:
        """What holds for me on the benches."""
        actor.require(Role.VIEWER)
        now = store.settings(self.db)
        is_shared = bool(self.workspace.studio.accounts.names(Role.REVIEWER))
        return Rules(
            overlap=now.overlap,
            may_settle=now.overlap > 1 and self._may_settle(actor, now),
            batch=_BATCH_SHARED if is_shared else _BATCH_ALONE,
            renew_s=min(60.0, now.lease_minutes * 60 / 4),
        )

    def preview(self, actor: Actor, overlap: int) -> int:
        """How many decided records would go back to the queue with this many votes a record."""
        actor.require(Role.OWNER)
        return store.reopened_by(self.db, overlap)

    def save(
        self, actor: Actor, settings: LabellingSettings, expected: int | None = None
    ) -> SettingsSaved:
        """Put settings in force; the state of all records follows, and back with the old ones.

        Args:
            actor: Who.
            settings: All of them.
            expected: The number of `preview` that the person confirmed; another now is refused.

        Raises:
            Conflict: Not as many records would go back as `expected`.
        """
        actor.require(Role.OWNER)
        with self.db.write():
            reopened = store.reopened_by(self.db, settings.overlap)
            if expected is not None and reopened != expected:
                raise Conflict(
                    f"{reopened} records would go back to the queue, not {expected}.",
                    "Look at the new number and confirm again.",
                )
            store.save_settings(self.db, actor.user, settings)
            changed = decisions.rebuild(self.db)
        return SettingsSaved(settings=settings, changed=changed)

    def guidelines(self, actor: Actor, version: int = 0) -> Guidelines:
        """What labellers should go by: one version, or the newest for 0."""
        actor.require(Role.VIEWER)
        return store.guidelines(self.db, version)

    def guideline_versions(self, actor: Actor) -> list[Guidelines]:
        """All versions, newest first."""
        actor.require(Role.VIEWER)
        return store.guideline_versions(self.db)

    def save_guidelines(self, actor: Actor, text: str) -> Guidelines:
        """Store a new version, unless the newest says the same; an empty text takes them away."""
        actor.require(Role.OWNER)
        if len(text) > LONGEST_GUIDELINES:
            raise InvalidInput(
                f"The guidelines have {len(text):,} characters, over {LONGEST_GUIDELINES:,}.",
                "Nobody reads that much beside each record: keep what decides.",
            )
        return store.save_guidelines(self.db, actor.user, text.strip())

    # -- for the benches --------------------------------------------------------------------------

    def portion_of(self, user: str) -> Portion:
        """What part of the workspace this person may be handed."""
        return portion(store.settings(self.db), user)

    def lease_until(self) -> datetime:
        """When a lease taken now ends."""
        return utc_now() + timedelta(minutes=store.settings(self.db).lease_minutes)

    def can_settle(self, user: Actor) -> bool:
        """Whether this person's final word counts."""
        return self._may_settle(user, store.settings(self.db))

    def hides_others(self, user: Actor) -> bool:
        """Whether others' votes are kept from this person until they have voted."""
        now = store.settings(self.db)
        is_voter = user.role == Role.REVIEWER and not self._may_settle(user, now)
        return now.overlap > 1 and now.sees_others == "after" and is_voter

    def hides_decisions(self, user: Actor, pair: Pair) -> bool:
        """Whether others' decisions on this record are kept from this person, for now."""
        is_open = pair.status is PairStatus.PENDING and self.hides_others(user)
        return is_open and not decisions.is_voter(self.db, user.user, pair.id)

    def visible(self, user: Actor, query: PreferenceQuery) -> PreferenceQuery:
        """The query, held to this person's own preferences where others' are kept from them."""
        if self.hides_others(user):
            return query.model_copy(update={"user": user.user})
        return query

    def visible_pairs(self, user: Actor, query: PairQuery) -> PairQuery:
        """The query, whose tag is this person's own where others' are kept from them."""
        return query.model_copy(update={"tag_by": self.only_tags_of(user)})

    def only_tags_of(self, user: Actor) -> str:
        """Whose tags this person sees; '' for everybody's."""
        return user.user if self.hides_others(user) else ""

    def release_all(self, user: str) -> None:
        """Give back what was handed to a person who leaves."""
        leases.release_all(self.db, user)

    def _may_settle(self, actor: Actor, now: LabellingSettings) -> bool:
        is_named = actor.user.casefold() in {name.casefold() for name in now.adjudicators}
        return actor.role >= Role.OWNER or (actor.role >= Role.REVIEWER and is_named)
