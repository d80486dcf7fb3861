"""What the Freeze tab shows: the preview, rows in their final form, the list of snapshots."""

from collections.abc import Sequence
from typing import Any

from distill_studio.core.records import Snapshot
from distill_studio.services.freeze import FreezePreview
from distill_studio.ui.html import chip, empty_state, esc, note, number, table
from distill_studio.ui.panels.import_html import counted, listed

FORMAT_NAMES = {
    "messages": "Conversations (messages), for SFT",
    "prompt_completion": "Prompt and completion, for SFT on the answer only",
    "preference": "Prompt, chosen and rejected, for DPO",
    "unpaired": "Accepted and rejected answers with a label, for KTO",
}
# What warnings call a place on Curate, and its element
_PLACES = {"Curate, leaks": "curate-leaks-box", "Curate, Find near-duplicates": "curate-find"}


def preview_html(preview: FreezePreview) -> str:
    """Counts, what is left out, teachers and warnings."""
    if not preview.rows:
        why = listed([f"{number(n)} {reason}" for reason, n in preview.left_out.items()])
        text = f"Left out: {why}." if why else "Accept answers in Review, or compare in Prefer."
        return empty_state("Nothing to freeze yet", text)
    about = "about, " if preview.is_estimate else ""
    numbers = [
        ("rows", preview.rows),
        (f"{about}to train on", preview.train_rows),
        (f"{about}for validation", preview.validation_rows),
    ]
    if not preview.is_estimate:
        numbers.append(("groups kept together", preview.groups))
    figures = "".join(
        f'<div class="ds-frozen-figure"><span>{number(value)}</span>{label}</div>'
        for label, value in numbers
    )
    left_out = "".join(
        f"<li>{number(count)} {esc(reason)}</li>" for reason, count in preview.left_out.items()
    )
    left = f"<details><summary>Left out</summary><ul>{left_out}</ul></details>" if left_out else ""
    warnings = "".join(_warning(text) for text in preview.warnings)
    terms = _teachers(preview.teachers)
    return f'<div class="ds-frozen-figures">{figures}</div>{terms}{left}{warnings}'


def examples_html(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a student will see them."""
    return '<div class="ds-frozen-rows">' + "".join(_sample(row) for row in rows) + "</div>"


def snapshots_html(found: Sequence[Snapshot], selected: str) -> str:
    """The list of snapshots; a click on one selects it."""
    if not found:
        return empty_state(
            "No snapshots yet", "Preview what would be frozen above, name it and press Freeze."
        )
    body = "".join(_snapshot(snapshot, snapshot.name == selected) for snapshot in found)
    columns = ("Name", "Format", "Train", "Validation", "Hash", "Made")
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        '<div class="ds-table-wrap"><table class="ds-table ds-snapshots">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def detail_html(snapshot: Snapshot) -> str:
    """One snapshot's facts."""
    manifest = snapshot.manifest
    options = manifest.get("options", {})
    marks = [chip(snapshot.format, "info"), chip("files verified", "good")]
    if options.get("include_reasoning"):
        marks.append(chip("with reasoning"))
    if options.get("system_prompt"):
        marks.append(chip("one system prompt"))
    return (
        f'<h3 class="ds-h3">{esc(snapshot.name)}</h3><div>{" ".join(marks)}</div>'
        f"{note(split_words(snapshot))}"
        f'<p class="ds-note ds-mono">{esc(snapshot.content_hash)}</p>'
        + _teachers(manifest.get("teachers", {}))
    )


def split_words(snapshot: Snapshot) -> str:
    """How many rows are where."""
    return (
        f"{counted(snapshot.train_rows, 'row')} to train on,"
        f" {number(snapshot.validation_rows)} for validation."
    )


def _warning(text: str) -> str:
    """A warning; where it names a place on Curate, that goes there."""
    html = note(text, "warn")
    for words, place in _PLACES.items():
        button = (
            f'<button type="button" class="ds-plain-link" data-place="{place}">{words}</button>'
        )
        html = html.replace(f"({words})", f"({button})")
    return html


def _snapshot(snapshot: Snapshot, is_selected: bool) -> str:
    mark = ' aria-current="true"' if is_selected else ""
    return (
        f'<tr{mark}><td><button type="button" class="ds-plain-link"'
        f' data-name="{esc(snapshot.name)}">{esc(snapshot.name)}</button></td>'
        f"<td>{esc(snapshot.format)}</td>"
        f"<td>{number(snapshot.train_rows)}</td><td>{number(snapshot.validation_rows)}</td>"
        f'<td class="ds-mono">{esc(snapshot.content_hash[:12])}</td>'
        f"<td>{snapshot.created_at:%Y-%m-%d %H:%M}</td></tr>"
    )


def _teachers(teachers: dict[str, dict[str, Any]]) -> str:
    rows = [
        [
            esc(name or "not named"),
            number(facts["rows"]),
            esc(facts["licence_note"], 200) or '<span class="ds-note">not stated</span>',
        ]
        for name, facts in teachers.items()
    ]
    return table(["Teacher", "Rows", "Terms"], rows)


def _sample(row: dict[str, Any]) -> str:
    parts = [
        f'<div class="ds-frozen-turn {esc(turn["role"])}"><span>{esc(label or turn["role"])}</span>'
        f'<div class="ds-txt">{esc(turn["content"], 1500)}</div></div>'
        for column, label in (
            ("messages", ""),
            ("prompt", ""),
            ("completion", "completion"),
            ("chosen", "chosen"),
            ("rejected", "rejected"),
        )
        for turn in row.get(column) or []
    ]
    return f'<article class="ds-card ds-frozen-row">{"".join(parts)}</article>'
