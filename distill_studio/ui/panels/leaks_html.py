"""Leaks of benchmarks as safe HTML. Pure; every outside text passes `esc`."""

from collections.abc import Sequence

from distill_studio.curate.decontaminate.reports import (
    LeakCandidate,
    LeakExample,
    LeakReport,
    PackReport,
)
from distill_studio.services.hub_collections import CollectionReport, HubCollection
from distill_studio.ui.html import chip, esc, note, number, table

_RULES = {
    "exact": "same text",
    "ngram": "13 words in a row",
    "coverage": "more than half",
}


def collection_html(found: HubCollection) -> str:
    """What a collection holds, before anything of it is fetched."""
    rows = [
        [
            f'<span class="ds-whole">{esc(one.dataset, 120)}</span>',
            chip(one.problem, "warn")
            if one.problem
            else esc(", ".join(one.known), 120) or "its test split, columns guessed",
            esc(one.note, 200),
        ]
        for one in found.items
    ]
    return table(
        ["Dataset", "What would be added", "Note"],
        rows,
        caption=found.title[:120],
        empty="It holds nothing.",
    )


def collected_html(report: CollectionReport) -> str:
    """What became of each dataset of a collection."""
    rows = [
        [
            f'<span class="ds-whole">{esc(one.dataset, 120)}</span>',
            f"<strong>{esc(one.name, 80)}</strong>" if one.name else chip("not added", "warn"),
            number(one.items) if one.name else "–",
            esc(one.problem, 500) or ("added" if one.is_new else "was here already"),
        ]
        for one in report.packs
    ]
    return table(
        ["Dataset", "Benchmark", "Items", "What came of it"], rows, caption=report.title[:120]
    )


def packs_html(reports: Sequence[LeakReport]) -> str:
    """All benchmarks: what they are, what is not checked yet, what was found."""
    rows = [
        [
            f"<strong>{esc(r.pack.name, 60)}</strong>{_own(r.pack.kind)}<br>"
            f"<span class='ds-note'>{esc(r.pack.source, 80)}</span>",
            number(r.pack.items),
            chip(f"{number(r.pack.unchecked)} rows", "warn") if r.pack.unchecked else "–",
            chip(f"{number(r.rows)} rows", "bad") if r.rows else chip("none", "good"),
            _reworded(r),
        ]
        for r in reports
    ]
    return table(
        ["Benchmark", "Items", "To check", "Leaked", "Reworded"],
        rows,
        empty="No benchmark yet: add the ones the student will be tested on. Validation splits of"
        " snapshots count by themselves.",
    )


def _own(kind: str) -> str:
    return "" if kind == "benchmark" else " " + chip("own evaluation set", "info")


def _reworded(report: LeakReport) -> str:
    if not report.open:
        return "–"
    text = f"{number(report.open)} to judge"
    return f"{text}, {number(report.model_leaks)} by a model" if report.model_leaks else text


def report_html(report: LeakReport) -> str:
    """What one benchmark's check found, by rule, with evidence."""
    facts = [
        (report.by_rule["ngram"], "rows share 13 words in a row", "warn"),
        (report.by_rule["coverage"], "hold more than half of an item", "warn"),
        (report.by_rule["exact"], "are a short item", "warn"),
        (report.accepted, "accepted, so they stay", "bad"),
        (report.leaks, "reworded, a person said leak", "warn"),
        (report.model_leaks, "reworded, only a model said so", "warn"),
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
    longest = one.shared[0] if one.shared else ""
    return (
        f"<details class='ds-curate-filter'><summary>{_facts(one)}"
        f"<span class='ds-note'>{esc(longest, 84)}</span></summary>{_sides(one)}</details>"
    )


def find_html(one: LeakExample) -> str:
    """What the rules found, open beside its item, for a verdict."""
    return f"<div class='ds-curate-top'>{_facts(one)}</div>{_sides(one)}"


def _facts(one: LeakExample) -> str:
    top = f"<strong>{esc(one.label, 60)}</strong> {chip(_RULES[one.rule], 'warn')} "
    top += chip(f"{one.coverage:.0%} of it shared")
    if one.status == "accepted":
        top += " " + chip("accepted: stays", "bad")
    if one.verdict == "not_leak":
        top += " " + chip("called no leak", "good")
    elif one.verdict == "leak":
        top += " " + chip("called a leak", "good")
    return top


def _sides(one: LeakExample) -> str:
    return (
        "<div class='ds-curate-pair ds-leak-pair'>"
        f"<section class='ds-card'><header>Benchmark, {esc(one.item_side)}</header>"
        f"<div class='ds-txt'>{_marked(one.item_text)}</div></section>"
        f"<section class='ds-card'><header>Row, {esc(one.row_side)}</header>"
        f"<div class='ds-txt'>{_marked(one.row_text)}</div></section></div>"
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
    top += _opinion(found)
    words = esc(found.opinion_reason, 600)
    reason = f"<p class='ds-note'>{esc(found.opinion_by)}: {words}</p>" if words else ""
    answer = (
        f"<details><summary class='ds-note'>Known answer</summary>"
        f"<div class='ds-txt'>{esc(found.answer)}</div></details>"
        if found.answer
        else ""
    )
    item = f"{found.pack}, {found.label}"
    return (
        f"<div class='ds-curate-top'>{top}</div>{reason}<div class='ds-curate-pair'>"
        f"<section class='ds-card'><header>{esc(item, 120)}</header>"
        f"<div class='ds-txt'>{_differing(found.item_text, 'del')}</div>{answer}</section>"
        "<section class='ds-card'><header>Prompt of a row</header>"
        f"<div class='ds-txt'>{_differing(found.row_text, 'ins')}</div></section></div>"
    )


_SAID = {
    "leak": ("the same problem", "warn"),
    "not_leak": ("not the same", ""),
    "unsure": ("unsure", ""),
    "unreadable": ("no readable reply", "bad"),
    "failed": ("no reply", "bad"),
}


def _opinion(found: LeakCandidate) -> str:
    """What a model said, as a chip that names it."""
    if not found.opinion:
        return ""
    said, kind = _SAID[found.opinion]
    return " " + chip(f"model {found.opinion_by}: {said}", kind)


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
