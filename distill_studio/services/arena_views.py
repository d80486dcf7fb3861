"""What the arena answers with, and how rows of the store become it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from distill_studio.agreement.bradley_terry import Meeting, Strength
from distill_studio.agreement.length_control import LengthControlled
from distill_studio.agreement.order_bias import BothOrders, OrderLean, order_lean
from distill_studio.agreement.tables import Between
from distill_studio.core.estimate import Estimate
from distill_studio.core.records import Record
from distill_studio.evaluate.wins import WinRate
from distill_studio.services.agreement_views import JudgeStats
from distill_studio.services.meetings import Chosen
from distill_studio.store.arena import NOTHING_SAID
from distill_studio.store.database import Row


class ArenaRow(Record):
    """A model's place in the arena."""

    model: str = Field(description="Teacher, base or student, by its name.")
    rating: float | None = Field(description="Bradley-Terry points; None: no finite estimate.")
    low: float | None = Field(description="Lower end of its 95% interval; None: open.")
    high: float | None = Field(description="Upper end; None: open.")
    n: int = Field(description="Comparisons that rating and rates rest on.")
    prompts: int = Field(description="Different prompts among them.")
    people_votes: int = Field(
        description="Votes of people on its answers, whoever is counted; blind ones, or all."
    )
    judge_votes: int = Field(description="Votes of judges on its answers, whoever is counted.")
    win_rate: Estimate = Field(description="Over all others that it met, ties half.")
    equal_length: Estimate = Field(description="The same, as if answers were equally long.")
    why: str = Field(default="", description="In words, where the rating or an end is missing.")


class ArenaJudgeStats(Record):
    """A judge in the arena: how steady it is and how far it agrees with people."""

    judge: str = Field(description="The judge with its model.")
    votes: int = Field(description="Its votes that count.")
    lost: int = Field(default=0, description="Couples of which its replies were no use.")
    order: OrderLean | None = Field(
        default=None, description="Verdicts in both orders; None for judges of recipes and files."
    )
    with_people: Between = Field(description="Agreement on the comparisons that both voted on.")
    advice: str = Field(description="What to make of that, in words.")
    is_usable: bool = Field(description="True when the agreement is shown to be good enough.")
    warning: str = Field(default="", description="Of which compared models it is a relative.")


class ArenaReport(Record):
    """Models by strength with what their places rest on."""

    sources: Chosen = Field(description="Whose votes are counted.")
    voter: str = Field(default="", description="Only this voter or judge.")
    voters: dict[str, int] = Field(
        description="Who voted, and how many preferences; of people, for who is no owner, oneself."
    )
    anchor: str = Field(description="The model fixed at 1000 points.")
    n: int = Field(description="Comparisons counted.")
    prompts: int = Field(description="Different prompts among them.")
    people_votes: int = Field(description="All blind votes of people on two models.")
    sighted: bool = Field(description="Whether votes cast with the names shown count too.")
    sighted_votes: int = Field(description="How many of these people gave on two models.")
    judge_votes: int = Field(description="All votes of judges on two models.")
    left_out: int = Field(description="Votes on what was compared because a student lost it.")
    rows: tuple[ArenaRow, ...] = Field(description="Best first.")
    rates: tuple[WinRate, ...] = Field(description="Each model against each.")
    judges: tuple[ArenaJudgeStats, ...] = Field(description="By name.")
    comparisons: int = Field(description="Stored comparisons that a judge may vote on.")


class ArenaCandidate(Record):
    """A teacher that can be asked to judge."""

    judge: str = Field(description="The teacher's name.")
    model: str = Field(description="Its model.")
    read: int = Field(description="Comparisons that it has voted on.")
    comparisons: int = Field(description="Comparisons there are.")
    warning: str = Field(default="", description="Of which compared models it is a relative.")


def voter_name(judge: str, model: str) -> str:
    """Whose votes a judge's are: with another model of the same name they are another's."""
    return judge if model in ("", judge) else f"{judge} ({model})"


def arena_rows(
    strengths: Sequence[Strength],
    rates: Sequence[WinRate],
    controlled: Sequence[LengthControlled],
    votes: Mapping[str, tuple[int, int]],
) -> tuple[ArenaRow, ...]:
    """A row per model in the order of the strengths; `votes`: of people and of judges."""
    rate_of = {rate.model: rate for rate in rates if not rate.against}
    equal_of = {one.model: one.rate for one in controlled}
    return tuple(
        ArenaRow(
            **strength.model_dump(exclude={"schema_version"}),
            people_votes=votes.get(strength.model, (0, 0))[0],
            judge_votes=votes.get(strength.model, (0, 0))[1],
            win_rate=_estimate(rate_of[strength.model]),
            equal_length=equal_of[strength.model],
        )
        for strength in strengths
    )


def votes_by_model(
    people: Iterable[Meeting], judges: Iterable[Meeting]
) -> dict[str, tuple[int, int]]:
    """Model -> how many votes of people and of judges it took part in."""
    counts = [
        Counter(name for m in kind for name in (m.first, m.second)) for kind in (people, judges)
    ]
    return {name: (counts[0][name], counts[1][name]) for name in counts[0] | counts[1]}


def judge_rows(
    votes: Mapping[str, int],
    readings: Sequence[Row],
    agreements: Mapping[str, JudgeStats],
    warnings: Mapping[str, str],
) -> tuple[ArenaJudgeStats, ...]:
    """A row per judge.

    Args:
        votes: Judge -> votes that count.
        readings: `store.arena.readings`.
        agreements: Judge -> agreement with people.
        warnings: Judge -> of whom it is a relative.
    """
    by_voter: dict[str, list[Row]] = defaultdict(list)
    for row in readings:
        by_voter[row["voter"]].append(row)
    rows = []
    for judge in sorted({*votes, *by_voter}):
        own, agreement = by_voter.get(judge, []), agreements[judge]
        rows.append(
            ArenaJudgeStats(
                judge=judge,
                votes=votes.get(judge, 0),
                lost=sum(row["said"] in NOTHING_SAID for row in own),
                order=order_lean(_both_orders(own)) if own else None,
                with_people=agreement.agreement,
                advice=agreement.advice,
                is_usable=agreement.is_usable,
                warning=warnings.get(judge, ""),
            )
        )
    return tuple(rows)


def _both_orders(rows: Iterable[Row]) -> list[BothOrders]:
    return [BothOrders(r["prompt"], r["forward"], r["swapped"]) for r in rows if r["forward"]]


def _estimate(rate: WinRate) -> Estimate:
    """A win rate as an estimate; of one prompt there is no interval."""
    if rate.prompts < 2:
        return Estimate(value=rate.rate, n=rate.n, why="One prompt only: no interval.")
    return Estimate(value=rate.rate, low=rate.low, high=rate.high, n=rate.n)
