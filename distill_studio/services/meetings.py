"""Whose preferences rank models, read from the store as meetings of two models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distill_studio.agreement.bradley_terry import Meeting
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed
from distill_studio.evaluate.wins import Bout
from distill_studio.store import agreement as store
from distill_studio.store.database import Database, Row

Chosen = Literal["people", "judges", "imports", "all"]
Sources = Literal["", "people", "judges", "imports", "all"]
STORED: dict[Chosen, tuple[str, ...]] = {
    "people": ("person", "arena"),
    "judges": ("judge",),
    "imports": ("import",),
    "all": ("person", "arena", "judge", "import"),
}
_ONE_KIND: tuple[Chosen, ...] = ("people", "judges", "imports")


@dataclass(frozen=True)
class Meetings:
    """Comparisons of two different models, with the lengths of both answers in characters."""

    sources: Chosen
    voters: dict[str, int]
    meetings: Sequence[Meeting]
    lengths: Sequence[tuple[int, int]]

    @property
    def bouts(self) -> list[Bout]:
        """The same for win rates."""
        return [
            Bout(prompt=m.prompt, winner=m.first, loser=m.second, outcome=m.outcome)
            for m in self.meetings
        ]


def meetings_of(
    db: Database, sources: Sources, voter: str = "", *, sighted: bool = False
) -> Meetings:
    """The meetings that these sources' preferences make, or only this voter's.

    '' takes the first of people, judges and imports that there are. What was compared because a
    student lost it does not count; nor, unless `sighted`, what people said with the names shown.
    """
    voters = store.voters(db, sighted=sighted)
    chosen = sources or _first_with_votes(voters, voter)
    rows = store.meetings(db, STORED[chosen], voter, sighted=sighted)
    rows = [row for row in rows if row["first"] != row["second"]]
    return Meetings(
        sources=chosen,
        voters={v["voter"]: v["n"] for v in voters if v["source"] in STORED[chosen]},
        meetings=[Meeting(r["prompt"], r["first"], r["second"], r["outcome"]) for r in rows],
        lengths=[(row["first_length"], row["second_length"]) for row in rows],
    )


def hidden_voters(db: Database, user: Actor, voter: str) -> frozenset[str]:
    """Whose names are not for this person: an owner sees all, others judges' and their own.

    An imported file's preferences carry the name of who imported it.

    Raises:
        NotAllowed: `voter`, whose votes alone are asked for, is one of them.
    """
    if user.role >= Role.OWNER:
        return frozenset()
    named = (*STORED["people"], *STORED["imports"])
    there = store.voters(db, sighted=True)
    hidden = {v["voter"] for v in there if v["source"] in named} - {user.user}
    if voter in hidden:
        raise NotAllowed("Only an owner sees the figures of others.", "Leave the name out.")
    return frozenset(hidden)


def _first_with_votes(voters: Sequence[Row], voter: str) -> Chosen:
    there = {v["source"] for v in voters if not voter or v["voter"] == voter}
    for name in _ONE_KIND:
        if there & set(STORED[name]):
            return name
    return "people"
