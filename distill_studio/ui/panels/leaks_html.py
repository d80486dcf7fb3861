"""Leaks of benchmarks as safe HTML. Pure; every outside text passes `esc`."""

from collections.abc import Sequence

from distill_studio.curate.decontaminate.reports import (
    LeakCandidate,
    LeakExample,
    LeakReport,
    PackReport,
)
from distill_studio.ui.html import chip, esc, note, number, table

_RULES = {
    "exact": "same text",
    "ngram": "13 words in a row",
    "coverage": "more than half",
}


def packs_html(reports: Sequence[LeakReport]) -> str:
    """All benchmarks: what they are, what is not checked yet, what was found."""
    rows = [
        [
            f"<strong>{esc(r.pack.name, 60)}</strong><br>"
            f"<span class='ds-note'>{esc(r.pack.source, 80)}</span>",
            number(r.pack.items),
            chip(f"{number(r.pack.unchecked)} rows", "warn") if r.pack.unchecked else "–",
            chip(f"{number(r.rows)} rows", "bad") if r.rows else chip("none", "good"),
            f"{number(r.open)} to judge" if r.open else "–",
        ]
        for r in reports
    ]
    return table(
        ["Benchmark", "Items", "To check", "Leaked", "Reworded"],
        rows,
        empty="No benchmark yet: add the ones the student will be tested on.",
    )


def report_html(report: LeakReport) -> str:
    """What one benchmark's check found, by rule, with evidence."""
    facts = [
        (report.by_rule["ngram"], "rows share 13 words in a row", "warn"),
        (report.by_rule["coverage"], "hold more than half of an item", "warn"),
        (report.by_rule["exact"], "are a short item", "warn"),
        (report.accepted, "accepted, so they stay", "bad"),
        (report.leaks, "reworded, a person said leak", "warn"),
    ]
    tiles = "".join(
        f"<div class='ds-curate-fact {kind if count else ''}'><b>{number(count)}</b>"
        f"<span>{esc(label)}</span></div>"
        for count, label, kind in facts
    )
    head = f"{number(report.items)} of {number(report.pack.items)} items are in the rows."
    if report.denied:
        head += f" {number(report.denied)} finds were called no leak."
    examples = "".join(_example_html(one) for one in report.examples)
    if not examples:
        checked = "Nothing was checked yet." if report.pack.unchecked else "No row holds an item."
        examples = note(checked)
    return (
        f"<div class='ds-curate-facts'>{tiles}</div>"
        f"<p class='ds-curate-sum'>{esc(head)}</p>{examples}"
    )


def _example_html(one: LeakExample) -> str:
    top = f"<strong>{esc(one.label, 60)}</strong> {chip(_RULES[one.rule], 'warn')} "
    top += chip(f"{one.coverage:.0%} of it shared")
    if one.status == "accepted":
        top += " " + chip("accepted: stays", "bad")
    if one.verdict == "not_leak":
        top += " " + chip("called no leak", "good")
    longest = one.shared[0] if one.shared else ""
    return (
        f"<details class='ds-curate-filter'><summary>{top}"
        f"<span class='ds-note'>{esc(longest, 84)}</span></summary>"
        "<div class='ds-curate-pair ds-leak-pair'>"
        f"<section class='ds-card'><header>Benchmark, {esc(one.item_side)}</header>"
        f"<div class='ds-txt'>{_marked(one.item_text)}</div></section>"
        f"<section class='ds-card'><header>Row, {esc(one.row_side)}</header>"
        f"<div class='ds-txt'>{_marked(one.row_text)}</div></section></div></details>"
    )


def candidate_html(found: LeakCandidate) -> str:
    """A candidate beside its item, differences marked."""
    top = chip(f"{found.similarity:.3f} alike", "info")
    if found.rows > 1:
        top += " " + chip(f"{number(found.rows)} rows have this prompt")
    if found.accepted:
        top += " " + chip("accepted: stays even if it is a leak", "bad")
    if found.verdict:
        said = "a leak" if found.verdict == "leak" else "no leak"
        top += " " + chip(f"{found.judged_by} said: {said}", "good")
    answer = (
        f"<details><summary class='ds-note'>Known answer</summary>"
        f"<div class='ds-txt'>{esc(found.answer)}</div></details>"
        if found.answer
        else ""
    )
    item = f"{found.pack}, {found.label}"
    return (
        f"<div class='ds-curate-top'>{top}</div><div class='ds-curate-pair'>"
        f"<section class='ds-card'><header>{esc(item, 120)}</header>"
        f"<div class='ds-txt'>{_differing(found.item_text, 'del')}</div>{answer}</section>"
        "<section class='ds-card'><header>Prompt of a row</header>"
        f"<div class='ds-txt'>{_differing(found.row_text, 'ins')}</div></section></div>"
    )


def added_html(added: PackReport) -> str:
    """What adding a pack did."""
    name, count = esc(added.pack.name, 60), number(added.pack.items)
    if not added.is_new:
        text = f"<p class='ds-note warn'>These very items are here already, as {name}.</p>"
    else:
        text = f"<p class='ds-note good'>Added {name} with {count} items. Check the rows next.</p>"
    if added.problem_count:
        text += note(f"{added.problem_count} rows could not be read. {added.problems[0]}", "warn")
    return text


def _marked(pieces: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<mark>{esc(text)}</mark>" if where == "both" else esc(text) for where, text in pieces
    )


def _differing(pieces: Sequence[tuple[str, str]], tag: str) -> str:
    return "".join(
        esc(text) if where == "both" else f"<{tag}>{esc(text)}</{tag}>" for where, text in pieces
    )
