"""The Curate tab's facts as safe HTML. Pure; every outside text passes `esc`."""

from collections.abc import Sequence

from distill_studio.core import embedding_models
from distill_studio.curate.filters import FILTERS
from distill_studio.curate.reports import (
    ActionInfo,
    Approximation,
    Bin,
    Comparison,
    CurateReport,
    CurateState,
    DedupPreview,
    Example,
    FilterPreview,
    FiltersPreview,
    ModelAgreement,
    NearGroup,
    NearPair,
    RowText,
    TopicCount,
)
from distill_studio.ui.html import chip, esc, marked, note, number, table

_REASONS = {"contaminated": "benchmark leak", "exact": "same text", "near": "near-duplicate"}
_TOPIC_ROWS = 12
_RECALLS = ((0.9, "good"), (0.7, ""), (0.0, "warn"))  # how a recall from here up is shown
_TOPIC_WARNINGS = 5


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
    if state.pipeline and state.new_rows:
        text += note(
            f"{_rows(state.new_rows)} came since the pipeline “{state.pipeline}” ran. Run it again "
            "under Saved pipelines.",
            "warn",
        )
    text += "".join(note(sentence, "warn") for sentence in state.unseen.in_words())
    return f'<div class="ds-curate-state">{text}</div>'


def applied_text(changed: int, kept: int, considered: int) -> str:
    """What an application did, in a line of plain text."""
    return f"{_rows(changed)} changed, {number(kept)} of {number(considered)} stay."


def filters_html(preview: FiltersPreview) -> str:
    """What all filters take together, and from which topics."""
    head = f"Filters drop {number(preview.dropped)} of {number(preview.considered)} rows."
    parts = [f"<p class='ds-curate-sum'>{esc(head)}</p>"]
    if preview.protected:
        words = ("fails", "stays", "it") if preview.protected == 1 else ("fail", "stay", "them")
        fails, stays, them = words
        said = f"{_rows(preview.protected)} {fails} too but {stays}: a person accepted {them}."
        parts.append(note(said))
    if preview.unmeasured:
        parts.append(note(f"{_rows(preview.unmeasured)} not measured yet.", "warn"))
    parts.append(_bars(preview))
    if preview.dropped:
        parts.append(_topics(preview.by_topic, "Filters by topic"))
    return "".join(parts)


def _bars(preview: FiltersPreview) -> str:
    """A bar per filter that counts anything, the largest first."""
    counting = sorted((f for f in preview.filters if f.drops), key=lambda one: -one.drops)
    most = max((one.drops for one in counting), default=0)
    lines = "".join(
        f"<li class='{'warns' if one.only_warns else ''}'><span>{esc(one.label)}</span>"
        f"<span class='bar'><i style='width:{max(1.5, 100 * one.drops / most):.1f}%'></i></span>"
        f"<b>{number(one.drops)}</b></li>"
        for one in counting
    )
    return f"<ul class='ds-curate-bars'>{lines}</ul>" if lines else ""


def filter_title(one: FilterPreview) -> str:
    """The title of a filter's fold: its name and its count, as plain text."""
    if not one.is_on:
        return f"{one.label} · off"
    if one.only_warns:
        return f"{one.label} · {number(one.drops)} found, {'stays' if one.drops == 1 else 'stay'}"
    return f"{one.label} · {number(one.drops)} beyond the line"


def about_html(about: str) -> str:
    """What a filter does, in its fold."""
    return note(about)


def filter_rows_html(one: FilterPreview) -> str:
    """The rows nearest to a filter's line, on both sides."""
    if not one.is_on:
        return ""
    beyond = "Found, nearest to the line" if one.only_warns else "Beyond, nearest to the line"
    if not one.kept:  # yes-or-no measures have no rows near the line on the other side
        return _examples(beyond, one.dropped) if one.drops else ""
    return (
        f"<div class='ds-curate-sides'><div>{_examples(beyond, one.dropped)}</div>"
        f"<div>{_examples('Stay, nearest to the line', one.kept)}</div></div>"
    )


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
    facts_html = f"<div class='ds-curate-facts'>{tiles}</div>"
    return facts_html + note(extra) + _approximation(preview.approximate) + late


def agreement_html(found: ModelAgreement | None, model: str) -> str:
    """How far a chosen model agrees with the full one, and which threshold to set."""
    if model == embedding_models.FULL:
        return ""
    if found is None:
        name = embedding_models.label(model)
        return note(
            f"{name[:1].upper()}{name[1:]}: not compared with the full model yet. A"
            " similarity means something else to it, so the threshold has to be another. Find out"
            " before you rely on it: both read up to 400 of your texts, which takes the full model"
            " seconds to minutes.",
            "warn",
        )
    rank = "" if found.spearman is None else f" Spearman {found.spearman:.2f}: the order of pairs"
    rank += "" if found.spearman is None else f" {_agrees(found.spearman)}."
    rows = [
        [f"{m.threshold:.2f}", _threshold(m.matching), number(m.pairs), _share_of(m.recall)]
        for m in found.matches
    ]
    columns = ["Full model", "This model", "Near pairs", "Of them found"]
    return (
        f"<div class='ds-curate-agreement'><div>{_advice(found)}"
        f"{note(f'On {number(found.texts)} of your texts, {number(found.pairs)} pairs.{rank}')}"
        + note(
            "Thresholds of two models are not comparable: at each line, both find as many pairs of"
            " the sample."
        )
        + f"</div>{table(columns, rows, caption='Matching thresholds')}</div>"
    )


def _advice(found: ModelAgreement) -> str:
    """The threshold to set, in words."""
    asked = found.asked
    if asked.matching is None or asked.recall is None:
        return note(
            f"The full model finds no near pair from {asked.threshold:.2f} up in the sample, so"
            " there is no threshold to suggest.",
            "warn",
        )
    text = (
        f"Set the threshold to {_threshold(asked.matching)} here where you would set"
        f" {asked.threshold:.2f} with the full model. It then finds {_percent(asked.recall)} of the"
        f" {number(asked.pairs)} near pairs that the full model finds in the sample, and as many"
        " others in place of the rest."
    )
    return note(text, next(kind for least, kind in _RECALLS if asked.recall >= least))


def _agrees(rho: float) -> str:
    """A rank correlation in words."""
    words = ((0.8, "agrees well"), (0.5, "agrees in part"), (0.2, "agrees little"))
    return next((text for least, text in words if rho >= least), "hardly agrees")


def _threshold(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share_of(share: float | None) -> str:
    return "–" if share is None else _percent(share)


def _approximation(found: Approximation | None) -> str:
    """What an approximate search is worth; nothing where it was exact."""
    if found is None:
        return ""
    if not found.pairs:
        return note("Approximate: there are too many rows to compare all. Not measured yet.")
    return note(
        f"Approximate: found an estimated {_percent(found.share)} of near pairs (95% interval "
        f"{_percent(found.low)} to {_percent(found.high)}, from a sample of "
        f"{number(found.pairs)}). There are too many rows to compare all with all."
    )


def _percent(share: float) -> str:
    """With one decimal; 100% only when it is all."""
    return "100%" if share == 1.0 else f"{min(share, 0.999):.1%}"


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
        f"<div class='ds-txt ds-curate-prompt'>{marked(found.prompt_diff, side)}</div>"
        f"<div class='ds-txt'>{marked(found.answer_diff, side)}</div></section>"
        for title, row, side in ((left, found.a, "left"), (right, found.b, "right"))
    )
    return f"<div class='ds-curate-top'>{top}</div><div class='ds-curate-pair'>{sides}</div>"


def report_html(report: CurateReport) -> str:
    """What an apply leaves, by reason and by topic."""
    reasons = [[esc(_reason(name)), number(count)] for name, count in report.by_reason.items()]
    by_reason = table(["Reason", "Rows"], reasons, caption="By reason", empty="Nothing goes.")
    by_topic = _topics(report.by_topic, "By topic")
    return f"<div class='ds-curate-report'><div>{by_reason}</div><div>{by_topic}</div></div>"


def history_html(actions: Sequence[ActionInfo]) -> str:
    """What was applied, and what was taken back."""
    rows = [
        [
            f"{action.made_at:%Y-%m-%d %H:%M}",
            esc(action.user),
            esc(action.pipeline) or "the form",
            number(action.changed),
            chip(f"undone by {action.undone_by}", "warn")
            if action.undone_at
            else chip("in force", "good"),
        ]
        for action in actions
    ]
    return table(
        ["When (UTC)", "Who", "Applied", "Rows changed", ""], rows, empty="Nothing was applied yet."
    )


def _brief(row: RowText) -> str:
    return (
        f"<div>{esc(row.answer, 140)}</div><span class='ds-note'>{esc(row.prompt, 80)}</span> "
        f"{_chips(row)}"
    )


def _chips(row: RowText) -> str:
    chips = chip(row.status, "good" if row.status == "accepted" else "")
    return chips + (" " + chip(row.teacher) if row.teacher else "")


def _topics(topics: Sequence[TopicCount], caption: str) -> str:
    """What goes of each topic; what loses far more than the others comes first, in words."""
    if not topics or (len(topics) == 1 and not topics[0].topic):
        return note("The rows have no topics: what goes cannot be told by topic.")
    hit = [topic for topic in topics if topic.warning]
    said = "".join(
        f"<li><strong>{esc(t.topic or '(no topic)', 60)}</strong> {esc(t.warning)} "
        f"<span class='ds-note'>{esc(_why(t))}</span></li>"
        for t in sorted(hit, key=lambda t: -t.removed / t.total)[:_TOPIC_WARNINGS]
    )
    first = [*hit, *(topic for topic in topics if not topic.warning)]
    rows = [
        [
            esc(t.topic or "(no topic)", 60)
            + (" " + chip("loses most", "warn") if t.warning else ""),
            number(t.total),
            number(t.removed),
            _share(t),
        ]
        for t in first[:_TOPIC_ROWS]
    ]
    more = len(topics) - _TOPIC_ROWS
    rest = note(f"and {number(more)} more topics") if more > 0 else ""
    warned = f"<ul class='ds-curate-warned'>{said}</ul>" if said else ""
    return warned + table(["Topic", "Rows", "Go", "Share"], rows, caption=caption) + rest


def _why(topic: TopicCount) -> str:
    """The reason that takes most of a topic."""
    kind, count = next(iter(topic.by_reason.items()))
    return f"Mostly {_reason(kind)} ({number(count)})."


def _reason(kind: str) -> str:
    name = FILTERS[kind].label.lower() if kind in FILTERS else kind
    return _REASONS.get(kind, name)


def _share(topic: TopicCount) -> str:
    return f"{topic.removed / topic.total:.0%}" if topic.total else "–"


def _rows(count: int) -> str:
    return f"{number(count)} row" if count == 1 else f"{number(count)} rows"
