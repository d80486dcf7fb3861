"""Files and datasets into the store, read the same way for a preview (which stores nothing).

An answer that an earlier import stored is not stored again, whatever the file was called and
wherever its row stood: the n-th occurrence of an answer in a file is new only when fewer than n
are stored. So a file with one line mended adds one row. Start from `preview` and `run_import`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from pydantic import Field

from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import content_hash, messages_hash
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    Message,
    Pair,
    Preference,
    Record,
    Seed,
)
from distill_studio.seeds.columns import ColumnMapping, layout_name
from distill_studio.seeds.drafts import DraftedRow, OpenSource, check_usable
from distill_studio.seeds.rows import AnswerDraft, Draft
from distill_studio.store import decisions, imports, pairs, preferences, seeds
from distill_studio.store.database import Database

_CHUNK_ROWS = 500
_KEPT_PROBLEMS = 1000
_EXAMPLES = 20
_PREVIEW_ROWS = 20_000


class ImportProblem(Record):
    """A row that could not go in."""

    line: int = Field(
        description="Line of the file (Parquet: number of the row; ZIP: of the passage)."
    )
    reason: str = Field(description="Why, and where it can be told, what to do.")


class ImportExample(Record):
    """A row as it will be stored."""

    line: int = Field(description="Line of the file.")
    prompt: str = Field(description="The last user turn.")
    turns: int = Field(description="Messages before the answer.")
    system: str = Field(default="", description="System prompt.")
    answers: tuple[str, ...] = Field(default=(), description="The answers; the better one first.")
    teachers: tuple[str, ...] = Field(default=(), description="Who wrote them.")
    topic: str = Field(default="", description="Topic label.")
    reference: str | None = Field(default=None, description="Known right answer.")
    place: str = Field(default="", description="Of a passage: its document and part.")


class ImportCounts(Record):
    """What a file holds, or what an import did."""

    rows: int = Field(default=0, description="Rows read, good and bad.")
    seeds_new: int = Field(default=0, description="Prompts not stored before.")
    seeds_known: int = Field(default=0, description="Prompts stored already.")
    pairs_new: int = Field(default=0, description="Answers not imported before.")
    pairs_known: int = Field(default=0, description="Answers imported already.")
    preferences: int = Field(default=0, description="Judged comparisons not imported before.")
    unanswered: int = Field(default=0, description="Rows with a prompt and no answer.")
    accepted: int = Field(default=0, description="Answers marked as accepted.")
    problem_count: int = Field(default=0, description="Rows that could not go in.")
    problems: list[ImportProblem] = Field(
        default_factory=list, description="The first 1,000 of them."
    )
    split: int = Field(default=0, description="Long conversations cut into several.")
    documents: int = Field(default=0, description="Text files cut into passages.")
    remark_count: int = Field(default=0, description="Rows that went in with a remark.")
    remarks: list[ImportProblem] = Field(
        default_factory=list, description="The first 1,000 remarks."
    )


class ImportPreview(Record):
    """What an upload is and what its import would store."""

    upload_id: str = Field(description="The upload.")
    file_name: str = Field(description="Its name.")
    size_bytes: int = Field(description="Its size.")
    format: str = Field(description="jsonl, json, csv, parquet, text, zip or hub.")
    layout: str = Field(description="What its rows are, in words; '' when not recognised.")
    columns: dict[str, str] = Field(description="Column name to an example.")
    mapping: ColumnMapping = Field(description="Which column is what, guessed or as given.")
    examples: list[ImportExample] = Field(description="The first 20 rows as they will be stored.")
    counts: ImportCounts = Field(description="What the import would do.")
    is_complete: bool = Field(description="False when only the first rows were counted.")
    most_rows: int = Field(default=0, description="Where the import stops; 0 = at the end.")
    hint: str = Field(default="", description="What is missing before it can be imported.")


class ImportReport(Record):
    """What an import did."""

    file_name: str = Field(description="The file.")
    source: str = Field(description="Under which source its rows are stored.")
    counts: ImportCounts = Field(description="What happened.")


@dataclass
class _Tally:
    """Counts while rows stream by."""

    is_documents: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[ImportProblem] = field(default_factory=list)
    remarks: list[ImportProblem] = field(default_factory=list)
    occurrences: Counter[bytes] = field(default_factory=Counter)
    seen_seeds: set[bytes] = field(default_factory=set)
    answers: int = 0

    def good_rows(self, rows: Iterable[DraftedRow]) -> list[DraftedRow]:
        """Count the rows and keep those without a problem."""
        good = []
        for row in rows:
            self.counts["rows"] += 1
            if row.problem:
                self.counts["problem_count"] += 1
                if len(self.problems) < _KEPT_PROBLEMS:
                    self.problems.append(ImportProblem(line=row.line, reason=row.problem))
            else:
                good.append(row)
                self._count_row(row)
        return good

    def _count_row(self, row: DraftedRow) -> None:
        self.counts["unanswered"] += any(not draft.answers for draft in row.drafts)
        self.counts["split"] += any(draft.is_split for draft in row.drafts)
        self.counts["documents"] += self.is_documents and any(
            draft.extra.get("part") == 1 for draft in row.drafts
        )
        for remark in (draft.remark for draft in row.drafts if draft.remark):
            self.counts["remark_count"] += 1
            if len(self.remarks) < _KEPT_PROBLEMS:
                self.remarks.append(ImportProblem(line=row.line, reason=remark))

    def result(self) -> ImportCounts:
        """The counts so far."""
        return ImportCounts(**self.counts, problems=self.problems, remarks=self.remarks)


@dataclass(frozen=True)
class _Answer:
    """An answer with what tells it from others, and the pair that stores it already."""

    draft: AnswerDraft
    number: int
    known_id: str


@dataclass(frozen=True)
class _Placed:
    """A draft whose answers have been compared with the store."""

    draft: Draft
    answers: list[_Answer]


def preview(
    db: Database, file: OpenSource, upload_id: str = "", first: int = _PREVIEW_ROWS
) -> ImportPreview:
    """Say what importing a file or dataset would do, from its first rows; stores nothing."""
    hint = ""
    try:
        check_usable(file)
    except InvalidInput as err:
        hint = str(err)
    tally, examples, is_complete = _Tally(file.is_documents), list[ImportExample](), True
    if not hint:
        rows = file.rows()
        for chunk in _chunks(islice(rows, first)):
            good = tally.good_rows(chunk)
            _count(db, tally, [draft for row in good for draft in row.drafts])
            examples += [_example(row.line, d) for row in good for d in row.drafts][:_EXAMPLES]
        is_complete = next(rows, None) is None
    return ImportPreview(
        upload_id=upload_id,
        file_name=file.name,
        size_bytes=file.size_bytes,
        format=file.format,
        most_rows=file.most_rows,
        layout="passages of documents" if file.is_documents else layout_name(file.mapping),
        columns=file.columns,
        mapping=file.mapping,
        examples=examples[:_EXAMPLES],
        counts=tally.result(),
        is_complete=is_complete,
        hint=hint,
    )


def run_import(
    db: Database,
    user: str,
    file: OpenSource,
    *,
    mark_accepted: bool = False,
    source: str = "",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> ImportReport:
    """Store what a file holds, five hundred rows a transaction; may be run again at any time."""
    check_usable(file)
    run = _Import(db, user, file, source or file.name, mark_accepted)
    for chunk in _chunks(file.rows()):
        if cancel is not None:
            cancel.raise_if_cancelled()
        run.store(chunk)
        problems = run.tally.counts["problem_count"]
        progress(
            run.tally.counts["rows"], None, f"{problems} rows with problems" if problems else ""
        )
    return ImportReport(file_name=file.name, source=run.source, counts=run.tally.result())


class _Import:
    """One file on its way into the store."""

    def __init__(
        self, db: Database, user: str, file: OpenSource, source: str, mark_accepted: bool
    ) -> None:
        self.db = db
        self.user = user
        self.source = source
        self.mark_accepted = mark_accepted
        self.tally = _Tally(file.is_documents)
        self.origin = file.origin
        self.job_id = f"import:{_key(file)}"

    def store(self, rows: list[DraftedRow]) -> None:
        """Store one chunk of rows in one transaction."""
        good = self.tally.good_rows(rows)
        drafts = [draft for row in good for draft in row.drafts]
        with self.db.write():
            placed = _place(self.db, self.tally, drafts)
            stored_seeds = self._store_seeds(drafts)
            fresh, better, judged = [], list[str](), list[Preference]()
            for item, seed_id in zip(placed, stored_seeds, strict=True):
                made = [self._pair(seed_id, item.draft, a) for a in item.answers if not a.known_id]
                fresh += made
                ids = _ids_in_order(item.answers, made)
                better += ids[:1]
                if item.draft.outcome and len(ids) == 2:
                    judged.append(self._preference(seed_id, ids, item.draft))
            pairs.insert(self.db, fresh)
            self.tally.counts["pairs_new"] += len(fresh)
            self._store_preferences(judged)
            if self.mark_accepted:
                self._accept(better)

    def _store_seeds(self, drafts: list[Draft]) -> list[str]:
        made = [
            Seed(
                messages=draft.messages,
                topic=draft.topic,
                source=self.source,
                reference=draft.reference,
                extra=draft.extra | self.origin,
            )
            for draft in drafts
        ]
        stored = seeds.insert(self.db, made)
        new = {seed.content_hash for seed in made if stored[seed.id] == seed.id}
        _count_seeds(self.tally, (seed.content_hash for seed in made), new)
        return [stored[seed.id] for seed in made]

    def _pair(self, seed_id: str, draft: Draft, answer: _Answer) -> Pair:
        return Pair(
            seed_id=seed_id,
            messages=draft.messages,
            answer=answer.draft.text,
            reasoning=answer.draft.reasoning,
            topic=draft.topic,
            source=self.source,
            teacher=answer.draft.teacher,
            model=answer.draft.teacher,
            recipe="import",
            params=self.origin,
            job_id=self.job_id,
            sample=answer.number,
        )

    def _preference(self, seed_id: str, ids: list[str], draft: Draft) -> Preference:
        """A named judge's vote; else what the file says, under who imports it."""
        return Preference(
            seed_id=seed_id,
            chosen_pair_id=ids[0],
            rejected_pair_id=ids[1],
            outcome=draft.outcome,
            user=draft.judge or self.user,
            source="judge" if draft.judge else "import",
        )

    def _store_preferences(self, judged: list[Preference]) -> None:
        there = imports.compared(self.db, [p.chosen_pair_id for p in judged])
        new: dict[tuple[str, str, str], Preference] = {}
        for preference in judged:
            judge = preference.user if preference.source == "judge" else ""
            key = (preference.chosen_pair_id, preference.rejected_pair_id, judge)
            if key not in there:
                new.setdefault(key, preference)
        preferences.insert(self.db, list(new.values()))
        self.tally.counts["preferences"] += len(new)

    def _accept(self, pair_ids: list[str]) -> None:
        made = [
            Decision(
                id=f"import:{pair_id}",
                pair_id=pair_id,
                kind=DecisionKind.ACCEPT,
                is_final=True,  # said of the file, not one vote of several
            )
            for pair_id in imports.pending(self.db, pair_ids)
        ]
        decisions.record(self.db, self.user, made)
        self.tally.counts["accepted"] += len(made)


def _count(db: Database, tally: _Tally, drafts: list[Draft]) -> None:
    """What `_Import.store` would count, without storing."""
    placed = _place(db, tally, drafts)
    hashes = [messages_hash(draft.messages) for draft in drafts]
    _count_seeds(tally, hashes, set(hashes) - imports.seed_hashes(db, hashes))
    known_chosen = [item.answers[0].known_id for item in placed if item.draft.outcome]
    there = imports.compared(db, [i for i in known_chosen if i])
    for item in placed:
        tally.counts["pairs_new"] += sum(not answer.known_id for answer in item.answers)
        if item.draft.outcome:
            ids = (item.answers[0].known_id, item.answers[1].known_id, item.draft.judge)
            tally.counts["preferences"] += ids not in there


def _count_seeds(tally: _Tally, hashes: Iterable[str], new: set[str]) -> None:
    for value in hashes:
        key = bytes.fromhex(value)[:16]
        if key not in tally.seen_seeds:
            tally.seen_seeds.add(key)
            tally.counts["seeds_new" if value in new else "seeds_known"] += 1


def _place(db: Database, tally: _Tally, drafts: list[Draft]) -> list[_Placed]:
    """Find out which answers are stored already; numbers the answers of the file."""
    keys = [[_answer_key(draft, answer) for answer in draft.answers] for draft in drafts]
    stored: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in imports.pairs_like(db, [key[0] for group in keys for key in group]):
        stored[row["content_hash"], row["teacher"], row["reasoning_md5"]].append(row["id"])
    placed = []
    for draft, group in zip(drafts, keys, strict=True):
        answers = []
        for answer, key in zip(draft.answers, group, strict=True):
            short = hashlib.sha256("\0".join(key).encode()).digest()[:16]
            tally.occurrences[short] += 1
            ids, nth = stored[key], tally.occurrences[short]
            known_id = ids[nth - 1] if nth <= len(ids) else ""
            tally.counts["pairs_known"] += bool(known_id)
            answers.append(_Answer(answer, tally.answers, known_id))
            tally.answers += 1
        placed.append(_Placed(draft, answers))
    return placed


def _answer_key(draft: Draft, answer: AnswerDraft) -> tuple[str, str, str]:
    conversation = (*draft.messages, Message(role="assistant", content=answer.text))
    reasoning = hashlib.md5(answer.reasoning.encode(), usedforsecurity=False).hexdigest()
    return messages_hash(conversation), answer.teacher, reasoning


def _ids_in_order(answers: list[_Answer], made: list[Pair]) -> list[str]:
    new = iter(made)
    return [answer.known_id or next(new).id for answer in answers]


def _key(file: OpenSource) -> str:
    """Hash of the rows and of what their columns were taken for."""
    both = content_hash(file.mapping.model_dump()) + file.fingerprint()
    return hashlib.sha256(both.encode()).hexdigest()[:32]


def _example(line: int, draft: Draft) -> ImportExample:
    return ImportExample(
        line=line,
        prompt=draft.messages[-1].content,
        turns=len(draft.messages),
        system=next((m.content for m in draft.messages if m.role == "system"), ""),
        answers=tuple(answer.text for answer in draft.answers),
        teachers=tuple(answer.teacher for answer in draft.answers),
        topic=draft.topic,
        reference=draft.reference,
        place=_place_of(draft),
    )


def _place_of(draft: Draft) -> str:
    """Where in a document or a long conversation the example stands."""
    found = draft.extra.get("split_conversation") if draft.is_split else draft.extra
    if not isinstance(found, dict) or "part" not in found or "of" not in found:
        return ""
    return f"{found.get('document', '')} {found['part']} of {found['of']}".strip()


def _chunks(rows: Iterable[DraftedRow]) -> Iterator[list[DraftedRow]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        yield chunk
