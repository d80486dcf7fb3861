"""Scores, intervals and differences as plain text, for every table that shows them."""

from distill_studio.core.estimate import Estimate
from distill_studio.core.records.suite import SuiteAnswer

SAME_TOKEN = "Same likeliest token"
KL = "KL from the teacher"
KL_FROM_BASE = "KL beside the base's"
LOSS = "Held-out loss"
OWN_AND_PAIRED = (
    "A model's own figures are over the prompts that it answered, what compares two models over"
    " those that both answered."
)
COST_MEANS = (
    "Speed is that of all answers together, with as many at a time as a model was asked for. Cost"
    " is the teacher's price by tokens, or the price of the machine by the time an answer took."
)
NO_VERDICT = (
    "This score is a diagnostic and no verdict on which answer is better, so it says no share of"
    " the teacher's quality."
)


def why(answer: SuiteAnswer) -> str:
    """Why an answer has its score, or none; what a judge wrote where it could not be read."""
    said = answer.error or answer.reason
    if answer.error and answer.judged:
        said += f" It wrote: {answer.judged}"
    return said + (" (cut off)" if answer.is_cut else "")


def percent(value: float | None) -> str:
    """0.421 as 42.1%; '' for None."""
    return "" if value is None else f"{100 * value:.1f}%"


def score_interval(found: Estimate) -> str:
    """The interval of a score, within 0 to 100%; why there is none where there is none."""
    if found.low is None or found.high is None:
        return found.why
    return f"{100 * max(0.0, found.low):.1f} to {100 * min(1.0, found.high):.1f}%"


def ratio_interval(found: Estimate) -> str:
    """The interval of a share that may lie beyond 0 and 100%."""
    if found.low is None or found.high is None:
        return found.why
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}%"


def points(value: float) -> str:
    """0.012 as +1.2 points."""
    return f"{100 * value:+.1f} points"


def points_interval(found: Estimate) -> str:
    """The interval of a difference, in points."""
    if found.low is None or found.high is None:
        return found.why
    return f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"


def usd(value: float) -> str:
    """12.3456 as $12.35; small amounts with two digits that count."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.2g}"


def nats(value: float | None) -> str:
    """0.12345 as 0.123; '' for None."""
    return "" if value is None else f"{value:.3f}"


def nats_interval(found: Estimate, *, signed: bool = False) -> str:
    """The interval of a KL or a loss, or (signed) of a difference of two of them."""
    if found.low is None or found.high is None:
        return found.why
    if signed:
        return f"{found.low:+.3f} to {found.high:+.3f}"
    return f"{max(0.0, found.low):.3f} to {found.high:.3f}"
