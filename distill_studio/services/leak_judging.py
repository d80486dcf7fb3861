"""Candidates read by a model: is a row's prompt a benchmark's item in other words?

What it says is an opinion (`store/leak_opinions`): shown beside the candidate with its name, and
without effect on rows unless the filter `contaminated` is told to heed it. Each reply is stored as
it comes, so that a job that was stopped goes on with what is missing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest
from distill_studio.curate.text import conversation_text
from distill_studio.judge import (
    SameProblemPrompt,
    load_same_problem,
    read_same_problem,
    same_problem_request,
)
from distill_studio.services.asking import Asking
from distill_studio.services.jobs import JobContext
from distill_studio.store import leak_opinions as table
from distill_studio.store import pairs
from distill_studio.store.database import Database, Row

_READ_AT_ONCE = 100  # rows whose texts are read in one query
_SAID = {"yes": "leak", "no": "not_leak", "unsure": "unsure"}


@dataclass
class LeakJudge:
    """One teacher at work on the queue, for a job.

    Args:
        db: The store.
        asking: Whose teacher it is.
        model: Who is asked.
        teacher: Its name for people.
        context: Of the job, which is kept with what it says.
        prompt: Texts of the request.
    """

    db: Database
    asking: Asking
    model: ChatModel
    teacher: str
    context: JobContext
    prompt: SameProblemPrompt = field(default_factory=load_same_problem)

    def run(self, pack_ids: Sequence[str], most: int) -> Counter[str]:
        """Ask about the first `most` open candidates that this teacher has not read yet.

        Returns:
            What was said, by `leak`, `not_leak`, `unsure`, `unreadable`, `failed`.

        Raises:
            TeacherError: See `Asking.each`.
            Cancelled: Somebody stopped it; what was said is stored.
        """
        rows = table.to_ask(self.db, pack_ids, self.teacher, self.prompt.version, most)

        def take(reply: ChatReply) -> str:
            opinion = self._opinion(rows[int(reply.key)], reply)
            table.save(self.db, [opinion])
            return str(opinion["said"])

        return self.asking.each(
            self.model,
            self._requests(rows),
            take,
            self.context,
            total=len(rows),
            words=_in_words,
        )

    def _requests(self, rows: Sequence[Row]) -> Iterator[ChatRequest]:
        """A request for each row whose pair is still there; its key is the row's place."""
        for start in range(0, len(rows), _READ_AT_ONCE):
            some = rows[start : start + _READ_AT_ONCE]
            found = {pair.id: pair for pair in pairs.get(self.db, [row["pair_id"] for row in some])}
            for number, row in enumerate(some, start):
                if row["pair_id"] in found:
                    yield same_problem_request(
                        str(number),
                        row["prompt"],
                        conversation_text(found[row["pair_id"]].messages),
                        answer=row["answer"],
                        prompt=self.prompt,
                    )

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
            "job_id": self.context.job.id,
            "user_name": self.context.actor.user,
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
