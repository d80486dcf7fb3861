"""Answers in a language that is not wanted.

Found by py3langid (naive Bayes on byte n-grams) in the prose of an answer: code, addresses and
numbers are left out. Texts with few letters, and those of which the model is less than half sure,
are of unknown language and stay. On the 3,220 AlpacaEval answers it then calls four another
language than English: the four that are French. With all of its 140 languages and no limit it
would be 90, most of them lists of names.
"""

import re
import threading
from functools import cache
from typing import Literal

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Limit,
    Measured,
    setting,
)
from distill_studio.curate.filters.language_names import LANGUAGES

LANGUAGE_MEASURE = "language"
_NO_LANGUAGE = "zxx"  # the model's word for what is no text
_FEWEST_LETTERS = 24
_LEAST_SURE = 0.5
_READ_CHARACTERS = 400
_NO_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|\bhttps?://\S+|<[^<>\n]{1,200}>|\d+", re.DOTALL)
_LETTER = re.compile(r"[^\W\d_]")
_guard = threading.Lock()


class LanguageConfig(FilterConfig):
    """Which languages stay."""

    kind: Literal["language"] = "language"
    is_on: bool = setting(False, "Use this filter")
    keep: tuple[str, ...] = setting(
        ("en",),
        "Languages to keep",
        "Short answers, code and what cannot be told stay in any case.",
        choices=LANGUAGES,
    )

    def limits(self) -> tuple[Limit, ...]:
        """The language must be one of those to keep; none chosen means any."""
        if not self.keep:
            return ()
        return (Limit(LANGUAGE_MEASURE, notes=self.keep, why_note="written in {note}"),)


def measure(answer: Answer) -> dict[str, Measured]:
    """The language's code, with how sure the model is; nothing when that is too little."""
    text = _NO_PROSE.sub(" ", answer.text[: 4 * _READ_CHARACTERS])[:_READ_CHARACTERS]
    if len(_LETTER.findall(text)) < _FEWEST_LETTERS:
        return {}
    code, sureness = _identifier().classify(text)
    if code == _NO_LANGUAGE or sureness < _LEAST_SURE:
        return {}
    return {LANGUAGE_MEASURE: Measured(round(float(sureness), 3), code)}


def _identifier() -> LanguageIdentifier:
    with _guard:
        return _load()


@cache
def _load() -> LanguageIdentifier:
    made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    made.set_languages([*LANGUAGES, _NO_LANGUAGE])
    return made


LANGUAGE = Filter(LanguageConfig, "Language", "Answers in other languages.", 1, measure)
