"""Suites as safe HTML: the table of standings, one prompt with everybody's answers."""

from collections.abc import Sequence

from distill_studio.core.estimate import Estimate
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import SuiteAnswer, SuiteItem, Trial
from distill_studio.evaluate.paired import Difference
from distill_studio.evaluate.size_picture import pictures, tradeoffs
from distill_studio.evaluate.standings import Standing, Standings
from distill_studio.evaluate.wording import (
    COST_MEANS,
    KL,
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
from distill_studio.ui.html import chip, esc, note, number, size, table

_ASK_AGAIN = "What stands above may have passed: then ask again."
_LONGEST = 4000  # characters of an answer shown


def standings_html(found: Standings) -> str:
    """The models, best first, then by topic, then what the figures rest on."""
    said = "".join(note(one, "warn") for one in found.notes)
    said += "".join(note(one) for one in found.lacks)
    if not found.rows:
        return said + note(_ASK_AGAIN if found.notes else "No model has answered a prompt yet.")
    parts = [said, table(_columns(found), [_row(found, row) for row in found.rows])]
    parts += [
        f"<details class='ev-topic'><summary>{esc(topic)}</summary>"
        f"{table(_columns(found), [_row(found, row) for row in rows])}</details>"
        for topic, rows in found.topics.items()
    ]
    parts += [pictures(found), _tradeoffs(found), note(_rests_on(found))]
    return "".join(parts)


def _tradeoffs(found: Standings) -> str:
    """Quality, size, speed and cost as a table, where anything of it is known."""
    heads, rows = tradeoffs(found)
    if not rows:
        return ""
    return (
        f"<details class='ev-topic'><summary>Quality, size, speed and cost</summary>"
        f"{table(heads, [[esc(cell) for cell in row] for row in rows])}{note(COST_MEANS)}</details>"
    )


def prompt_html(item: SuiteItem, answers: Sequence[SuiteAnswer], labels: dict[str, str]) -> str:
    """One prompt, its reference, and what each model answered."""
    has_texts = any(answer.answer for answer in answers)
    rows = [
        [
            esc(labels.get(answer.model, answer.model))
            + (f" <span class='ds-note'>{answer.sample + 1}</span>" if answer.sample else ""),
            _score_chip(answer),
            *[f"<div class='ds-txt'>{esc(answer.answer[:_LONGEST])}</div>"] * has_texts,
            esc(why(answer)[:_LONGEST]),
        ]
        for answer in answers
    ]
    return (
        f"<div class='ev-question'><div class='ev-turn'><span class='ev-who'>Prompt</span>"
        f"<div class='ds-txt'>{esc(item.messages[-1].content)}</div></div>"
        + _reference(item)
        + "</div>"
        + table(["Model", "Score", *["Answer"] * has_texts, "Why"], rows)
    )


def labels_of(cards: Sequence[ModelCard]) -> dict[str, str]:
    """Card id -> label."""
    return {card.id: card.label for card in cards}


def judge_html(trial: Trial) -> str:
    """Who scored a trial, by which rubric, and what to bear in mind."""
    if not trial.judge:
        return ""
    name = f"{trial.rubric.get('label', 'a rubric')}, version {trial.rubric.get('version', '')}"
    aspects = trial.rubric.get("aspects")
    rows = [
        [esc(one["label"]), esc(one["question"]), *map(esc, one["levels"])]
        for one in (aspects if isinstance(aspects, list) else [])
    ]
    texts = [str(trial.rubric.get(key, "")) for key in ("system_prompt", "prompt")]
    return (
        f"<details class='ev-topic'><summary>Judged by {esc(trial.judge)}"
        f" ({esc(trial.judge_model)}) with {esc(name)}"
        + (f" {chip('its relative is scored', 'warn')}" if trial.judge_warning else "")
        + "</summary>"
        + (note(trial.judge_warning, "warn") if trial.judge_warning else "")
        + table(["Aspect", "Question", "1", "2", "3", "4", "5"], rows)
        + "".join(f"<div class='ds-txt'>{esc(text)}</div>" for text in texts)
        + "</details>"
    )


def _reference(item: SuiteItem) -> str:
    if not item.reference:
        return ""
    return (
        "<div class='ev-turn ev-assistant'><span class='ev-who'>Reference</span>"
        f"<div class='ds-txt'>{esc(item.reference)}</div></div>"
    )


def _columns(found: Standings) -> list[str]:
    columns = ["Model", "Prompts", "", SAME_TOKEN if found.has_kl else "Score", "95% interval"]
    if found.has_kl:
        columns.append(f"{KL} (nats)")
    if found.has_loss:
        columns.append(f"{LOSS} (nats)")
    if found.teacher and not found.has_kl:
        columns.append("Against the teacher")
    if found.has_retained:
        columns.append("Quality retained")
    if _has_gap(found):
        columns.append("Gap closed")
    return [*columns, *([] if found.has_kl else ["Tokens", "Time"]), "Weights"]


def _row(found: Standings, row: Standing) -> list[str]:
    role = row.card.role.value if row.card.role else ""
    remarks = [f"{row.failed} failed"] * bool(row.failed) + [f"{row.cut} cut off"] * bool(row.cut)
    cells = [
        f"{esc(row.card.label)} {chip(role)}"
        + (f"<br><span class='ds-note'>{esc(', '.join(remarks))}</span>" if remarks else ""),
        number(row.items),
        _bar(row.score),
        _percent(row.score.value),
        _interval(row.score),
    ]
    if found.has_kl:
        cells.append(_kl(row))
    if found.has_loss:
        cells.append(_nats(row.loss))
    if found.teacher and not found.has_kl:
        cells.append(_difference(row.against_teacher))
    if found.has_retained:
        cells.append(_estimate(row.retained))
    if _has_gap(found):
        cells.append(_estimate(row.recovered))
    if not found.has_kl:
        seconds = None if row.mean_latency_ms is None else row.mean_latency_ms / 1000
        cells += [number(row.mean_tokens), "" if seconds is None else f"{seconds:.1f} s"]
    return [*cells, size(row.card.size_bytes) if row.card.size_bytes else ""]


def _nats(found: Estimate | None) -> str:
    if found is None:
        return ""
    return f"<span class='ev-when'>{nats(found.value)}</span><br>{_noted(nats_interval(found))}"


def _kl(row: Standing) -> str:
    """The KL, and how much nearer the teacher that is than the base."""
    text, gap = _nats(row.kl), row.kl_against_base
    if gap is None or gap.mean.value is None:
        return text
    beside = f"{gap.mean.value:+.3f} beside the base ({nats_interval(gap.mean, signed=True)})"
    return f"{text}<br>{_noted(beside)}"


def _has_gap(found: Standings) -> bool:
    return any(row.recovered is not None for row in found.rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"<span class='ev-when'>{percent(value)}</span>"


def _noted(text: str) -> str:
    return f"<span class='ds-note'>{esc(text)}</span>"


def _interval(found: Estimate) -> str:
    text = score_interval(found)
    return _noted(text) if found.low is None else text


def _estimate(found: Estimate | None) -> str:
    if found is None:
        return ""
    if found.value is None:
        return _noted(found.why)
    return f"{_percent(found.value)}<br>{_noted(ratio_interval(found))}"


def _difference(found: Difference | None) -> str:
    if found is None or found.mean.value is None:
        return ""
    return f"{points(found.mean.value)}<br>{_noted(points_interval(found.mean))}"


def _bar(found: Estimate) -> str:
    if found.value is None:
        return ""
    low = 100 * max(0.0, found.value if found.low is None else found.low)
    high = 100 * min(1.0, found.value if found.high is None else found.high)
    return (
        f"<span class='ev-rate' aria-hidden='true'><span class='ev-rate-range' "
        f"style='left:{low:.1f}%;right:{100 - high:.1f}%'></span>"
        f"<span class='ev-rate-tick' style='left:{100 * found.value:.1f}%'></span></span>"
    )


def _score_chip(answer: SuiteAnswer) -> str:
    if answer.score is None:
        return chip("failed", "warn")
    is_graded = answer.kl is not None or answer.loss is not None or answer.judged
    if answer.score in (0.0, 1.0) and not is_graded:
        return chip("right", "good") if answer.score else chip("wrong", "bad")
    return chip(f"{100 * answer.score:.0f}%", "info")


def _rests_on(found: Standings) -> str:
    said = [f"{number(found.items)} prompts that all models answered.", _left_out(found)]
    if found.practice:
        said.append(
            f"{number(found.practice)} do not count: they are the half whose losses became"
            " training data."
        )
    if found.missing:
        said.append(f"{number(found.missing)} answers were not given yet.")
    if found.needed is not None:
        enough = "so many are here" if found.needed <= found.items else "fewer are here"
        said.append(
            f"To find a difference of 3 points from the teacher 8 times in 10, about "
            f"{number(found.needed)} prompts are needed ({enough})."
        )
    said.append("Differences are paired by prompt; samples of a prompt count as one.")
    if found.has_kl:
        said.append(
            "Teacher and model read the same text, the reference or else the teacher's answer:"
            " in which share of places both find the same token the likeliest, and"
            " KL(teacher || model) per token."
        )
    elif found.has_retained:
        said.append(
            "Quality retained is score by the teacher's score, above chance where there are"
            " choices."
        )
    elif not found.has_quality:
        said.append(NO_VERDICT)
    return " ".join(part for part in said if part)


def _left_out(found: Standings) -> str:
    if not found.left_out:
        return ""
    return f"{number(found.left_out)} more that some model lacks: ask again. {OWN_AND_PAIRED}"
