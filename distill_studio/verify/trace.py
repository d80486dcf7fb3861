"""What disqualifies a chain of thought whatever its answer: mixed languages, loops, no ending.

DeepSeek-R1 (arXiv 2501.12948, section 2.3.3) drops traces with mixed languages, long paragraphs
and code blocks; here: languages, loops and traces that were cut off. Pure; start from
`check_trace`. Each check returns a `Verdict` whose `extracted` shows the passage found.
"""

import re

from distill_studio.core.repetition import repetition
from distill_studio.core.scripts import script_shares
from distill_studio.core.words import words
from distill_studio.verify.verdict import Verdict

MAX_FOREIGN_SHARE = 0.05  # of the letters; a quoted word or name passes
MAX_REPETITION = 3.0  # times Gopher's limits: working through a sum repeats more than prose does
_LOOP_PERIOD, _LOOP_TIMES = 60, 4  # words in one turn of a loop, turns that make it one
_MATHS = re.compile(
    r"\$\$?[^$]*\$\$?|\\\(.{0,999}?\\\)|\\\[.{0,999}?\\\]|```.*?(?:```|\Z)", re.DOTALL
)
_GREEK = "Greek"  # the letters of formulas


def check_trace(
    text: str, prompt: str, finish_reason: str = "", max_characters: int | None = None
) -> Verdict:
    """The first thing wrong with a trace (reasoning and answer), else ok.

    Args:
        text: All the teacher wrote, reasoning included.
        prompt: What it was asked, in the languages it may use.
        finish_reason: As the server says it; "length" means cut off.
        max_characters: Longest trace to keep.
    """
    checks = (
        check_ending(text, finish_reason, max_characters),
        check_languages(text, prompt),
        check_loops(text),
    )
    return next((verdict for verdict in checks if not verdict.ok), checks[0])


def check_languages(
    text: str, prompt: str, max_foreign_share: float = MAX_FOREIGN_SHARE
) -> Verdict:
    """Whether the letters belong to scripts the prompt uses, but for a small share.

    Formulas and code are left out, and so are Greek letters. Only scripts are told apart: German
    in an English trace is not seen. A prompt without letters allows the trace's main script.
    """
    shares = script_shares(_MATHS.sub(" ", text))
    allowed = {s for s, share in script_shares(prompt).items() if share > max_foreign_share}
    allowed |= {_GREEK, *list(shares)[: 0 if allowed else 1]}
    if allowed & {"Han", "Kana"}:
        allowed |= {"Han", "Kana"} if "Kana" in allowed else {"Han"}
    if allowed - {"Latin", _GREEK}:
        allowed.add("Latin")  # names and units in any other writing
    foreign = {s: share for s, share in shares.items() if s not in allowed}
    if sum(foreign.values()) <= max_foreign_share:
        return Verdict(ok=True, reason="one language")
    found = ", ".join(f"{share:.0%} {script}" for script, share in foreign.items())
    return Verdict(ok=False, reason=f"mixes languages: {found}", extracted=_sample(text, allowed))


def check_loops(text: str, max_score: float = MAX_REPETITION) -> Verdict:
    """Whether it neither ends in a loop nor repeats itself throughout."""
    if turn := ending_loop(text):
        return Verdict(ok=False, reason="ends in a loop", extracted=turn[:200])
    worst = repetition(text)
    if worst.score > max_score:
        return Verdict(ok=False, reason=f"repeats itself: {worst.note}")
    return Verdict(ok=True, reason="no loop")


def ending_loop(text: str) -> str:
    """The run of words that the text ends on four times or more; '' when there is none.

    A single word or number must come twelve times, as short runs do in tables and counting.
    """
    said = words(text[-20_000:])
    return _loop_at_end(said) or _loop_at_end(said[:-1])  # the last word may be cut


def _loop_at_end(said: list[str]) -> str:
    for period in range(1, min(_LOOP_PERIOD, len(said) // _LOOP_TIMES) + 1):
        length = period * max(_LOOP_TIMES, -(-12 // period))
        tail = said[-length:]
        # A loop is a text that equals itself, shifted by its period.
        if len(tail) == length and tail[period:] == tail[:-period]:
            return " ".join(tail[:period])
    return ""


def check_ending(text: str, finish_reason: str = "", max_characters: int | None = None) -> Verdict:
    """Whether it was written to its end and is not too long."""
    said = text.rstrip()
    if not said:
        return Verdict(ok=False, reason="is empty")
    if finish_reason == "length":
        return Verdict(ok=False, reason="was cut off by the token limit", extracted=said[-200:])
    if max_characters is not None and len(said) > max_characters:
        reason = f"is too long: {len(said):,} characters, at most {max_characters:,}"
        return Verdict(ok=False, reason=reason)
    if said.count("<think>") > said.count("</think>"):
        return Verdict(ok=False, reason="its reasoning never ends", extracted=said[-200:])
    if said.endswith("</think>"):
        return Verdict(ok=False, reason="has no answer after its reasoning", extracted=said[-200:])
    if said.count("```") % 2:
        return Verdict(ok=False, reason="was cut off inside a code block", extracted=said[-200:])
    return Verdict(ok=True, reason="complete")


def _sample(text: str, allowed: set[str]) -> str:
    """Where the first foreign letter stands, with its neighbourhood."""
    for i, sign in enumerate(text):
        if script_shares(sign).keys() - allowed:
            return text[max(0, i - 40) : i + 80]
    return ""
