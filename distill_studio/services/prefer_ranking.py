"""New rankings: which answers of a prompt meet, and in what order. Start from `RankingMaker`.

As for comparisons of two: stored, order and all, before they are shown, and shown in the order of
ids. A share comes back later the other way round, so that every two of its answers have changed
sides.
"""

import random
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from distill_studio.core.ids import new_id
from distill_studio.core.records.labelling import Portion
from distill_studio.core.records.preference import FEWEST_RANKED
from distill_studio.prefer.ranking import groups
from distill_studio.services.prefer_making import REPEAT_AFTER, REPEAT_SHARE
from distill_studio.store import comparisons, preferences, rankings
from distill_studio.store.database import Database, Row

RankOrder = Literal["", "random"]  # of which prompts rankings are made next; '': the oldest
_SEEDS_A_LOOK = 100


class RankingMaker:
    """Stores new rankings for one person.

    Args:
        db: The store, in a write.
        user: For whom.
        now: Leases that end later are live.
    """

    def __init__(self, db: Database, user: str, now: datetime) -> None:
        self.db, self.user, self.now = db, user, now
        self._rng = random.SystemRandom()

    def make(self, portion: Portion, wanted: int, order: RankOrder) -> None:
        """Store up to `wanted` new rankings and the repeats that are due.

        Where the overlap asks for several votes, what others have begun comes first.
        """
        if portion.overlap > 1:
            begun = rankings.joinable(self.db, portion, self.now, wanted)
            wanted -= len(begun)
            self._store([self._drawn(row) for row in begun])
        repeats = self._repeats()[: max(0, wanted)]
        rows = [*repeats, *self._new(portion, wanted - len(repeats), order)]
        if order or repeats:  # a repeat must not be known by its place
            self._rng.shuffle(rows)
        self._store(rows)

    def _new(self, portion: Portion, wanted: int, order: RankOrder) -> list[Row]:
        found: list[Row] = []
        if wanted <= 0:
            return found
        lot = secrets.token_hex(8) if order else ""
        looks = comparisons.free_candidates(
            self.db, portion, self.now, _SEEDS_A_LOOK, lot, least=FEWEST_RANKED
        )
        for candidates in looks:
            by_seed: dict[str, list[Row]] = {}
            for seed in dict.fromkeys(pair.seed_id for pair in candidates):
                made = groups([p for p in candidates if p.seed_id == seed], self._rng)
                by_seed[seed] = [self._task([p.id for p in group], seed) for group in made]
            seeds = list(by_seed)
            if order:  # a look goes by the age of answers
                self._rng.shuffle(seeds)
            found += [row for seed in seeds for row in by_seed[seed]]
            if len(found) >= wanted:
                break
        return found[:wanted]

    def _repeats(self) -> list[Row]:
        done = preferences.vote_counts(self.db, self.user, self.now)["rankings"]
        due = round(REPEAT_SHARE * done) - rankings.repeat_count(self.db, self.user)
        if due <= 0:
            return []
        return [
            self._task(task["pair_ids"][::-1], task["seed_id"]) | {"repeats": task["id"]}
            for task in rankings.repeatable(self.db, self.user, REPEAT_AFTER, due)
        ]

    def _drawn(self, begun: Row) -> Row:
        """Answers that others rank, in an order of this person's own."""
        ids = list(begun["pair_ids"])
        self._rng.shuffle(ids)
        return self._task(ids, begun["seed_id"])

    def _task(self, pair_ids: Sequence[str], seed_id: str) -> Row:
        return {
            "seed_id": seed_id,
            "left_pair_id": pair_ids[0],
            "right_pair_id": pair_ids[1],
            "pair_ids": list(pair_ids),
            "user_name": self.user,
        }

    def _store(self, rows: Sequence[Row]) -> None:
        preferences.add_tasks(self.db, [{**row, "id": new_id()} for row in rows])
