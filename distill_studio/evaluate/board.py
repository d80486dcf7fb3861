"""What stands in the panes: folds the events of a fan-out into a `Comparison`."""

from collections.abc import Sequence

from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    AnswerStats,
    Comparison,
    ModelCard,
)
from distill_studio.evaluate.compare import Done, Event, Failed, Piece, Started, Stopped


class Board:
    """The comparison as it grows.

    Args:
        comparison: As it stands at the start, an answer per model.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._start = comparison
        self._answers = list(comparison.answers)
        self._texts: list[list[str]] = [[] for _ in comparison.answers]

    def take(self, event: Event) -> None:
        """Let one event happen."""
        index = event.index
        match event:
            case Started():
                self._set(index, state=AnswerState.WRITING)
            case Piece():
                self._texts[index].append(event.text)
            case Done():
                is_cut = self._is_cut(event.stats)
                self._set(index, state=AnswerState.DONE, stats=event.stats, is_cut=is_cut)
            case Stopped():
                self._set(index, state=AnswerState.STOPPED, stats=event.stats)
            case Failed():
                self._set(
                    index,
                    state=AnswerState.FAILED,
                    stats=event.stats,
                    error_code=event.code,
                    error=event.message,
                )

    def learn(self, index: int, card: ModelCard) -> None:
        """More is known of a model now (its size, once loaded)."""
        self._set(index, card=card)

    def stop(self) -> None:
        """Nobody listens any more: what is still open counts as stopped."""
        for index, answer in enumerate(self._answers):
            if not answer.state.is_final:
                written = sum(len(text) for text in self._texts[index])
                self._set(index, state=AnswerState.STOPPED, stats=AnswerStats(characters=written))

    def comparison(self) -> Comparison:
        """As it stands now."""
        answers = tuple(
            answer.model_copy(update={"text": "".join(texts)})
            for answer, texts in zip(self._answers, self._texts, strict=True)
        )
        return self._start.model_copy(update={"answers": answers})

    def _is_cut(self, stats: AnswerStats) -> bool:
        """True when all tokens allowed were written.

        A stream tells no reason for its end. Where tokens cannot be counted its pieces are: each
        is a token at least, so a mark is true, but one may be missing.
        """
        limit = self._start.sampling.get("max_tokens")
        return isinstance(limit, int) and stats.tokens >= limit

    def _set(self, index: int, **fields: object) -> None:
        self._answers[index] = self._answers[index].model_copy(update=fields)


def empty_answers(cards: Sequence[ModelCard]) -> tuple[Answer, ...]:
    """An answer per model, nothing written yet."""
    return tuple(Answer(card=card) for card in cards)
