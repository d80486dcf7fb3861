"""What of a row is compared, its normal form, and the hashes that stand for it."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from distill_studio.core.records import Message

# Raise it when `normalise` changes: stored keys are then made anew (`curation_work`).
KEY_VERSION = 2

# Prose punctuation only: signs that carry meaning in code and maths (+ - * / = < > ( ) ...) stay,
# and a sign becomes a space, so that 1.5 and 15 remain different.
_PUNCTUATION = re.compile(r"[\s.,;:!?'\"`´’‘“”„«»…。、]+")
# Of those signs the ones that are no punctuation: in numbers (1.5, .5, 10:30), and where ! is a
# factorial or a "not" (5!, n!!, (n-1)!, a != b, !ok), not the end of a word of two letters or more.
_MEANT = re.compile(
    r"[.,:!](?:(?<=[.,])(?=\d)|(?<=\d:)(?=\d)"
    r"|(?<=[\w)\]}]!)(?<![^\W\d_][^\W\d_]!)!*|(?<=!)(?<!!!)!*(?=[\w=]))"
)
_ASIDE = str.maketrans(".,:!", "\ufdd0\ufdd1\ufdd2\ufdd3")  # no characters: no text has them
_BACK = str.maketrans("\ufdd0\ufdd1\ufdd2\ufdd3", ".,:!")
_FULL_WIDTH = re.compile("[\uff01-\uff5e]+")
_FORMER_PUNCTUATION = re.compile(r"[\s.,;:!?'\"`´’‘“”„«»()…。，、！？；：]+")


def conversation_text(messages: Sequence[Message]) -> str:
    """The text that stands for a prompt: all turns but the system's, in order.

    System prompts are left out: a recipe gives the same one to many rows, which would make
    all of them look alike.
    """
    return "\n\n".join(m.content for m in messages if m.role != "system").strip()


def normalise(text: str) -> str:
    """A text without the differences of case, white space and prose punctuation.

    Signs that only look alike stay different (x² and x2): of the compatibility forms of Unicode
    (UAX 15) only full-width ones count as plain ones.
    """
    plain = text.casefold()
    if not plain.isascii():
        plain = _FULL_WIDTH.sub(lambda m: unicodedata.normalize("NFKC", m[0]), plain)
        plain = unicodedata.normalize("NFC", plain.casefold())
    meant = _MEANT.sub(lambda m: m[0].translate(_ASIDE), plain)
    return _PUNCTUATION.sub(" ", meant).strip().translate(_BACK) or " ".join(plain.split())


def former_normalise(text: str) -> str:
    """The normal form of version 1, by which stored verdicts on items of benchmarks are found."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _FORMER_PUNCTUATION.sub(" ", plain).strip() or " ".join(plain.split())


def item_key(prompt: str, answer: str, *, is_former: bool = False) -> str:
    """What a benchmark's item is known by, whatever pack it came in."""
    form = former_normalise if is_former else normalise
    return text_hash(f"{form(prompt)}\n{form(answer)}\n")


def items_hash(keys: Iterable[str]) -> str:
    """The same items in the same order, the same hash."""
    return text_hash("\n".join(keys))


def text_hash(text: str) -> str:
    """128 bits of BLAKE2b as 32 hex digits; '' for a text without any sign."""
    if not text.strip():
        return ""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
