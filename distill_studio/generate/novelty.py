"""Is a prompt unlike those there are? ROUGE-L against all of them (Self-Instruct, 2212.10560).

ROUGE-L F1 of two token lists a, b is 2 * LCS(a, b) / (len a + len b), which is the normalised
Indel similarity: rapidfuzz computes it with bit-parallel code. Each word is mapped to one
character, so that a prompt becomes a short string.
"""

import re
import threading
from collections.abc import Iterable

from rapidfuzz import process
from rapidfuzz.distance import Indel

from distill_studio.generate.effects import Nearest

_WORD = re.compile(r"[^\W_]+")
_FIRST = 0x100  # where the words' characters begin
_SURROGATES = range(0xD800, 0xE000)  # no characters


class Pool:
    """All prompts so far. Safe to use from several threads."""

    def __init__(self, prompts: Iterable[str] = ()) -> None:
        self._characters: dict[str, str] = {}
        self._encoded: list[str] = []
        self._prompts: list[str] = []
        self._lock = threading.Lock()
        for prompt in prompts:
            self._add(prompt, self._encode(prompt))

    def __len__(self) -> int:
        return len(self._prompts)

    def admit(self, prompt: str, limit: float) -> Nearest:
        """The nearest prompt; where it is less like than `limit` (ROUGE-L F1), this one joins.

        Without words it is like nothing and joins.
        """
        with self._lock:
            encoded = self._encode(prompt)
            found = process.extractOne(
                encoded, self._encoded, scorer=Indel.normalized_similarity, score_cutoff=0.0
            )
            text, score = (self._prompts[found[2]], float(found[1])) if found else ("", 0.0)
            is_new = score < limit or not encoded
            if is_new:
                self._add(prompt, encoded)
            return Nearest(is_new, text, score)

    def _add(self, prompt: str, encoded: str) -> None:
        self._prompts.append(prompt)
        self._encoded.append(encoded)

    def _encode(self, prompt: str) -> str:
        return "".join(self._character(word) for word in _WORD.findall(prompt.lower()))

    def _character(self, word: str) -> str:
        known = self._characters.get(word)
        if known is None:
            code = _FIRST + len(self._characters)
            code += len(_SURROGATES) if code >= _SURROGATES.start else 0
            known = self._characters[word] = chr(code)
        return known
