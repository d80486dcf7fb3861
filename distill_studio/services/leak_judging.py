"""Candidates read by a model: is a row's prompt a benchmark's item in other words?

What it says is an opinion (`store/leak_opinions`): shown beside the candidate with its name, and
without effect on rows unless the filter `contaminated` is told to heed it. Each reply is stored as
it comes, so that a job that was stopped goes on with what is missing.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from distill_studio.core.errors import TeacherError
from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest
from distill_studio.curate.text import conversation_text
from distill_studio.judge import (
    SameProblemPrompt,
    load_same_problem,
    read_same_problem,
    same_problem_request,
)
from distill_studio.store import leak_opinions as table
from distill_studio.store import pairs
from distill_studio.store.database import Database, Row

_FIRST, _AT_ONCE = 16, 200  # requests handed over together: few until one was answered
_SAID = {"yes": "leak", "no": "not_leak", "unsure": "unsure"}


@dataclass
class LeakJudge:
    """One teacher at work on the queue, for a job.

    Args:
        db: The store.
        model: Who is asked.
        teacher: Its name for people.
        job_id: Kept with what it says.
        user: Who started it.
        prompt: Texts of the request.
    """

    db: Database
    model: ChatModel
    teacher: str
    job_id: str
    user: str
    prompt: SameProblemPrompt = field(default_factory=load_same_problem)

    def run(
        self,
        pack_ids: Sequence[str],
        most: int,
        progress: Progress = no_progress,
        cancel: CancelToken | None = None,
    ) -> dict[str, int]:
        """Ask about the first `most` open candidates that this teacher has not read yet.

        Returns:
            What was said, by `leak`, `not_leak`, `unsure`, `unreadable`, `failed`.

        Raises:
            TeacherError: No request was answered; says why.
            Cancelled: Somebody stopped it; what was said is stored.
        """
        rows = table.to_ask(self.db, pack_ids, self.teacher, self.prompt.version, most)
        said: Counter[str] = Counter()
        start = 0

        async def ask() -> None:
            nonlocal start
            while start < len(rows):
                some = rows[start : start + (_AT_ONCE if start else _FIRST)]
                await self._ask(some, said, len(rows), progress, cancel)
                start += len(some)

        progress(0, len(rows), "asking")
        asyncio.run(ask())
        if cancel is not None:
            cancel.raise_if_cancelled()
        return dict(said)

    async def _ask(
        self,
        rows: Sequence[Row],
        said: Counter[str],
        total: int,
        progress: Progress,
        cancel: CancelToken | None,
    ) -> None:
        if cancel is not None:
            cancel.raise_if_cancelled()
        reason = ""
        async for reply in self.model.generate(self._requests(rows), cancel):
            opinion = self._opinion(rows[int(reply.key)], reply)
            table.save(self.db, [opinion])
            said[opinion["said"]] += 1
            reason = opinion["reason"] if opinion["said"] == "failed" else reason
            progress(said.total(), total, _in_words(said))
        if reason and said.total() == said["failed"]:
            raise TeacherError(f"None of {said.total()} requests was answered: {reason}")

    def _requests(self, rows: Sequence[Row]) -> list[ChatRequest]:
        found = {pair.id: pair for pair in pairs.get(self.db, [row["pair_id"] for row in rows])}
        return [
            same_problem_request(
                str(number),
                row["prompt"],
                conversation_text(found[row["pair_id"]].messages),
                answer=row["answer"],
                prompt=self.prompt,
            )
            for number, row in enumerate(rows)
            if row["pair_id"] in found
        ]

    def _opinion(self, row: Row, reply: ChatReply) -> Row:
        if not reply.is_ok:
            said, reason = "failed", reply.error
        else:
            try:
                read = read_same_problem(reply.text)
                said, reason = _SAID[read.said], read.reason
            except Unreadable as err:
                said, reason = "unreadable", f"{err.user_message} It wrote: {reply.text[:500]}"
        return {
            "item_key": row["item_key"],
            "text_hash": row["text_hash"],
            "teacher": self.teacher,
            "model": reply.model or self.model.name,
            "prompt_version": self.prompt.version,
            "said": said,
            "reason": reason,
            "job_id": self.job_id,
            "user_name": self.user,
        }


def _in_words(said: Counter[str]) -> str:
    """What a running job says of itself."""
    words = {
        "leak": "the same",
        "not_leak": "not the same",
        "unsure": "unsure",
        "unreadable": "unreadable",
        "failed": "failed",
    }
    return ", ".join(f"{said[key]} {text}" for key, text in words.items() if said[key])
