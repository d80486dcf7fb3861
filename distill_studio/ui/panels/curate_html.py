"""The Curate tab's facts as safe HTML. Pure; every outside text passes `esc`."""

from collections.abc import Sequence

from distill_studio.curate.reports import (
    ActionInfo,
    Bin,
    Comparison,
    CurateReport,
    CurateState,
    DedupPreview,
    Example,
    FilterPreview,
    FiltersPreview,
    NearGroup,
    NearPair,
    RowText,
    TopicCount,
)
from distill_studio.ui.html import chip, esc, note, number, table

_REASONS = {
    "contaminated": "benchmark leak",
    "exact": "same text",
    "near": "near-duplicate",
    "well_formed": "form",
}


def state_html(state: CurateState) -> str:
    """The counts at the top of the tab."""
    chips = [
        chip(f"{number(state.kept)} kept", "good"),
        chip(f"{number(state.filtered)} filtered", "warn" if state.filtered else ""),
        chip(f"{number(state.duplicates)} duplicates", "warn" if state.duplicates else ""),
        chip(f"{number(state.rejected)} rejected in review"),
    ]
    text = " ".join(chips)
    if state.outdated:
        text += note(
            f"Since the last time you applied this, {_rows(state.outdated)} would change. "
            "Apply again below.",
            "warn",
        )
    return f'<div class="ds-curate-state">{text}</div>'


def filters_html(preview: FiltersPreview) -> str:
    """What each filter drops, with rows on both sides of its line."""
    head = f"Filters drop {number(preview.dropped)} of {number(preview.considered)} rows."
    if preview.protected:
        head += f" {_rows(preview.protected)} fail too but stay: a person accepted them."
    parts = [f"<p class='ds-curate-sum'>{esc(head)}</p>"]
    if preview.unmeasured:
        parts.append(note(f"{_rows(preview.unmeasured)} not measured yet.", "warn"))
    first = next((one.kind for one in preview.filters if one.drops), "")
    parts += [_filter_html(one, is_open=one.kind == first) for one in preview.filters]
    return "".join(parts)


def _filter_html(one: FilterPreview, *, is_open: bool) -> str:
    count = f"drops {number(one.drops)}" if one.is_on else "off"
    title = (
        f"<strong>{esc(one.label)}</strong> {chip(count, 'warn' if one.drops else '')}"
        f"<span class='ds-note'>{esc(one.about)}</span>"
    )
    if not one.is_on:
        return f"<div class='ds-curate-filter'>{title}</div>"
    inner = _examples("Dropped, nearest to the line", one.dropped) + _examples(
        "Kept, nearest to the line", one.kept
    )
    opened = " open" if is_open else ""
    return f"<details class='ds-curate-filter'{opened}><summary>{title}</summary>{inner}</details>"


def _examples(title: str, examples: Sequence[Example]) -> str:
    if not examples:
        return f"<h4>{esc(title)}</h4>" + note("None.")
    items = "".join(
        f"<li><div class='ds-txt'>{esc(e.answer, 240) or '<em>no text</em>'}</div>"
        f"<span class='ds-note'>{esc(e.reason or f'score {e.score:g}')} · "
        f"{esc(e.prompt, 90)}</span></li>"
        for e in examples
    )
    return f"<h4>{esc(title)}</h4><ul class='ds-curate-examples'>{items}</ul>"


def dedup_html(preview: DedupPreview) -> str:
    """Numbers beside the histogram."""
    if not preview.model:
        return note(
            "Rows with the same text are found already. Press Find to compare meanings as well."
        )
    facts = [
        (number(preview.removed), "go", "warn"),
        (number(preview.exact), "of them the same text", ""),
        (number(preview.groups), "stay for others", "good"),
        (number(preview.conflicts), "conflicts", "bad" if preview.conflicts else ""),
    ]
    tiles = "".join(
        f"<div class='ds-curate-fact {kind}'><b>{esc(value)}</b><span>{esc(label)}</span></div>"
        for value, label, kind in facts
    )
    extra = f"{number(preview.near_pairs)} near pairs from {preview.floor:.2f} up, {preview.model}."
    late = (
        note(f"{_rows(preview.unembedded)} not compared yet: press Find.", "warn")
        if preview.unembedded
        else ""
    )
    return f"<div class='ds-curate-facts'>{tiles}</div>{note(extra)}{late}"


def histogram_svg(bins: Sequence[Bin], threshold: float) -> str:
    """Near pairs by similarity; bars from the threshold up in the accent colour."""
    if not bins or not any(b.count for b in bins):
        return note("No near pairs to draw.")
    width, height, base = 560, 150, 118
    most = max(b.count for b in bins)
    first, step = bins[0].start, width / len(bins)
    bars = "".join(
        f"<rect x='{k * step + 1:.1f}' y='{base - b.count / most * 100:.1f}' "
        f"width='{step - 2:.1f}' height='{b.count / most * 100:.1f}' rx='1.5' "
        f"class='{'on' if b.start >= threshold - 1e-9 else ''}'>"
        f"<title>{b.start:.2f} to {b.stop:.2f}: {b.count}</title></rect>"
        for k, b in enumerate(bins)
        if b.count
    )
    ticks = "".join(
        f"<text x='{k * step:.1f}' y='136'>{b.start:.2f}</text>"
        for k, b in enumerate(bins)
        if k % 5 == 0
    )
    at = (threshold - first) / (1.0 - first) * width if first < 1.0 else width
    line = f"<line x1='{at:.1f}' x2='{at:.1f}' y1='4' y2='{base}' class='at'/>"
    label = f"Near pairs by similarity; the largest bar holds {most}"
    return (
        f"<svg class='ds-curate-hist' viewBox='-4 0 {width + 30} {height}' role='img' "
        f"aria-label='{esc(label)}'><line x1='0' x2='{width}' y1='{base}' y2='{base}' "
        f"class='axis'/>{bars}{line}{ticks}<text x='{width}' y='136'>1.00</text>"
        f"<text x='0' y='12' class='most'>{number(most)} pairs in the largest bar</text></svg>"
    )


def groups_html(groups: Sequence[NearGroup]) -> str:
    """The largest groups: who stays, and what each other row lost by."""
    rows = [
        [
            _brief(group.kept),
            number(group.size),
            "".join(_lost(p) for p in group.removed[:4])
            + (note(f"and {group.size - 4} more") if group.size > 4 else ""),
        ]
        for group in groups
    ]
    return table(
        ["Stays", "For", "Goes"], rows, empty="No groups at this threshold: nothing would go."
    )


def _lost(pair: NearPair) -> str:
    alike = chip("same" if pair.is_exact else f"{pair.similarity:.3f}")
    return f"<div class='ds-curate-lost'>{alike} {esc(pair.b.answer or '(no text)', 110)}</div>"


def comparison_html(found: Comparison, left: str, right: str) -> str:
    """Two rows side by side, differences marked."""
    alike = "below the floor" if found.similarity is None else f"{found.similarity:.3f} alike"
    said = {"keep_both": "keep both", "keep_a": "keep left", "keep_b": "keep right"}
    top = chip(alike, "info")
    if found.verdict:
        top += " " + chip(f"you said: {said[found.verdict]}", "good")
    sides = "".join(
        f"<section class='ds-card'><header>{esc(title)} {_chips(row)}</header>"
        f"<div class='ds-txt ds-curate-prompt'>{_marked(found.prompt_diff, side)}</div>"
        f"<div class='ds-txt'>{_marked(found.answer_diff, side)}</div></section>"
        for title, row, side in ((left, found.a, "left"), (right, found.b, "right"))
    )
    return f"<div class='ds-curate-top'>{top}</div><div class='ds-curate-pair'>{sides}</div>"


def report_html(report: CurateReport) -> str:
    """What an apply leaves, by reason and by topic."""
    reasons = [
        [esc(_REASONS.get(name, name)), number(count)] for name, count in report.by_reason.items()
    ]
    topics = [
        [esc(t.topic or "(no topic)"), number(t.total), number(t.removed), _share(t)]
        for t in report.by_topic[:30]
    ]
    by_reason = table(["Reason", "Rows"], reasons, caption="By reason", empty="Nothing goes.")
    by_topic = table(["Topic", "Rows", "Go", "Share"], topics, caption="By topic")
    return f"<div class='ds-curate-report'><div>{by_reason}</div><div>{by_topic}</div></div>"


def history_html(actions: Sequence[ActionInfo]) -> str:
    """What was applied, and what was taken back."""
    rows = [
        [
            f"{action.made_at:%Y-%m-%d %H:%M}",
            esc(action.user),
            number(action.changed),
            chip(f"undone by {action.undone_by}", "warn")
            if action.undone_at
            else chip("in force", "good"),
        ]
        for action in actions
    ]
    return table(["When (UTC)", "Who", "Rows changed", ""], rows, empty="Nothing was applied yet.")


def _marked(pieces: Sequence[tuple[str, str]], side: str) -> str:
    tag = "del" if side == "left" else "ins"
    return "".join(
        esc(text) if where == "both" else f"<{tag}>{esc(text)}</{tag}>"
        for where, text in pieces
        if where in ("both", side)
    )


def _brief(row: RowText) -> str:
    return (
        f"<div>{esc(row.answer, 140)}</div><span class='ds-note'>{esc(row.prompt, 80)}</span> "
        f"{_chips(row)}"
    )


def _chips(row: RowText) -> str:
    chips = chip(row.status, "good" if row.status == "accepted" else "")
    return chips + (" " + chip(row.teacher) if row.teacher else "")


def _share(topic: TopicCount) -> str:
    return f"{topic.removed / topic.total:.0%}" if topic.total else "–"


def _rows(count: int) -> str:
    return f"{number(count)} row" if count == 1 else f"{number(count)} rows"
