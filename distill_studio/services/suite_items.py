"""A suite's prompts from a file, each with what its scorer needs. Start at `read_items`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import content_hash as hash_of
from distill_studio.core.records.suite import SuiteItem, SuiteScorer
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.drafts import check_usable, open_file
from distill_studio.seeds.rows import Draft
from distill_studio.services.importing import ImportProblem
from distill_studio.services.suite_scoring import right_choice

MOST_ITEMS = 100_000
_TESTS, _CHOICES = "tests", "choices"
_SHOWN = 3  # problems named in a refusal
_KEPT_PROBLEMS = 100
_MOST_CHOICES = 26  # the reference may be a letter


@dataclass
class ReadSuite:
    """The prompts of a file, and the rows that cannot be used."""

    items: list[SuiteItem] = field(default_factory=list)
    left_out: int = 0
    problems: list[ImportProblem] = field(default_factory=list)

    def miss(self, line: int, reason: str) -> None:
        """A row that cannot be used; the first ones are told."""
        self.left_out += 1
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(ImportProblem(line=line, reason=reason))


def read_items(path: Path, scorer: SuiteScorer, mapping: ColumnMapping | None) -> ReadSuite:
    """The prompts of a file with their references; rows that do not fit the scorer are left out.

    Raises:
        InvalidInput: No row can be used with this scorer (says why), or there is none.
    """
    file = open_file(path, mapping)
    check_usable(file)
    found = ReadSuite()
    for row in file.rows():
        problem = row.problem
        for draft in row.drafts:
            try:
                found.items.append(_item(len(found.items), draft, scorer))
            except ValueError as err:
                problem = problem or str(err)
        if problem:
            found.miss(row.line, problem)
        if len(found.items) > MOST_ITEMS:
            raise InvalidInput(f"A suite may have {MOST_ITEMS:,} prompts; this file has more.")
    if not found.items:
        raise _nothing(found, scorer)
    return found


def _nothing(found: ReadSuite, scorer: SuiteScorer) -> InvalidInput:
    if not found.left_out:
        return InvalidInput("There is no prompt in this file.")
    said = " ".join(f"Line {one.line}: {one.reason}" for one in found.problems[:_SHOWN])
    more = f" And {found.left_out - _SHOWN:,} more." if found.left_out > _SHOWN else ""
    return InvalidInput(
        said + more,
        "No row can be used: each needs a prompt and a reference that fits the scorer."
        if scorer.needs_reference
        else "No row can be used: each needs a prompt.",
    )


def content_hash(items: Sequence[SuiteItem]) -> str:
    """The same items in the same order, the same hash."""
    return hash_of([item.model_dump(mode="json", exclude={"number"}) for item in items])


def _item(number: int, draft: Draft, scorer: SuiteScorer) -> SuiteItem:
    """Raises ValueError: what the row lacks."""
    reference = draft.reference or (draft.answers[0].text if draft.answers else "")
    choices = tuple[str, ...]()
    if scorer is SuiteScorer.UNIT_TESTS:
        reference = _text(draft.extra.get(_TESTS)) or draft.reference or ""
        if not reference.strip():
            raise ValueError("there are no tests (a column `tests`).")
    if scorer.needs_reference and not reference.strip():
        raise ValueError("there is no reference answer.")
    if scorer is SuiteScorer.CHOICE:
        choices = _choices(draft.extra.get(_CHOICES))
        place = right_choice(reference, choices)
        if place is None:
            raise ValueError(f"the reference {reference[:40]!r} is none of its choices.")
        reference = choices[place]
    return SuiteItem(
        number=number,
        messages=draft.messages,
        reference=reference,
        choices=choices,
        topic=draft.topic,
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value) if value is not None else ""


def _choices(value: object) -> tuple[str, ...]:
    """A list, or one as JSON; Hugging Face's {text: [...], label: [...]} as well."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as err:
            raise ValueError("`choices` is no list.") from err
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError("there are no choices (a column `choices`, a list of two or more).")
    texts = tuple(str(one) for one in value)
    if len(texts) > _MOST_CHOICES:
        raise ValueError(f"there are more than {_MOST_CHOICES} choices.")
    if any(not text.strip() for text in texts) or len(set(texts)) != len(texts):
        raise ValueError("two of its choices are the same, or one is empty.")
    return texts
