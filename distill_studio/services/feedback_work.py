"""The work behind the way back: preferences, and new seeds that a teacher writes near losses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.ids import content_hash
from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, Pair, Preference, Record, Seed
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.feedback import Feedback
from distill_studio.core.records.suite import Suite, SuiteAnswer, SuiteItem
from distill_studio.curate.decontaminate.index import Item, LeakIndex, RowTexts
from distill_studio.curate.diversity.clusters import cluster, default_count
from distill_studio.curate.diversity.names import cluster_terms, distinct_names, name_of
from distill_studio.evaluate.losses import Loss, LossGroup, by_topic, by_words, text_vectors
from distill_studio.generate.eliminate import CUT_OFF, MORE_THAN_ASKED, RULES, rule_against
from distill_studio.generate.text_lists import read_list
from distill_studio.services.asking import Asking
from distill_studio.services.jobs import JobContext
from distill_studio.services.suite_scoring import rouge_l
from distill_studio.store import feedback as table
from distill_studio.store import pairs, preferences, seeds, suites
from distill_studio.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = "way back"
_ASSET = Path(__file__).resolve().parents[2] / "assets" / "feedback" / "near_losses.json"
_SHOWN_AT_ONCE = 4
_LONGEST_SHOWN = 1500  # characters of a lost prompt
_TOO_LIKE = 0.7  # ROUGE-L, as Self-Instruct (arXiv 2212.10560)
_TOKENS_EACH = 160
_LEAK = "leak"


class NearLosses(Record):
    """The file of the request for new prompts."""

    name: str = Field(description="Of the file.")
    version: str = Field(description="Changes with the text.")
    label: str = Field(description="What it is, in words.")
    summary: str = Field(description="What it does.")
    prompt: str = Field(description="With ${shown}, ${losses} and ${count}.")


def groups_of(losses: Sequence[Loss], texts: Mapping[int, str]) -> list[LossGroup]:
    """Losses by the suite's topics; where it has none, by the words of the prompts.

    Args:
        losses: What was lost.
        texts: The prompt of each number.
    """
    if not losses:
        return []
    if found := by_topic(losses):
        return found
    said = [texts[one.number] for one in losses]
    labels = cluster(text_vectors(said), default_count(len(said))).labels.tolist()
    count = max(labels) + 1
    terms = cluster_terms(said, labels, count)
    names = distinct_names([name_of(some, k) for k, some in enumerate(terms)])
    return by_words(losses, labels, names)


# -- preferences --------------------------------------------------------------------------


def add_preferences(
    db: Database,
    step: Feedback,
    suite: str,
    models: Mapping[ModelRole, ModelCard],
    lost: Sequence[tuple[SuiteItem, SuiteAnswer, SuiteAnswer]],
    groups: Mapping[int, str],
    judge: str = "",
) -> list[str]:
    """Store prompts, both answers of each, and the scorer's preference of the teacher's.

    Args:
        db: The store, in a write.
        step: Whose id the pairs carry as their job.
        suite: Its name.
        models: The teacher and the student.
        lost: Prompt, the teacher's answer, the student's.
        groups: The name of each number's group: the topic where the suite has none.
        judge: Who scored the answers; '' where a rule did.

    Returns:
        Ids of the preferences that are new.
    """
    made: list[Pair] = []
    rows: dict[str, Preference] = {}
    for place, (item, better, worse) in enumerate(lost):
        preference_id = content_hash([step.trial_id, step.student, item.prompt_hash])[:36]
        if preference_id in rows or preferences.get(db, preference_id):
            continue  # the same prompt twice in the suite, or sent before
        facts = {"suite": suite, "trial": step.trial_id, "number": item.number}
        seed = Seed(
            messages=item.messages,
            topic=item.topic or groups.get(item.number, ""),
            source=SOURCE,
            reference=item.reference,
            extra={"feedback": step.id, **facts},
        )
        seed_id = seeds.insert(db, [seed])[seed.id]
        said = ((ModelRole.TEACHER, better), (ModelRole.STUDENT, worse))
        two = [
            _pair(step, seed, seed_id, models[role], answer, facts, 2 * place + side)
            for side, (role, answer) in enumerate(said)
        ]
        # the same words of the same model on the same prompt are one row, whatever the round
        there = {(p.teacher, p.content_hash): p for p in pairs.way_back_of(db, seed_id)}
        two = [there.get((pair.teacher, pair.content_hash), pair) for pair in two]
        made += two
        rows[preference_id] = Preference(
            id=preference_id,
            seed_id=seed_id,
            chosen_pair_id=two[0].id,
            rejected_pair_id=two[1].id,
            source="judge" if judge else "rule",
            user=judge or f"suite {suite}",
        )
    if made:
        pairs.insert(db, made)  # those that are there already stay as they are
        preferences.insert(db, list(rows.values()))
    return list(rows)


def _pair(
    step: Feedback,
    seed: Seed,
    seed_id: str,
    card: ModelCard,
    answer: SuiteAnswer,
    facts: Mapping[str, object],
    place: int,
) -> Pair:
    return Pair(
        seed_id=seed_id,
        messages=seed.messages,
        answer=answer.answer,
        topic=seed.topic,
        source=SOURCE,
        teacher=card.label,
        model=card.model,
        recipe=pairs.WAY_BACK,
        params={**facts, "score": answer.score, "reason": answer.reason},
        job_id=step.id,
        sample=place,
        finish_reason="length" if answer.is_cut else "",
        completion_tokens=answer.tokens,
        latency_ms=answer.latency_ms,
    )


# -- seeds --------------------------------------------------------------------------------


def make_seeds(
    db: Database,
    step: Feedback,
    suite: Suite,
    asking: Asking,
    source: Callable[[], ChatModel],
    context: JobContext,
) -> dict[str, Any]:
    """Ask a teacher for new prompts near the lost ones and store those that are new.

    What copies the suite (13 words in a row, or as decontamination says) or is too like a prompt
    shown or written before is dropped; how many for which reason is in the result.

    Args:
        db: The store.
        step: What the prompts belong to.
        suite: Where the student lost.
        asking: Counts what the teacher is asked.
        source: Makes the teacher ready.
        context: Of the job.

    Raises:
        TeacherError: See `Asking.each`.
    """
    items = {item.number: item for item in suites.items(db, suite.id)}
    batches = [
        (group["name"], numbers[start : start + _SHOWN_AT_ONCE])
        for group in context.params["groups"]
        for numbers in [group["numbers"]]
        for start in range(0, len(numbers), _SHOWN_AT_ONCE)
    ]
    context.progress(0, len(batches), "loading the teacher")
    model = source()
    index = LeakIndex([Item(i.messages[-1].content, i.reference) for i in items.values()])
    maker = _SeedMaker(db, step, suite.name, items, index, int(context.params["each"]))
    requests = (
        maker.request(place, numbers)
        for place, (_, numbers) in enumerate(batches)
        if place not in maker.done
    )

    def take(reply: ChatReply) -> str:
        maker.take(reply, *batches[int(reply.key)])
        return "read"

    asking.each(
        model,
        requests,
        take,
        context,
        total=len(batches),
        words=lambda _: f"{maker.new} new prompts",
        said=Counter(read=len(maker.done)),
    )
    for text in maker.unread:
        context.log(text)
    return {
        "feedback": step.id,
        "new": maker.new,
        "known": maker.known,
        "dropped": dict(maker.dropped.most_common()),
        "unread": len(maker.unread),
    }


class _SeedMaker:
    """Requests, and what becomes of their replies."""

    def __init__(
        self,
        db: Database,
        step: Feedback,
        suite: str,
        items: Mapping[int, SuiteItem],
        index: LeakIndex,
        each: int,
    ) -> None:
        self._db, self._step, self._suite, self._items = db, step, suite, items
        self._index, self._each = index, each
        self._text = NearLosses(**json.loads(_ASSET.read_text(encoding="utf-8")))
        there = table.seeds_of(db, step.id)  # of a job that goes on
        self._written = [row["prompt"] for row in there]
        self.done = {row["batch"] for row in there}
        self.new, self.known = len(there), 0
        self.dropped: Counter[str] = Counter()
        self.unread: list[str] = []

    def request(self, place: int, numbers: Sequence[int]) -> ChatRequest:
        """The request that shows these lost prompts."""
        shown = self._shown(numbers)
        count = self._each * len(numbers)
        text = Template(self._text.prompt).substitute(
            shown=len(shown),
            count=count,
            losses="\n\n".join(f"<prompt>\n{one}\n</prompt>" for one in shown),
        )
        return ChatRequest(
            key=str(place),
            messages=(Message(role="user", content=text),),
            sampling=SamplingParams(
                temperature=0.7, top_p=0.95, max_tokens=max(256, _TOKENS_EACH * count), seed=place
            ),
        )

    def take(self, reply: ChatReply, name: str, numbers: Sequence[int]) -> None:
        """Store what a reply brings.

        Args:
            reply: To one of the requests.
            name: Of the group that it showed prompts of.
            numbers: Of these prompts.
        """
        if not reply.is_ok:
            self.unread.append(f"{name}: {reply.error or reply.error_code}")
            return
        try:
            found = read_list(reply.text)
        except Unreadable as err:
            self.unread.append(f"{name}: {err} The reply was: {reply.text[:300]}")
            return
        shown = self._shown(numbers)
        kept: list[str] = []
        for place, text in enumerate(found):
            is_cut = place == len(found) - 1 and reply.finish_reason == "length"
            rule = CUT_OFF if is_cut else self._against(text, shown, len(kept), len(numbers))
            if rule:
                self.dropped["a leak of the suite" if rule == _LEAK else RULES[rule]] += 1
                continue
            kept.append(text)
            self._written.append(text)
        self._store(kept, name, numbers, int(reply.key))

    def _against(self, text: str, shown: Sequence[str], kept: int, lost: int) -> str:
        """The rule that speaks against a new prompt; '' where none does."""
        if kept == self._each * lost:
            return MORE_THAN_ASKED
        if rule := rule_against(text, shown, is_whole=True):
            return rule
        if any(rouge_l(text, other) >= _TOO_LIKE for other in (*shown, *self._written)):
            return "too_like"
        return _LEAK if self._index.check([RowTexts("new", (text,), "")]) else ""

    def _store(self, kept: Sequence[str], name: str, numbers: Sequence[int], batch: int) -> None:
        made = [
            Seed(
                messages=(Message(role="user", content=text),),
                topic=name,
                source=f"{SOURCE}: {self._suite}",
                extra={
                    "feedback": self._step.id,
                    "trial": self._step.trial_id,
                    "near": list(numbers),
                    "batch": batch,
                    "prompt_version": self._text.version,
                },
            )
            for text in kept
        ]
        if made:
            with self._db.write():  # what is data and the mark that says so, or neither
                stored = seeds.insert(self._db, made)
                fresh = sum(stored[seed.id] == seed.id for seed in made)
                if fresh:
                    table.mark_sent(self._db, self._step.id)
            self.new += fresh
            self.known += len(made) - fresh

    def _shown(self, numbers: Iterable[int]) -> list[str]:
        return [self._items[n].messages[-1].content[:_LONGEST_SHOWN] for n in numbers]
