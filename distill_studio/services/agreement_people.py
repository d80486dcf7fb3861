"""One person's work, measured: pace, leanings, agreement. Start from `People.stats`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field

from distill_studio.agreement.bias import Lean, length_lean, position_lean
from distill_studio.agreement.coefficients import mean_share
from distill_studio.agreement.tables import Between, Rating, between
from distill_studio.core.estimate import Estimate, share
from distill_studio.core.records import Outcome, Record
from distill_studio.evaluate.paired import mean_score
from distill_studio.prefer.consistency import Consistency, consistency, is_same
from distill_studio.services.agreement_views import (
    TENTATIVE,
    decision_ratings,
    judge_ratings,
    vote_ratings,
    without_both_bad,
)
from distill_studio.store.database import Row

_FEWEST_REPEATED = 3  # different comparisons, before anything is said of a person's steadiness


class PersonStats(Record):
    """One person's work, measured."""

    user: str = Field(description="Who.")
    decisions: int = Field(description="Records decided one by one, in force.")
    accepted: int = Field(description="Of those, accepted as they were.")
    edited: int = Field(description="Accepted with an edit.")
    rejected: int = Field(description="Rejected.")
    bulk: int = Field(description="Decided in bulk; in no other figure.")
    seconds_a_decision: float | None = Field(description="Median, breaks left out.")
    decisions_a_minute: float | None = Field(description="60 over that median.")
    votes: int = Field(description="Votes, repeats included, skips not.")
    rankings: int = Field(default=0, description="Rankings of three or more; not among the votes.")
    sighted: int = Field(
        default=0,
        description="Votes cast, or changed, with the names shown; not blind, in no other figure.",
    )
    ties: int = Field(description="Of those, ties.")
    both_bad: int = Field(description="Of those, both bad.")
    skipped: int = Field(description="Comparisons skipped.")
    seconds_a_vote: float | None = Field(description="Median, breaks left out.")
    votes_a_minute: float | None = Field(description="60 over that median.")
    with_others_decisions: Between = Field(description="Agreement with all others, on records.")
    with_others_votes: Between = Field(description="Agreement with all others, on couples.")
    with_judges: Between = Field(description="Agreement of votes with what judges say.")
    position: Lean = Field(description="Share of wins given to the left side.")
    length: Lean = Field(description="Share of wins given to the longer answer.")
    repeats: Consistency = Field(description="Agreement with themselves, sides swapped.")
    same: Estimate = Field(description="Share of repeats answered the same way.")
    warnings: tuple[str, ...] = Field(default=(), description="What to look at, in words.")


class People:
    """Everything that is known of the labellers, read once; `stats` gives one person's."""

    def __init__(
        self,
        *,
        decisions: Sequence[Row],
        counts: Sequence[Row],
        votes: Sequence[Row],
        sides: Sequence[Row],
        paces: Sequence[Row],
        repeats: Sequence[Row],
        judged: Sequence[Row],
    ) -> None:
        self._decisions = decision_ratings(decisions)
        self._votes = vote_ratings(votes)
        self._judges = judge_ratings(judged)
        self._counts = {row["rater"]: row for row in counts}
        self._sides = {row["rater"]: row for row in sides}
        self._paces = {(row["rater"], row["of"]): float(row["seconds"]) for row in paces}
        self._lengths = lengths_of(votes)
        self._repeats: dict[str, list[Row]] = defaultdict(list)
        for row in repeats:
            self._repeats[row["rater"]].append(row)

    @property
    def names(self) -> list[str]:
        """Everybody who decided or voted."""
        return sorted(self._counts.keys() | self._sides.keys())

    def stats(self, user: str) -> PersonStats:
        """One person's figures, with warnings."""
        counts, sides = self._counts.get(user, {}), self._sides.get(user, {})
        kinds = {kind: int(counts.get(kind, 0)) for kind in ("accept", "edit", "reject", "bulk")}
        said = {o: int(sides.get(o, 0)) for o in ("left", "right", "tie", "both_bad", "skip")}
        position = position_lean(said["left"], said["right"])
        length = self._length(user)
        again, same = self._repeats[user], self._same(user)
        repeats = consistency(
            [(Outcome(row["first"]), Outcome(row["again"])) for row in again],
            said["left"],
            said["right"],
            tasks=len({row["task"] for row in again}),
        )
        sighted = int(sides.get("sighted", 0))
        seconds = {of: self._paces.get((user, of)) for of in ("decisions", "votes")}
        return PersonStats(
            user=user,
            decisions=kinds["accept"] + kinds["edit"] + kinds["reject"],
            accepted=kinds["accept"],
            edited=kinds["edit"],
            rejected=kinds["reject"],
            bulk=kinds["bulk"],
            seconds_a_decision=seconds["decisions"],
            decisions_a_minute=_a_minute(seconds["decisions"]),
            votes=sum(said.values()) - said["skip"] + sighted,
            sighted=sighted,
            rankings=int(sides.get("rankings", 0)),
            ties=said["tie"],
            both_bad=said["both_bad"],
            skipped=said["skip"],
            seconds_a_vote=seconds["votes"],
            votes_a_minute=_a_minute(seconds["votes"]),
            with_others_decisions=_with_others(user, self._decisions, ("accept", "edit", "reject")),
            with_others_votes=_with_others(
                user, self._votes, ("first", "second", "tie", "both_bad")
            ),
            with_judges=between(
                without_both_bad(r for r in self._votes if r.rater == user),
                self._judges,
                ("first", "second", "tie"),
            ),
            position=position,
            length=length,
            repeats=repeats,
            same=same,
            warnings=tuple(
                text
                for text in (position.warning, length.warning, _unsteady(repeats, same))
                if text
            ),
        )

    def _length(self, user: str) -> Lean:
        rest = [one for rater, wins in self._lengths.items() if rater != user for one in wins]
        return length_lean(_share_of(self._lengths.get(user, [])), _share_of(rest))

    def _same(self, user: str) -> Estimate:
        """Share of repeats answered the same way: over prompts, as those of a ranking are one."""
        rows = self._repeats[user]
        return _share_of([
            (row["cluster"], is_same(Outcome(row["first"]), Outcome(row["again"]))) for row in rows
        ])


def lengths_of(rows: Iterable[Row]) -> dict[str, list[tuple[str, bool]]]:
    """Per voter, of each win: the prompt, and whether the answer with more words won."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for row in rows:
        gap = row["left_words"] - row["right_words"]
        if gap and row["outcome"] in (Outcome.LEFT, Outcome.RIGHT):
            is_longer = (gap > 0) == (row["outcome"] == Outcome.LEFT)
            found[row["rater"]].append((row["cluster"], is_longer))
    return dict(found)


def _share_of(events: Sequence[tuple[str, bool]]) -> Estimate:
    """Share of the events that are so; the interval takes prompts for what is independent.

    It is Student's t over prompts: of five or ten rankings a bootstrap would still give two to four
    times as many false alarms as it should. Without any spread it is Wilson's over prompts.

    Args:
        events: The prompt of each, and whether it is so.
    """
    if not events:
        return share(0, 0)
    clusters, values = [e[0] for e in events], np.array([e[1] for e in events], dtype=float)
    found = mean_score(clusters, values)
    if found.low is None or found.high is None:
        return mean_share(values, clusters)
    return found.model_copy(update={"low": max(found.low, 0.0), "high": min(found.high, 1.0)})


def _with_others(user: str, ratings: Sequence[Rating], labels: Sequence[str]) -> Between:
    mine = [r for r in ratings if r.rater == user]
    return between(mine, [r for r in ratings if r.rater != user], labels)


def _unsteady(repeats: Consistency, same: Estimate) -> str:
    """A warning when swapped repeats are answered the same way no more often than by chance."""
    if repeats.tasks < _FEWEST_REPEATED or same.high is None or same.high >= TENTATIVE:
        return ""
    return (
        f"Answers {repeats.same} of {repeats.repeats} repeats the same way when the sides are"
        " swapped: these votes say little."
    )


def _a_minute(seconds: float | None) -> float | None:
    return 60 / seconds if seconds else None
