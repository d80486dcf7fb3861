"""A vote over a comparison becomes rows: a seed, pairs, tasks, votes and so preferences.

Start from `record_verdict` (a person's) and `record_judgement` (a judge's, on two of its answers).
Everything of a person's has a key that follows from the comparison, the voter and the vote's id, so
that sending a vote twice, or a crash in between, stores it once.
"""

from itertools import combinations
from typing import Literal

from distill_studio.core.ids import content_hash
from distill_studio.core.records import Outcome, Pair, Preference, Seed, Vote
from distill_studio.core.records.comparison import Comparison, Verdict
from distill_studio.evaluate.duels import Duel, duels
from distill_studio.store import arena, pairs, preferences, seeds
from distill_studio.store import evaluations as table
from distill_studio.store.database import Database, Row

SOURCE = "arena"


def record_verdict(db: Database, comparison: Comparison, verdict: Verdict) -> None:
    """Store a verdict and what follows from it, in one transaction; a known id changes nothing.

    What the voter said before is read inside it: two votes may come at the same moment, and the
    later one takes back whatever then stands. A vote is blind where the comparison hides its names
    and no earlier vote of this person on it, after which they were shown, said otherwise.

    Args:
        db: The store.
        comparison: A stored one, unmasked.
        verdict: The new vote.

    Raises:
        InvalidInput: There is nothing to vote on, or no such winner.
    """
    wanted = duels(comparison, verdict.winner)
    with db.write():
        earlier = table.winners_of(db, comparison.id, verdict.user)
        if not table.add_vote(db, comparison.id, verdict):
            return
        pair_ids = _pair_ids(db, comparison)
        seed_id = pairs.get(db, list(pair_ids.values())[:1])[0].seed_id
        votes = _undoing(db, comparison, verdict)
        rows = []
        for duel in wanted:
            task_id = _task_id(comparison, verdict.user, duel.left, duel.right)
            rows.append({
                "id": task_id,
                "seed_id": seed_id,
                "left_pair_id": pair_ids[duel.left],
                "right_pair_id": pair_ids[duel.right],
                "user_name": verdict.user,
                "source": SOURCE,
            })
            votes.append(_vote(verdict, duel, task_id))
        preferences.add_tasks(db, rows)
        names_shown = not comparison.is_blind or bool(set(earlier) - {verdict.winner})
        preferences.record_votes(db, verdict.user, votes, names_shown=names_shown)


def record_judgement(
    db: Database, comparison: Comparison, said: Literal["left", "right", "tie"] | None, row: Row
) -> None:
    """Store what a judge said of two answers, and the vote that follows, in one transaction.

    It is a preference of the judge's own (source `judge`), ranks models and is no data to train on,
    and takes the place of what the same judge said of the two before.

    Args:
        db: The store.
        comparison: Unmasked.
        said: Which one is better; None where the replies were no use: then only `row` is stored.
        row: The columns of `arena_verdicts` (see `store.arena.save`).
    """
    with db.write():
        preference = None
        if said is not None:
            ids = _pair_ids(db, comparison)
            left, right = ids[row["left_place"]], ids[row["right_place"]]
            preference = Preference(
                seed_id=pairs.get(db, [left])[0].seed_id,
                chosen_pair_id=right if said == "right" else left,
                rejected_pair_id=left if said == "right" else right,
                outcome="tie" if said == "tie" else "win",
                user=row["voter"],
                source="judge",
            )
        arena.save(db, row, preference)


def _pair_ids(db: Database, comparison: Comparison) -> dict[int, str]:
    """Place -> pair id, stored when missing."""
    seed = Seed(messages=comparison.messages, source=SOURCE)
    seed_id = seeds.insert(db, [seed])[seed.id]
    good = [(i, a) for i, a in enumerate(comparison.answers) if a.is_ok]
    made = [
        Pair(
            seed_id=seed_id,
            messages=comparison.messages,
            answer=answer.text,
            source=SOURCE,
            teacher=answer.card.label,
            model=answer.card.model,
            recipe=pairs.COMPARED,
            params=comparison.sampling,
            job_id=comparison.id,
            sample=place,
            finish_reason="length" if answer.is_cut else "",
            completion_tokens=answer.stats.tokens if answer.stats.is_exact else None,
            latency_ms=answer.stats.total_s and answer.stats.total_s * 1000,
        )
        for place, answer in good
    ]
    pairs.insert(db, made)
    stored = pairs.page(db, pairs.PairQuery(job_id=comparison.id))
    return {pair.sample: pair.id for pair in stored}


def _undoing(db: Database, comparison: Comparison, verdict: Verdict) -> list[Vote]:
    """Votes that take back everything that this voter's earlier verdicts still say."""
    couples = combinations(range(len(comparison.answers)), 2)
    tasks = [_task_id(comparison, verdict.user, left, right) for left, right in couples]
    return [
        Vote(
            id=f"{verdict.vote_id}-u{number}",
            task_id=row["task_id"],
            outcome=Outcome.UNDO,
            undoes=row["id"],
            made_at=verdict.made_at,
        )
        for number, row in enumerate(preferences.standing_votes(db, verdict.user, tasks))
    ]


def _vote(verdict: Verdict, duel: Duel, task_id: str) -> Vote:
    return Vote(
        id=f"{verdict.vote_id}-{duel.left}{duel.right}",
        task_id=task_id,
        outcome=duel.outcome,
        made_at=verdict.made_at,
    )


def _task_id(comparison: Comparison, user: str, left: int, right: int) -> str:
    return content_hash([comparison.id, user, left, right])[:36]
