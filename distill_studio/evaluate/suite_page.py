"""An evaluation as one HTML file, to send to a colleague. Start at `suite_page`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from distill_studio.core.estimate import Estimate
from distill_studio.core.markup import esc
from distill_studio.core.records.base import Record
from distill_studio.core.records.suite import Suite, SuiteAnswer, SuiteItem, SuiteScorer, Trial
from distill_studio.core.standalone import standalone_page
from distill_studio.evaluate.losses import LossGroup
from distill_studio.evaluate.paired import Difference
from distill_studio.evaluate.size_picture import ENSEMBLE, band_for, pictures, tradeoffs
from distill_studio.evaluate.standings import Standing, Standings
from distill_studio.evaluate.wording import (
    COST_MEANS,
    KL,
    KL_FROM_BASE,
    LOSS,
    NO_VERDICT,
    OWN_AND_PAIRED,
    SAME_TOKEN,
    nats,
    nats_interval,
    percent,
    points,
    points_interval,
    ratio_interval,
    score_interval,
    why,
)

_LONGEST = 4000
_RUBRIC_TEXTS = {
    "system_prompt": "System prompt",
    "prompt": "Request",
    "reference_prompt": "Part of it where there is a reference",
}
_SAID = ("temperature", "top_p", "max_tokens", "seed")  # of the sampling settings


class ShownPrompt(Record):
    """A prompt with everybody's answers."""

    item: SuiteItem = Field(description="The prompt and its reference.")
    answers: list[SuiteAnswer] = Field(description="Of all models.")


class LostBy(Record):
    """What one model lost to the teacher."""

    label: str = Field(description="Of the model.")
    compared: int = Field(description="Prompts that it and the teacher answered, and that count.")
    lost: int = Field(description="Prompts on which it did worse.")
    won: int = Field(description="Prompts on which it did better.")
    groups: list[LossGroup] = Field(description="The largest first.")


class SuiteReport(Record):
    """All that the page says."""

    suite: Suite = Field(description="What was asked.")
    trial: Trial = Field(description="Of whom, and how.")
    standings: Standings = Field(description="How they did.")
    lost: list[LostBy] = Field(description="Of each model beside the teacher.")
    examples: list[ShownPrompt] = Field(description="Some prompts, those that models lost first.")
    made_at: datetime = Field(description="UTC.")
    version: str = Field(description="Of Distill Studio.")


def suite_page(report: SuiteReport) -> str:
    """The file."""
    suite, found = report.suite, report.standings
    labels = {card.id: card.label for card in report.trial.models}
    picture = pictures(found)
    heads, costs = tradeoffs(found)
    body = [
        f"<header><h1>{esc(suite.name)}</h1>"
        f'<p class="lead">{esc(_lead(report))}</p>'
        f'<p class="quiet">Evaluation, {report.made_at:%Y-%m-%d %H:%M} UTC, Distill Studio'
        f" {esc(report.version)}</p></header>",
        _section("How the models did", _standings(found, found.rows) + _rests_on(found)),
        _section(
            "Quality, size, speed and cost",
            picture + _bands(found) + _table(heads, costs) + f'<p class="quiet">{COST_MEANS}</p>',
        )
        if costs
        else "",
        _section(
            "By topic",
            "".join(
                f"<h3>{esc(topic)}</h3>{_standings(found, rows)}"
                for topic, rows in found.topics.items()
            ),
        )
        if found.topics
        else "",
        _section(
            "What was lost to the teacher",
            _half(found) + "".join(_lost(one) for one in report.lost),
        )
        if report.lost
        else "",
        _section("Prompts", "".join(_example(one, labels) for one in report.examples)),
        _section("How it was measured", _method(report)),
    ]
    title = f"{suite.name}: evaluation"
    return standalone_page(title, f'<article class="ds-report">{"".join(body)}</article>')


def _lead(report: SuiteReport) -> str:
    found = report.standings
    if not found.rows:
        return " ".join(found.notes) or "No model has answered a prompt yet."
    best = found.rows[0]
    said = f"{best.card.label} scored {percent(best.score.value)} on {best.items:,} prompts."
    if found.has_kl:
        return _lead_of_agreement(found)
    for row in found.rows:
        if row.retained is not None and row.retained.value is not None:
            said += f" {row.card.label} keeps {percent(row.retained.value)} of the teacher's."
    return said


def _lead_of_agreement(found: Standings) -> str:
    said = [f"{found.items:,} prompts."]
    said += [
        f"{row.card.label} finds the teacher's likeliest token the likeliest in"
        f" {percent(row.score.value)} of places, at {nats(row.kl.value)} nats per token from the"
        " teacher."
        for row in found.rows
        if row.card.id != found.teacher and row.kl is not None
    ]
    return " ".join(said)


def _standings(found: Standings, rows: Sequence[Standing]) -> str:
    columns: list[tuple[str, Callable[[Standing], str]]] = [
        ("Model", _name),
        ("Prompts", lambda r: f"{r.items:,}"),
        (SAME_TOKEN if found.has_kl else "Score", lambda r: percent(r.score.value)),
        ("95% interval", lambda r: score_interval(r.score)),
    ]
    if found.has_kl:
        columns.append((KL, lambda r: _nats(r.kl)))
    if found.has_kl and found.base:
        columns.append((KL_FROM_BASE, _kl_from_base))
    if found.has_loss:
        columns.append((LOSS, lambda r: _nats(r.loss)))
    if found.teacher and not found.has_kl:
        columns.append(("Against the teacher", lambda r: _difference(r.against_teacher)))
    if found.has_retained:
        columns.append(("Quality retained", lambda r: _with_interval(r.retained)))
    if any(row.recovered is not None for row in rows):
        columns.append(("Gap closed", lambda r: _with_interval(r.recovered)))
    if not found.has_kl:
        columns += [
            ("Tokens", lambda r: "" if r.mean_tokens is None else f"{r.mean_tokens:.0f}"),
            ("Seconds", _seconds),
        ]
    columns.append(("Weights", _weights))
    return _table([head for head, _ in columns], [[cell(r) for _, cell in columns] for r in rows])


def _rests_on(found: Standings) -> str:
    said = [*found.notes, *found.lacks, f"{found.items:,} prompts that all models answered."]
    if found.left_out:
        said.append(f"{found.left_out:,} more that some model lacks. {OWN_AND_PAIRED}")
    if found.practice:
        said.append(f"{found.practice:,} left out: the half whose losses became training data.")
    if found.missing:
        said.append(f"{found.missing:,} answers were not given yet.")
    if found.needed is not None:
        said.append(
            f"About {found.needed:,} prompts would show a difference of 3 points from the teacher"
            " 8 times in 10."
        )
    return f'<p class="quiet">{esc(" ".join(said))}</p>'


def _bands(found: Standings) -> str:
    if not found.has_retained:
        return ""
    sizes = {row.card.id: row.card.parameters for row in found.rows}
    if not sizes.get(found.teacher) or len({size for size in sizes.values() if size}) < 2:
        return ""
    near = (band_for(sizes[found.teacher], size) for size in sizes.values())
    said = [
        f"{band.words} of the teacher, as reported for {band.example}"
        for band in dict.fromkeys(band for band in near if band)
    ]
    said.append(f"{ENSEMBLE.words}, as reported for {ENSEMBLE.example} (the whole width)")
    return f'<p class="quiet">Shaded with size, for orientation: {"; ".join(said)}.</p>'


def _half(found: Standings) -> str:
    """Which prompts the losses are of, where it is not all."""
    if not found.practice:
        return ""
    return '<p class="quiet">Of the exam half, as all figures above.</p>'


def _lost(one: LostBy) -> str:
    rows = [
        [group.name, f"{len(group.numbers):,}", f"{100 * group.gap:.0f} points"]
        for group in one.groups
    ]
    return (
        f"<h3>{esc(one.label)}</h3><p>Of {one.compared:,} prompts that both answered, worse on"
        f" {one.lost:,}, better on {one.won:,}.</p>"
        + (_table(["Group", "Lost", "Behind by"], rows) if rows else "")
    )


def _example(one: ShownPrompt, labels: dict[str, str]) -> str:
    rows = [
        [
            labels.get(a.model, a.model),
            "failed" if a.score is None else percent(a.score),
            a.answer[:_LONGEST],
            why(a)[:_LONGEST],
        ]
        for a in one.answers
    ]
    prompt, known = one.item.messages[-1].content, one.item.reference[:_LONGEST]
    return (
        f"<details><summary>{esc(prompt[:160])}</summary><p>{esc(prompt[:_LONGEST])}</p>"
        + (f'<p class="quiet">Reference: {esc(known)}</p>' if known else "")
        + f"{_table(['Model', 'Score', 'Answer', 'Why'], rows)}</details>"
    )


def _method(report: SuiteReport) -> str:
    suite, trial = report.suite, report.trial
    settings = ", ".join(f"{key} {trial.sampling.get(key)}" for key in _SAID)
    facts: list[tuple[str, Any]] = [
        ("Suite", f"{suite.name}, {suite.item_count:,} prompts from {suite.source or 'a file'}"),
        ("Hash of its prompts", suite.content_hash),
        ("Scored by", suite.scorer.value.replace("_", " ")),
        ("Answers per prompt", trial.samples),
        ("Sampling", settings),
        ("Asked", f"{trial.created_at:%Y-%m-%d %H:%M} UTC by {trial.user or 'somebody'}"),
    ]
    facts += [
        (card.label, ", ".join(str(v) for v in (card.id, card.model, card.dtype) if v))
        for card in trial.models
    ]
    if trial.judge:
        facts.insert(3, ("Judge", f"{trial.judge} ({trial.judge_model})"))
        facts.insert(4, ("Rubric", _rubric_name(trial)))
    rows = [[name, str(value)] for name, value in facts]
    return (
        _table(["", ""], rows)
        + "".join(f"<p>{esc(one)}</p>" for one in (trial.judge_warning, _means(report)) if one)
        + '<p class="quiet">Intervals: Student\'s t over prompts for scores and differences, paired'
        " by prompt; Fieller's for ratios, with errors by prompt."
        f" {_retained_means(report.standings)}Texts are shown as models wrote them.</p>"
        f"{_rubric(trial)}"
    )


def _retained_means(found: Standings) -> str:
    if not found.has_retained:
        return ""
    return (
        "Quality retained is the student&#x27;s score by the teacher&#x27;s, above chance where"
        " there are choices. "
    )


def _means(report: SuiteReport) -> str:
    """What the figures of this scorer are."""
    if report.suite.scorer is SuiteScorer.AGREEMENT:
        return (
            "Teacher and model read the same text after the same prompt: the reference, or else"
            " what the teacher wrote. In which share of places both find the same token the"
            " likeliest, and KL(teacher || model), are means over a text's tokens, then over"
            " prompts. The held-out loss is the model's on references."
        )
    if report.suite.scorer in (SuiteScorer.ROUGE_L, SuiteScorer.LIKELIHOOD):
        return NO_VERDICT
    if report.trial.judge:
        return (
            "The judge scored each answer from 1 to 5 in each aspect of the rubric, knowing neither"
            " the model nor other answers; the score is their mean, 1 being 0% and 5 being 100%."
        )
    return ""


def _rubric_name(trial: Trial) -> str:
    return f"{trial.rubric.get('label', '')}, version {trial.rubric.get('version', '')}"


def _rubric(trial: Trial) -> str:
    """The texts that the judge was given."""
    if not trial.rubric:
        return ""
    aspects = trial.rubric.get("aspects")
    rows = [
        [str(one["label"]), str(one["question"]), *map(str, one["levels"])]
        for one in (aspects if isinstance(aspects, list) else [])
    ]
    texts = "".join(
        f"<p class=\"quiet\">{label}</p><pre style='white-space:pre-wrap'>"
        f"{esc(str(trial.rubric.get(key, '')))}</pre>"
        for key, label in _RUBRIC_TEXTS.items()
    )
    heads = ["Aspect", "Question", "1", "2", "3", "4", "5"]
    return f"<details><summary>The rubric</summary>{_table(heads, rows)}{texts}</details>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{esc(title)}</h2>{body}</section>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{esc(one)}</th>" for one in heads)
    lines = "".join(
        "<tr>" + "".join(f"<td>{esc(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table>{top}<tbody>{lines}</tbody></table></div>'


def _with_interval(found: Estimate | None) -> str:
    if found is None:
        return ""
    if found.value is None:
        return found.why
    return f"{percent(found.value)} ({ratio_interval(found)})"


def _seconds(row: Standing) -> str:
    return "" if row.mean_latency_ms is None else f"{row.mean_latency_ms / 1000:.1f}"


def _weights(row: Standing) -> str:
    return f"{row.card.size_bytes / 2**20:,.0f} MiB" if row.card.size_bytes else ""


def _name(row: Standing) -> str:
    return f"{row.card.label} ({row.card.role.value})" if row.card.role else row.card.label


def _nats(found: Estimate | None) -> str:
    return "" if found is None else f"{nats(found.value)} ({nats_interval(found)})"


def _kl_from_base(row: Standing) -> str:
    found = row.kl_against_base
    if found is None or found.mean.value is None:
        return ""
    return f"{found.mean.value:+.3f} ({nats_interval(found.mean, signed=True)})"


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    if found.mean.value is None:
        return found.mean.why
    return f"{points(found.mean.value)} ({points_interval(found.mean)})"
