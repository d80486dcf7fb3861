"""A judge over stored comparisons: each two answers are read in both orders.

An answer wins only when it is preferred in both; everything else is a tie. The votes are the
judge's own. Each is stored as soon as both replies are there, so that a job that was stopped goes
on with what is missing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, islice
from typing import Literal

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest
from distill_studio.core.records.comparison import Comparison
from distill_studio.judge import (
    OrderVerdict,
    PairwisePrompt,
    PairwiseResult,
    load_pairwise,
    pairwise_requests,
    read_pairwise,
)
from distill_studio.services.arena_votes import record_judgement
from distill_studio.services.asking import Asking
from distill_studio.services.jobs import JobContext
from distill_studio.store import arena as table
from distill_studio.store import evaluations
from distill_studio.store.database import Database, Row

Vote = Literal["left", "right", "tie"]
_LOOKED_AT = 100  # comparisons whose readings are asked for in one query
_VOTES: dict[str, Vote] = {"first": "left", "second": "right", "tie": "tie"}
_WORDS = {
    "left": "for the left",
    "right": "for the right",
    "tie": "ties",
    "unreadable": "unreadable",
    "failed": "failed",
}


@dataclass(frozen=True)
class Couple:
    """Two answers of a comparison, by their places from 0."""

    comparison: Comparison
    left: int
    right: int

    @property
    def is_same(self) -> bool:
        """There is nothing to choose between the same words."""
        texts = [self.comparison.answers[k].text.strip() for k in (self.left, self.right)]
        return texts[0] == texts[1]


@dataclass
class ArenaJudge:
    """One judge at work on the comparisons, for a job.

    Args:
        db: The store.
        asking: Whose teacher it is.
        model: Who is asked.
        judge: The teacher's name.
        model_id: Its model.
        voter: Whose votes these are: the judge with its model.
        context: Of the job, which is kept with what it says.
        prompt: Texts of the request.
    """

    db: Database
    asking: Asking
    model: ChatModel
    judge: str
    model_id: str
    voter: str
    context: JobContext
    prompt: PairwisePrompt = field(default_factory=load_pairwise)

    def run(self, most: int) -> Counter[str]:
        """Vote on up to `most` comparisons that this judge has not read: people's first.

        Returns:
            What was said, by `left`, `right`, `tie`, `unreadable`, `failed`.

        Raises:
            TeacherError: See `Asking.each`.
            Cancelled: Somebody stopped it; what was said is stored.
        """
        job_id = self.context.job.id
        couples = list(waiting(self.db, self.voter, self.prompt.version, most, job_id))
        said: Counter[str] = Counter()
        for couple in couples:
            if couple.is_same:
                self.context.cancel.raise_if_cancelled()
                same = "The two answers have the same words."
                said[self._keep(couple, "tie", reason=same)] += 1
        asked = {str(k): couple for k, couple in enumerate(couples) if not couple.is_same}
        requests = (requests_of(k, couple, self.prompt) for k, couple in asked.items())
        heard: dict[str, dict[str, ChatReply]] = {key: {} for key in asked}

        def take(reply: ChatReply) -> str:
            key, _, order = reply.key.partition("/")
            heard[key][order] = reply
            return self._hear(asked[key], heard.pop(key)) if len(heard[key]) == 2 else ""

        return self.asking.each(
            self.model,
            chain.from_iterable(requests),
            take,
            self.context,
            total=len(couples),
            words=_in_words,
            said=said,
        )

    def _hear(self, couple: Couple, both: dict[str, ChatReply]) -> str:
        """Store what follows from both replies."""
        forward, swapped = both["forward"], both["swapped"]
        if failed := [reply for reply in (forward, swapped) if not reply.is_ok]:
            return self._keep(couple, "failed", reason=failed[0].error)
        try:
            found: PairwiseResult = read_pairwise(forward.text, swapped.text, self.prompt)
        except Unreadable as err:
            wrote = f"It wrote: {forward.text[:300]} / {swapped.text[:300]}"
            return self._keep(couple, "unreadable", reason=f"{err.user_message} {wrote}")
        return self._keep(couple, _VOTES[found.winner], found.verdicts, found.reason)

    def _keep(
        self,
        couple: Couple,
        said: Vote | Literal["unreadable", "failed"],
        read: tuple[OrderVerdict, OrderVerdict] | None = None,
        reason: str = "",
    ) -> str:
        row: Row = {
            "comparison_id": couple.comparison.id,
            "left_place": couple.left,
            "right_place": couple.right,
            "voter": self.voter,
            "judge": self.judge,
            "model": self.model_id,
            "prompt_version": self.prompt.version,
            "said": said,
            "forward": read[0].said if read else "",
            "swapped": read[1].said if read else "",
            "reason": reason,
            "job_id": self.context.job.id,
            "user_name": self.context.actor.user,
        }
        vote = None if said == "unreadable" or said == "failed" else said
        record_judgement(self.db, couple.comparison, vote, row)
        return said


def waiting(
    db: Database, voter: str, prompt_version: str, most: int, job_id: str = ""
) -> Iterator[Couple]:
    """The couples that a judge is to read. What the job began comes first, among the `most`."""
    begun = table.comparisons_of_job(db, job_id) if job_id else []
    for comparison, couples in _unread(db, voter, prompt_version, evaluations.get_many(db, begun)):
        yield from _couples(comparison, couples)
    known = set(begun)
    others = (c for c in table.comparisons(db) if c.id not in known)
    unread = _unread(db, voter, prompt_version, others)
    for comparison, couples in islice(unread, max(most - len(begun), 0)):
        yield from _couples(comparison, couples)


def requests_of(
    key: str, couple: Couple, prompt: PairwisePrompt
) -> tuple[ChatRequest, ChatRequest]:
    """What a judge is asked of two answers, in both orders."""
    answers = couple.comparison.answers
    return pairwise_requests(
        key,
        couple.comparison.messages,
        answers[couple.left].text,
        answers[couple.right].text,
        prompt=prompt,
    )


def _unread(
    db: Database,
    voter: str,
    prompt_version: str,
    comparisons: Sequence[Comparison] | Iterator[Comparison],
) -> Iterator[tuple[Comparison, list[tuple[int, int]]]]:
    rest = iter(comparisons)
    while some := list(islice(rest, _LOOKED_AT)):
        read = table.couples_read(db, voter, prompt_version, [c.id for c in some])
        for comparison in some:
            good = [k for k, answer in enumerate(comparison.answers) if answer.is_ok]
            done = read.get(comparison.id, set())
            left = [couple for couple in combinations(good, 2) if couple not in done]
            if left:
                yield comparison, left


def _couples(comparison: Comparison, places: Sequence[tuple[int, int]]) -> list[Couple]:
    return [Couple(comparison=comparison, left=a, right=b) for a, b in places]


def _in_words(said: Counter[str]) -> str:
    """What a running job says of itself."""
    return ", ".join(f"{said[key]} {text}" for key, text in _WORDS.items() if said[key])
