"""New comparisons: which two answers meet next, and on which sides. Start from `ComparisonMaker`.

A comparison is stored, sides and all, before it is shown; ids ascend in the order of a batch, and
the bench shows them in the order of ids. A share comes back later with the sides swapped, to
measure the voter.
"""

import random
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from distill_studio.agreement.design import Couple, Tally, most_informative
from distill_studio.core.ids import new_id
from distill_studio.core.records import Pair
from distill_studio.core.records.labelling import Portion
from distill_studio.prefer.blind import place
from distill_studio.prefer.pairing import matches, normalised
from distill_studio.store import agreement, comparisons, pairs, preferences
from distill_studio.store.database import Database, Row

# Which comparisons are made next; '': the oldest. `disagreement`: of those that others have begun.
Order = Literal["", "random", "informative", "disagreement"]
REPEAT_SHARE = 0.05  # of comparisons, shown again with sides swapped
REPEAT_AFTER = 10  # votes in between, so that nobody votes from memory of the last screen
_SEEDS_A_LOOK = 100


class ComparisonMaker:
    """Stores new comparisons for one person.

    Args:
        db: The store, in a write.
        user: For whom.
        now: Leases that end later are live.
    """

    def __init__(self, db: Database, user: str, now: datetime) -> None:
        self.db, self.user, self.now = db, user, now
        self._rng = random.SystemRandom()

    def make(self, portion: Portion, wanted: int, order: Order) -> None:
        """Store up to `wanted` new comparisons and the repeats that are due.

        Where the overlap asks for several votes, what others have begun comes first.
        """
        if portion.overlap > 1:
            joined = comparisons.joinable(
                self.db, portion, self.now, wanted, at_odds_first=order == "disagreement"
            )
            wanted -= self.compare(joined)
        repeats = self._repeats()
        wanted -= len(repeats)
        while order == "informative" and wanted > 0:
            found = self._informative(portion, wanted)
            if not found:  # what is left tells nothing of the models: any order will do
                break
            wanted -= len(found)
            self._store(self._spread(repeats, [self._placed(*two) for two in found]))
            repeats = []
        rows = [*repeats, *(self._placed(*two) for two in self._next(portion, wanted, order))]
        self._rng.shuffle(rows)
        self._store(rows)

    def compare(self, couples: Sequence[Row], *, is_final: bool = False) -> int:
        """Store a comparison of each two answers (`first_id`, `second_id`); returns how many."""
        rows = [self._placed(*two) for two in self._pairs_of(couples)]
        self._store([{**row, "is_final": is_final} for row in rows])
        return len(rows)

    def _next(self, portion: Portion, wanted: int, order: Order) -> list[tuple[Pair, Pair]]:
        """Up to `wanted` of the next seeds, the oldest or drawn by lot."""
        found: list[tuple[Pair, Pair]] = []
        if wanted <= 0:
            return found
        is_drawn = order in ("random", "informative")
        lot = _lot() if is_drawn else ""
        for candidates in comparisons.free_candidates(
            self.db, portion, self.now, _SEEDS_A_LOOK, lot
        ):
            met = matches(candidates, self._rng)
            if is_drawn:  # a look goes by the age of seeds
                self._rng.shuffle(met)
            found += met[: wanted - len(found)]
            if len(found) >= wanted:
                break
        return found

    def _informative(self, portion: Portion, wanted: int) -> list[tuple[Pair, Pair]]:
        """Up to `wanted`, in the order of what they tell about the models' strengths."""
        drawn = comparisons.couples_of_models(self.db, portion, self.now, wanted, _lot())
        if not drawn:
            return []
        votes = [Tally(**row) for row in agreement.meeting_counts(self.db)]
        waiting = comparisons.models_asked(self.db, self.user, self.now)
        chosen = most_informative(
            [Couple(**row) for row in drawn],
            votes,
            wanted,
            asked=[(row["first"], row["second"]) for row in waiting],
        )
        met = self._pairs_of([{"first_id": c.first_id, "second_id": c.second_id} for c in chosen])
        return [
            (one, other)
            for one, other in met
            if normalised(one.final_answer) != normalised(other.final_answer)
        ]

    def _repeats(self) -> list[Row]:
        counts = preferences.vote_counts(self.db, self.user, self.now)
        votes = counts["total"] - counts["rankings"]
        due = round(REPEAT_SHARE * votes) - comparisons.repeat_count(self.db, self.user)
        if due <= 0:
            return []
        return [
            {
                "seed_id": task["seed_id"],
                "left_pair_id": task["right_pair_id"],
                "right_pair_id": task["left_pair_id"],
                "user_name": self.user,
                "repeats": task["id"],
            }
            for task in comparisons.repeatable(self.db, self.user, REPEAT_AFTER, due)
        ]

    def _placed(self, first: Pair, second: Pair) -> Row:
        """A comparison with the sides drawn."""
        left, right = place(first, second, self._rng)
        return {
            "seed_id": left.seed_id,
            "left_pair_id": left.id,
            "right_pair_id": right.id,
            "user_name": self.user,
            "repeats": "",
        }

    def _spread(self, repeats: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
        """The repeats at any places among the rows, whose order stays."""
        mixed = list(rows)
        for repeat in repeats:
            mixed.insert(self._rng.randint(0, len(mixed)), repeat)
        return mixed

    def _store(self, rows: Sequence[Row]) -> None:
        preferences.add_tasks(self.db, [{**row, "id": new_id()} for row in rows])

    def _pairs_of(self, couples: Sequence[Row]) -> list[tuple[Pair, Pair]]:
        ids = [i for c in couples for i in (c["first_id"], c["second_id"])]
        found = {p.id: p for p in pairs.get(self.db, ids)}
        return [(found[c["first_id"]], found[c["second_id"]]) for c in couples]


def _lot() -> str:
    return secrets.token_hex(8)
