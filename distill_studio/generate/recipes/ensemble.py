"""An ensemble of teachers: all answers, the best by judge or verifier, or the majority's.

Majority: self-consistency (arXiv 2203.11171) over teachers and samples. Who won, and how, goes
into the answer's provenance.
"""

from collections.abc import Generator, Sequence
from typing import Any

from distill_studio.core.lenient_json import Unreadable
from distill_studio.generate.effects import (
    ELIMINATED,
    NOT_VERIFIED,
    UNREADABLE,
    Check,
    Dropped,
    Made,
    Steps,
    Unit,
)
from distill_studio.generate.prompts import load_prompts
from distill_studio.generate.recipes.base import Settings
from distill_studio.generate.recipes.candidates import (
    CANDIDATE,
    SCORE,
    Candidate,
    ask_candidates,
    best_first,
    different,
    score_all,
)
from distill_studio.generate.recipes.verified import verdict_on, written
from distill_studio.judge import majority
from distill_studio.verify import Verdict
from distill_studio.verify.final_answer import final_answer

KEEP_ALL = "keep all"
BY_JUDGE = "best by judge"
BY_VERIFIER = "best by verifier"
_FIRST = f"{CANDIDATE}/0"
_LONGEST_PLAIN = 80  # characters of an answer without a mark that may be a final answer as it is


class Ensemble:
    """Every teacher answers each seed; one answer is kept, or all are."""

    prompts = load_prompts("ensemble")

    def samples(self, n: int) -> int:
        """One run over each seed: it asks every teacher."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """Answers, then the choice."""
        how = settings.word("keep")
        candidates = yield from ask_candidates(unit, settings, settings.number("each"))
        if how == KEEP_ALL:
            return Made(tuple(c.draft(ensemble={"keep": how}) for c in different(candidates)))
        if how == BY_JUDGE:
            judged = yield from score_all(different(candidates), unit, settings)
            best = _best(judged)
            found: dict[str, Any] = {"scores": {str(c.place): c.score for c in judged}}
        elif how == BY_VERIFIER:
            best, found = yield from first_that_holds(candidates, unit)
        else:
            best, found = most_say(candidates)
        asked = {str(c.place): c.teacher for c in candidates}
        won = {"keep": how, "won": best.teacher, "asked": asked} | found
        return Made((best.draft(ensemble=won),))


def _best(judged: Sequence[Candidate]) -> Candidate:
    """The one with the highest score.

    Raises:
        Dropped: No reply of the judge could be read.
    """
    ranked = best_first(judged)
    if not ranked:
        first = judged[0]
        why = (first.judged or {}).get("unreadable", "")
        raise Dropped(f"{SCORE}/{first.place}", UNREADABLE, f"No score could be read: {why}")
    return ranked[0]


def first_that_holds(
    candidates: Sequence[Candidate], unit: Unit
) -> Generator[Check, Verdict, tuple[Candidate, dict[str, Any]]]:
    """The shortest answer that agrees with the seed's reference or passes its tests.

    Raises:
        Dropped: The seed has neither, or no answer holds.
    """
    if not unit.seed.reference and "tests" not in unit.seed.extra:
        raise Dropped(_FIRST, ELIMINATED, "The seed has no reference answer and no tests.")
    verdicts: dict[str, str] = {}
    holding: list[Candidate] = []
    for candidate in candidates:
        verdict = yield from verdict_on(candidate.reply, unit.seed)
        verdicts[str(candidate.place)] = "holds" if verdict.ok else verdict.reason
        if verdict.ok:
            holding.append(candidate)
    if not holding:
        reason = f"None of {len(candidates)} answers holds: {verdicts[str(candidates[0].place)]}"
        raise Dropped(_FIRST, NOT_VERIFIED, reason, written(candidates[0].reply))
    best = min(holding, key=lambda c: (len(written(c.reply)), c.place))
    return best, {"verdicts": verdicts}


def most_say(candidates: Sequence[Candidate]) -> tuple[Candidate, dict[str, Any]]:
    """The first answer whose final answer is the most frequent.

    Raises:
        Dropped: No answer has a final answer, or two final answers are equally frequent.
    """
    try:
        found = majority([c.reply.text for c in candidates], _said)
    except Unreadable as err:
        raise Dropped(_FIRST, ELIMINATED, str(err), _all_of(candidates)) from err
    if not found.is_clear:
        told = ", ".join(f"{key} ({count})" for key, count in found.counts.items())
        reason = f"No final answer has a majority: {told[:300]}."
        raise Dropped(_FIRST, ELIMINATED, reason, _all_of(candidates))
    return candidates[found.index], {"answer": found.key, "counts": found.counts}


def _all_of(candidates: Sequence[Candidate]) -> str:
    return "\n\n".join(f"{c.teacher}:\n{c.reply.text}" for c in candidates)


def _said(text: str) -> str:
    """The final answer in one form; a whole short answer counts as one."""
    final = final_answer(text)
    said = " ".join(final.text.casefold().split()).strip(" .$")
    return said if final.mark or len(said) <= _LONGEST_PLAIN else ""
