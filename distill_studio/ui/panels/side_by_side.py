"""Two to four answers side by side, as HTML made on the server from untrusted text.

Start from `panes_html`. Model text passes `safe_markdown`, everything else `esc`.
"""

from collections.abc import Sequence

from distill_studio.core.records import Message
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    AnswerStats,
    Comparison,
    CostKind,
    ModelCard,
    ModelRole,
)
from distill_studio.curate.diff import MAX_PIECES, Piece, word_diff
from distill_studio.review.bench_record import CUT_OFF
from distill_studio.ui.html import chip, esc, marked, note, number, size, usd
from distill_studio.ui.safe_markdown import plain, render

_ROLE_CHIPS = {ModelRole.TEACHER: "info", ModelRole.BASE: "", ModelRole.STUDENT: "good"}
_STATE_WORDS = {
    AnswerState.WAITING: "getting ready",
    AnswerState.WRITING: "writing",
    AnswerState.STOPPED: "stopped",
    AnswerState.FAILED: "failed",
}
_STATE_CHIPS = {AnswerState.STOPPED: "warn", AnswerState.FAILED: "bad"}
_MARKDOWN_WHILE_WRITING = 4000  # characters; longer texts are formatted once they are complete


def panes_html(comparison: Comparison, against: int = 0) -> str:
    """The question and a pane per answer; the winner is marked once voted.

    With `against`, the place of an answer from 1, the words in which the others differ from it are
    marked, once all are complete.
    """
    is_marked = comparison.is_final and 1 <= against <= len(comparison.answers)
    panes = "".join(
        pane_html(comparison, index, against if is_marked else 0)
        for index in range(len(comparison.answers))
    )
    count = len(comparison.answers)
    busy = "false" if comparison.is_final else "true"
    return (
        f'<section class="ev-comparison" aria-busy="{busy}" aria-label="Answers side by side">'
        f"{conversation_html(comparison.messages)}"
        f'<div class="ev-panes ev-panes-{count}">{panes}</div></section>'
    )


def conversation_html(messages: Sequence[Message]) -> str:
    """The conversation that was answered, its last turn in full view."""
    turns = "".join(
        f'<div class="ev-turn ev-{esc(m.role)}"><span class="ev-who">{esc(m.role)}</span>'
        f'<div class="ds-txt">{esc(m.content)}</div></div>'
        for m in messages
    )
    return f'<div class="ev-question">{turns}</div>'


def pane_html(comparison: Comparison, index: int, against: int = 0) -> str:
    """One answer with its model, text and figures; `against` as in `panes_html`."""
    answer = comparison.answers[index]
    is_winner = comparison.winner == str(index + 1)
    marks = chip("preferred", "good") if is_winner else ""
    if answer.is_cut:
        marks += chip(CUT_OFF, "warn")
    if against == index + 1:
        marks += chip("compared with", "info")
    text = _marked_html(comparison, index, against) if against else _text_html(answer)
    state = _STATE_WORDS.get(answer.state, "")
    if state:
        marks += chip(state, _STATE_CHIPS.get(answer.state, "info"))
    return (
        f'<article class="ds-card ev-pane{" ev-winner" if is_winner else ""}"'
        f' data-place="{index + 1}" aria-label="{esc(answer.card.label)}">'
        f'<header class="ev-pane-top"><span class="ev-place">{index + 1}</span>'
        f"<strong>{esc(answer.card.label)}</strong>{_role_chip(answer.card)}{marks}</header>"
        f'<div class="ds-md ev-text">{text}</div>'
        f'<footer class="ev-stats">{stats_html(answer)}</footer></article>'
    )


def stats_html(answer: Answer) -> str:
    """Speed, cost, length and size; what is not known is left out, but for a price."""
    stats, card = answer.stats, answer.card
    word = "token" if stats.is_exact else "piece"
    facts = [
        stats.tokens_per_s is not None and (f"{stats.tokens_per_s:.1f}", f"{word}s/s"),
        stats.first_token_s is not None and (f"{stats.first_token_s:.2f} s", "to first text"),
        stats.total_s is not None and (f"{stats.total_s:.1f} s", "in all"),
        cost_words(stats),
        stats.tokens and (number(stats.tokens), word if stats.tokens == 1 else f"{word}s"),
        stats.characters and (number(stats.characters), "characters"),
        card.parameters and (parameters(card.parameters), "parameters"),
        card.size_bytes and (size(card.size_bytes), "weights"),
        card.dtype and (card.dtype, ""),
    ]
    return "".join(
        f'<span class="ev-fact"><b>{esc(value)}</b> {esc(what)}</span>'
        for value, what in (fact for fact in facts if fact)
    )


def cost_words(stats: AnswerStats) -> tuple[str, str] | None:
    """What an answer cost and what that is; None where nothing is to be said."""
    match stats.cost:
        case CostKind.FREE:
            return "free", "to ask"
        case CostKind.UNKNOWN:
            return "cost unknown", "(no price is given)"
        case CostKind.KNOWN if stats.cost_usd is not None:
            about = "about " if stats.prompt_tokens is None else ""
            return f"{about}{usd(stats.cost_usd)}", "to ask"
    return None


def parameters(count: int) -> str:
    """A number of weights in words: 135M, 1.7B."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            value = count / scale
            return f"{value:.0f}{unit}" if value >= 10 else f"{value:.1f}{unit}"
    return str(count)


def _role_chip(card: ModelCard) -> str:
    return chip(card.role.value, _ROLE_CHIPS[card.role]) if card.role else ""


def _text_html(answer: Answer) -> str:
    is_long = len(answer.text) > _MARKDOWN_WHILE_WRITING and not answer.state.is_final
    text = plain(answer.text) if is_long else render(answer.text)
    if answer.state is AnswerState.WRITING:
        text += '<span class="ev-caret" aria-hidden="true"></span>'
    return text + _trouble_html(answer)


def _marked_html(comparison: Comparison, index: int, against: int) -> str:
    """An answer as plain text, the words that the one compared with lacks marked.

    That one itself is marked where there is only one other.
    """
    answers = comparison.answers
    own, reference = answers[index].text, answers[against - 1].text
    side = "right"
    pieces = [Piece("both", own)]
    if index != against - 1:
        pieces = word_diff(reference, own)
    elif len(answers) == 2:
        side = "left"
        pieces = word_diff(own, answers[1 - index].text)
    compared = sum(len(text) for where, text in pieces if where in ("both", side))
    text = f'<div class="ds-txt ds-diff">{marked(pieces, side)}{esc(own[compared:])}</div>'
    if compared < len(own):
        text += note(f"Only the first {MAX_PIECES:,} words and signs were compared.", "warn")
    return text + _trouble_html(answers[index])


def _trouble_html(answer: Answer) -> str:
    if answer.error:
        return note(answer.error, "bad")
    if answer.state is AnswerState.DONE and not answer.text.strip():
        return note("The model wrote nothing.", "warn")
    return ""
