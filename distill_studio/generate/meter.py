"""How fast answers arrive, and how long the rest will take."""

from collections import deque

from distill_studio.core.protocols import Clock

_WINDOW_S = 20.0


class Meter:
    """Rates over the last 20 seconds.

    Args:
        clock: Seconds, rising.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock()
        self._recent: deque[tuple[float, int, int]] = deque()

    def add(self, answers: int, tokens: int) -> None:
        """So many answers with so many tokens arrived now."""
        self._recent.append((self._clock(), answers, tokens))

    def rates(self) -> tuple[float, float]:
        """(answers per second, tokens per second)."""
        now = self._clock()
        while self._recent and self._recent[0][0] < now - _WINDOW_S:
            self._recent.popleft()
        span_s = max(0.5, min(_WINDOW_S, now - self._started))
        return (
            sum(answers for _, answers, _ in self._recent) / span_s,
            sum(tokens for _, _, tokens in self._recent) / span_s,
        )

    def eta_s(self, remaining: int) -> float | None:
        """Seconds until `remaining` more have arrived at this pace; None while none arrives."""
        answers_per_s, _ = self.rates()
        return remaining / answers_per_s if answers_per_s else None


def in_words(seconds: float) -> str:
    """A duration as people say it: `40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
