"""What the agreement service answers with, and how rows of the store become it.

People have a file of their own, `agreement_people.py`.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from distill_studio.agreement.bradley_terry import Ranking
from distill_studio.agreement.couples import couple_key, label_of
from distill_studio.agreement.length_control import LengthControlled
from distill_studio.agreement.scores import separation
from distill_studio.agreement.tables import AgreementRow, Between, Rating, between
from distill_studio.core.estimate import Estimate
from distill_studio.core.records import Record
from distill_studio.curate.filters.verification import stored_verdict
from distill_studio.evaluate.wins import WinRate
from distill_studio.store.database import Row

Measured = Literal["decisions", "kept", "votes"]
KEPT_LABELS = ("kept", "rejected")
# Krippendorff, Content Analysis (2004): tentative conclusions from 0.667 on, firm ones from 0.8.
TENTATIVE, FIRM = 0.667, 0.8


class AgreementReport(Record):
    """How far people agree on one kind of verdict."""

    measured: Measured = Field(description="decisions, kept (or rejected), votes.")
    labels: tuple[str, ...] = Field(description="The possible verdicts.")
    people: tuple[str, ...] = Field(description="Who gave any, as far as the rows name them.")
    items: int = Field(description="Records or couples with a verdict.")
    rows: tuple[AgreementRow, ...] = Field(description="Everybody, each two people, topics.")
    hint: str = Field(default="", description="What to do, where there is nothing to compare.")


class Verdict(Record):
    """One verdict as the figures count it."""

    item: str = Field(description="The record's id, or both ids of a couple.")
    prompt: str = Field(description="The prompt's id: what the bootstrap draws.")
    person: str = Field(description="Who.")
    label: str = Field(description="What; of couples without the sides on the screen.")
    topic: str = Field(default="", description="Topic label.")


class JudgeStats(Record):
    """How far a judge or verifier agrees with people."""

    judge: str = Field(description="The judge with its model, or `verifier`.")
    of: Literal["votes", "scores", "verifier"] = Field(description="What is compared.")
    line: float | None = Field(default=None, description="Scores from here on count as kept.")
    agreement: Between = Field(description="Share and kappa.")
    separation: Estimate | None = Field(
        default=None, description="Scores: chance that a kept answer scores above a rejected one."
    )
    advice: str = Field(description="In words.")
    is_usable: bool = Field(description="True when the interval lies above tentative agreement.")


class RankingReport(Record):
    """Models by strength, with win rates."""

    sources: Literal["people", "judges", "imports", "all"] = Field(description="Whose votes.")
    voter: str = Field(default="", description="Only this voter or judge.")
    voters: dict[str, int] = Field(
        description="Who voted, and how many preferences; of people, for who is no owner, oneself."
    )
    people_votes: int = Field(description="All blind votes of people on two models.")
    sighted: bool = Field(description="Whether votes cast with the names shown count too.")
    sighted_votes: int = Field(description="How many of these people gave on two models.")
    ranking: Ranking = Field(description="Bradley-Terry strengths.")
    rates: tuple[WinRate, ...] = Field(description="Each model over all, then each against each.")
    length_controlled: tuple[LengthControlled, ...] = Field(
        description="Against the anchor at equal length."
    )


def decision_ratings(rows: Iterable[Row], *, coarse: bool = False) -> list[Rating]:
    """Decisions as ratings; coarse: an edit keeps the record as an accept does."""
    return [
        Rating(
            row["item"],
            row["cluster"],
            row["rater"],
            _kept(row["label"]) if coarse else row["label"],
            row.get("topic", ""),
        )
        for row in rows
    ]


def vote_ratings(rows: Iterable[Row]) -> list[Rating]:
    """Votes as ratings of couples, without sides."""
    return [
        Rating(
            couple_key(row["left_id"], row["right_id"]),
            row["cluster"],
            row["rater"],
            label_of(row["left_id"], row["right_id"], row["outcome"]),
            row["topic"],
        )
        for row in rows
    ]


def judge_ratings(rows: Iterable[Row]) -> list[Rating]:
    """What judges say of couples, as ratings."""
    return [
        Rating(
            couple_key(row["first_id"], row["second_id"]),
            row["cluster"],
            row["judge"],
            _no_both_bad(label_of(row["first_id"], row["second_id"], row["outcome"])),
            row["topic"],
        )
        for row in rows
    ]


def without_both_bad(ratings: Iterable[Rating]) -> list[Rating]:
    """Both bad counts as a tie: most judges cannot say it."""
    return [Rating(r.item, r.cluster, r.rater, _no_both_bad(r.label), r.topic) for r in ratings]


def judge_votes(judge: str, said: Sequence[Rating], people: Sequence[Rating]) -> JudgeStats:
    """A judge's preferences against people's votes."""
    agreement = between(people, said, ("first", "second", "tie"))
    return _judge_stats(judge, "votes", agreement)


def judge_scores(judge: str, rows: Sequence[Row], line: float) -> JudgeStats:
    """A judge's scores against people's decisions; a score from `line` on says keep."""
    kept = [_kept(row["label"]) == KEPT_LABELS[0] for row in rows]
    said = {
        row["item"]: Rating(row["item"], row["cluster"], judge, KEPT_LABELS[row["score"] < line])
        for row in rows
    }
    agreement = between(decision_ratings(rows, coarse=True), said.values(), KEPT_LABELS)
    apart = separation([r["score"] for r in rows], kept, [r["cluster"] for r in rows])
    return _judge_stats(judge, "scores", agreement, line=line, separation=apart)


def verifier_stats(rows: Sequence[Row]) -> JudgeStats | None:
    """Stored verdicts of verifiers against people's decisions; None where there are none."""
    said: dict[str, Rating] = {}
    for row in rows:
        verdict = stored_verdict(json.loads(row["params"]))
        if verdict is not None:
            label = KEPT_LABELS[verdict.score < 0.5]
            said[row["item"]] = Rating(row["item"], row["cluster"], "verifier", label)
    if not said:
        return None
    agreement = between(decision_ratings(rows, coarse=True), said.values(), KEPT_LABELS)
    return _judge_stats("verifier", "verifier", agreement)


def advice_on(agreement: Between) -> tuple[str, bool]:
    """(what to make of it in words, whether the judge is usable on the rest)."""
    kappa = agreement.kappa
    if kappa.value is None or kappa.low is None or kappa.high is None:
        return f"Nothing can be said: {kappa.why or 'too few verdicts of people.'}", False
    if kappa.low <= 0:
        return (
            "Not shown to be better than chance: do not rely on it. More verdicts of people would"
            " tell more.",
            False,
        )
    if kappa.low >= FIRM:
        return "Agrees with people closely: fit to decide the rest, with samples checked.", True
    if kappa.low >= TENTATIVE:
        return "Agrees with people well: usable on the rest, with samples checked.", True
    if kappa.high < TENTATIVE:
        return "Agrees with people in part only: a hint, no substitute.", False
    return "Agrees with people in part, perhaps well: more of their verdicts would tell.", False


def _judge_stats(
    judge: str,
    of: Literal["votes", "scores", "verifier"],
    agreement: Between,
    line: float | None = None,
    separation: Estimate | None = None,
) -> JudgeStats:
    advice, is_usable = advice_on(agreement)
    return JudgeStats(
        judge=judge,
        of=of,
        line=line,
        agreement=agreement,
        separation=separation,
        advice=advice,
        is_usable=is_usable,
    )


def _kept(label: str) -> str:
    return KEPT_LABELS[label == "reject"]


def _no_both_bad(label: str) -> str:
    return "tie" if label == "both_bad" else label
