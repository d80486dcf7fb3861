"""What recipes ask for besides teachers: verdicts, novelty among all prompts, examples."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING

from distill_studio.core.ids import content_hash
from distill_studio.generate.effects import Check, Draw, Nearest, Novel, Unit
from distill_studio.generate.novelty import Pool
from distill_studio.generate.recipes.base import Example
from distill_studio.store import generation as table
from distill_studio.store import pairs as pairs_table
from distill_studio.store import seeds as seeds_table
from distill_studio.verify import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill_studio.services.workspace import Workspace
    from distill_studio.store.database import Database

_MOST_EXAMPLES = 5000  # prompts to draw from; Self-Instruct had 175


class GenerationHelp:
    """Implements the runner's `Helpers` over a workspace.

    Args:
        workspace: Whose prompts count.
        selection: The generation's seeds: what people's examples are drawn from.
        job_id: Marks the prompts that the generation itself made.
    """

    def __init__(self, workspace: Workspace, selection: str, job_id: str) -> None:
        self._workspace = workspace
        self._selection = selection
        self._job_id = job_id
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._drawn_from: tuple[list[str], list[str]] | None = None

    async def check(self, check: Check) -> Verdict:
        """The verdict of the app's verifier processes."""
        verifier = self._workspace.studio.verifier
        return await verifier.verify(check.kind, check.text, check.reference)

    async def novel(self, novel: Novel) -> Nearest:
        """Compared with every prompt of the workspace and those admitted since."""
        return await asyncio.to_thread(self._admit, novel)

    def draw(self, unit: Unit, draw: Draw) -> tuple[str, ...]:
        """Prompts of the selection and of this generation's own, never the unit's seed."""
        people, own = self._prompts()
        key = [unit.seed.content_hash, unit.sample, unit.attempt, draw.step]
        chance = random.Random(content_hash(key))
        others = [prompt for prompt in people if prompt != unit.seed.prompt]
        return (
            *chance.sample(others, min(draw.people, len(others))),
            *chance.sample(own, min(draw.own, len(own))),
        )

    def _admit(self, novel: Novel) -> Nearest:
        with self._lock:
            if self._pool is None:
                self._pool = Pool(seeds_table.prompts(self._workspace.db))
        nearest = self._pool.admit(novel.text, novel.limit)
        if nearest.is_new:
            self._prompts()[1].append(novel.text)
        return nearest

    def _prompts(self) -> tuple[list[str], list[str]]:
        with self._lock:
            if self._drawn_from is None:
                db = self._workspace.db
                self._drawn_from = (
                    table.selected_prompts(db, self._selection, _MOST_EXAMPLES),
                    table.made_prompts(db, self._job_id, _MOST_EXAMPLES),
                )
            return self._drawn_from


def examples(db: Database, pair_ids: Sequence[str]) -> list[Example]:
    """Accepted pairs as examples, as people left them, in the given order."""
    found = {pair.id: pair for pair in pairs_table.get(db, pair_ids)}
    return [
        Example(pair.id, pair.seed_id, pair.prompt, pair.final_answer)
        for pair in (found[i] for i in pair_ids if i in found)
    ]
