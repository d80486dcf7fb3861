"""Which writing systems a text uses, by the Unicode names of its letters. Pure."""

import functools
import unicodedata
from collections import Counter

# Japanese writes in three scripts, Chinese in one of them, Korean at times too: one group each
# would call ordinary Japanese a mixture.
_GROUPS = {
    "CJK": "Han",
    "IDEOGRAPHIC": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
}
_STYLED = {"FULLWIDTH", "HALFWIDTH", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "MODIFIER"}


def script_shares(text: str) -> dict[str, float]:
    """Share of the letters by script ("Latin", "Han", "Cyrillic", ...); sums to 1, or is empty.

    Signs, digits and letters that only mathematics uses belong to no script.
    """
    counts = Counter(found for sign in text if (found := _script(sign)))
    total = sum(counts.values())
    return {script: count / total for script, count in counts.most_common()}


@functools.lru_cache(maxsize=8192)
def _script(sign: str) -> str:
    if not unicodedata.category(sign).startswith("L"):
        return ""
    first = unicodedata.name(sign, "").partition(" ")[0]
    if not first or first in _STYLED:
        return ""
    return _GROUPS.get(first, first.capitalize())
