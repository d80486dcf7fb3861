"""What the Seeds tab shows of files: summary, rows as they will be stored, problems, results."""

from distill_studio.core.records import Seed
from distill_studio.services.importing import (
    ImportCounts,
    ImportExample,
    ImportPreview,
    ImportProblem,
)
from distill_studio.ui.html import chip, empty_state, esc, note, number, size, table

_SHOWN_PROBLEMS = 100
_FORMATS = {
    "jsonl": "JSON Lines",
    "json": "JSON",
    "csv": "CSV",
    "parquet": "Parquet",
    "text": "Text",
    "zip": "ZIP of texts",
    "hub": "Hugging Face Hub",
}
_ROW_WORDS = {"parquet": "Row", "zip": "No.", "hub": "Row"}
_DOCUMENTS = ("text", "zip")


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 prompt, 2 prompts."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def listed(parts: list[str]) -> str:
    """Words joined as a sentence does: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def is_documents(preview: ImportPreview) -> bool:
    """True for texts, whose passages become seeds."""
    return preview.format in _DOCUMENTS


def row_word(preview: ImportPreview) -> str:
    """What the number of a row counts."""
    return _ROW_WORDS.get(preview.format, "Line")


def summary_html(preview: ImportPreview) -> str:
    """Name, format, layout and counts of an upload."""
    counts = preview.counts
    chips = [chip(_FORMATS[preview.format], "info")]
    if preview.layout:
        chips.append(chip(preview.layout))
    if counts.documents:
        chips.append(chip(counted(counts.documents, "document")))
    rows = counted(counts.rows, "row")
    if is_documents(preview):
        rows = counted(counts.rows - counts.problem_count, "passage")
    if counts.rows or not preview.hint:  # the hint says why nothing can be counted
        chips.append(chip(rows + ("" if preview.is_complete else " and more")))
    if counts.problem_count:
        noun = "file" if is_documents(preview) else "row"
        chips.append(chip(counted(counts.problem_count, noun) + " with problems", "warn"))
    weight = size(preview.size_bytes) if preview.size_bytes else ""
    head = f"<strong>{esc(preview.file_name)}</strong> {weight}"
    facts = _known(counts)
    unused = _unused(preview)
    return (
        f'<div class="ds-import-head"><div>{head}</div><div>{"".join(chips)}</div></div>'
        + (note(preview.hint, "warn") if preview.hint else "")
        + (note(unused) if unused and not preview.hint else "")
        + (note(facts) if facts else "")
    )


def _unused(preview: ImportPreview) -> str:
    """The columns that no part takes: they stay with their rows. For texts, what is made."""
    if is_documents(preview):
        return (
            'Each passage becomes a seed with its text as it stands. The recipe "Requests for'
            ' documents" lets a teacher write the request that the passage answers.'
        )
    used = {str(name) for name in preview.mapping.model_dump().values()}
    others = [name for name in preview.columns if name not in used]
    if not others:
        return ""
    more = f" and {counted(len(others) - 8, 'more')}" if len(others) > 8 else ""
    return f"Kept with each prompt but not used: {', '.join(others[:8])}{more}."


def examples_html(preview: ImportPreview) -> str:
    """The first rows as they will be stored."""
    rows = [
        [
            f'<span class="ds-note">{example.line}</span>',
            _prompt_cell(example),
            "<hr>".join(f'<div class="ds-cut">{esc(text, 300)}</div>' for text in example.answers)
            or '<span class="ds-note">none</span>',
            "<br>".join(
                f'<span class="ds-whole">{esc(t, 40)}</span>' for t in example.teachers if t
            ),
            esc(example.topic, 40),
            esc(example.reference, 60),
        ]
        for example in preview.examples
    ]
    columns = [row_word(preview), "Passage" if is_documents(preview) else "Prompt", "Answer"]
    columns += ["Written by", "Topic", "Reference"]
    always = [0, 1] if is_documents(preview) else [0, 1, 2]
    filled = [*always, *(i for i in (3, 4, 5) if any(row[i] for row in rows))]
    return table(
        [columns[i] for i in filled],
        [[row[i] for i in filled] for row in rows],
        caption=f"The first {len(rows)} as they will be stored" if len(rows) > 1 else "",
        empty="" if preview.hint else "No row of it can go in.",
    )


def problems_html(counts: ImportCounts, row_word: str = "Line") -> str:
    """The rows that cannot go in, with line and reason, and those that go in with a remark."""
    out = left_out_html(counts.problems, counts.problem_count, row_word)
    return out + _listed_rows(counts.remarks, counts.remark_count, "with a remark", row_word)


def left_out_html(problems: list[ImportProblem], total: int, row_word: str = "Line") -> str:
    """The rows that cannot go in, with line and reason; '' for none."""
    return _listed_rows(problems, total, "cannot go in", row_word)


def _listed_rows(rows: list[ImportProblem], total: int, what: str, row_word: str) -> str:
    if not total:
        return ""
    shown = rows[:_SHOWN_PROBLEMS]
    more = total - len(shown)
    reason = "Why it cannot go in" if what == "cannot go in" else "Remark"
    body = table([row_word, reason], [[number(row.line), esc(row.reason)] for row in shown])
    rest = note(f"And {counted(more, 'more row')}.") if more else ""
    title = f"{counted(total, 'row')} {what}"
    return f'<details class="ds-problems" open><summary>{title}</summary>{body}{rest}</details>'


def button_text(preview: ImportPreview, accept: bool) -> str:
    """What pressing Import will do, with exact counts."""
    counts = preview.counts
    if not preview.is_complete:
        most = preview.most_rows
        return f"Import {counted(most, 'row')} at most" if most else "Import the whole file"
    parts = [
        counted(count, word)
        for count, word in (
            (counts.seeds_new, "prompt"),
            (counts.pairs_new, "answer"),
            (counts.preferences, "preference"),
        )
        if count
    ]
    if not parts and accept and counts.pairs_known:
        return "Accept the answers stored already"
    return f"Import {listed(parts)}" if parts else "Nothing new to import"


def is_importable(preview: ImportPreview, accept: bool) -> bool:
    """True when pressing Import would store something, or accept what is there."""
    counts = preview.counts
    has_news = counts.seeds_new + counts.pairs_new + counts.preferences
    has_work = has_news or (accept and counts.pairs_known) or not preview.is_complete
    return not preview.hint and bool(has_work)


def result_html(file_name: str, counts: ImportCounts) -> str:
    """What an import did."""
    done = [
        counted(count, word)
        for count, word in (
            (counts.seeds_new, "new prompt"),
            (counts.pairs_new, "new answer"),
            (counts.preferences, "new preference"),
        )
        if count
    ]
    text = f"{file_name}: {listed(done) or 'nothing new'} stored."
    if counts.accepted:
        text += f" {counted(counts.accepted, 'answer')} marked as accepted."
    facts = _known(counts)
    return note(text, "good") + (note(facts) if facts else "") + problems_html(counts)


def turn_chips(messages: int, *, has_system: bool) -> list[str]:
    """What a conversation of so many messages is, where it is more than a question."""
    turns = messages - has_system
    marks = [chip("system prompt")] if has_system else []
    return [*marks, chip(f"{turns} turns")] if turns > 1 else marks


def passage_place(seed: Seed) -> str:
    """Which part of which document a seed is; '' for other seeds."""
    found = [seed.extra.get(name) for name in ("document", "part", "of")]
    return "" if None in found else f"{found[0]} {found[1]} of {found[2]}"


def nothing_yet() -> str:
    """The empty state of the prompts list."""
    return empty_state(
        "No prompts yet", "Drop a file above, or type a few prompts, to have something to ask."
    )


def _known(counts: ImportCounts) -> str:
    known = [
        counted(count, word)
        for count, word in ((counts.seeds_known, "prompt"), (counts.pairs_known, "answer"))
        if count
    ]
    facts = [f"Stored already: {listed(known)}."] if known else []
    if counts.unanswered and counts.pairs_new + counts.pairs_known:
        facts.append(f"{counted(counts.unanswered, 'row')} without an answer.")
    if counts.split:
        facts.append(f"{counted(counts.split, 'long conversation')} cut into several.")
    return " ".join(facts)


def _prompt_cell(example: ImportExample) -> str:
    marks = turn_chips(example.turns, has_system=bool(example.system))
    if example.place:
        marks.append(chip(example.place))
    return f'<div class="ds-cut">{esc(example.prompt, 300)}</div>{"".join(marks)}'
