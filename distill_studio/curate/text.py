"""What of a row is compared, its normal form, and the hashes that stand for it."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from distill_studio.core.records import Message

# Prose punctuation only: signs that carry meaning in code and maths (+ - * / = < > ...) stay,
# and a sign becomes a space, so that 1.5 and 15 remain different.
_PUNCTUATION = re.compile(r"[\s.,;:!?'\"`´’‘“”„«»()…。，、！？；：]+")


def conversation_text(messages: Sequence[Message]) -> str:
    """The text that stands for a prompt: all turns but the system's, in order.

    System prompts are left out: a recipe gives the same one to many rows, which would make
    all of them look alike.
    """
    return "\n\n".join(m.content for m in messages if m.role != "system").strip()


def normalise(text: str) -> str:
    """A text without the differences of case, white space and prose punctuation."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _PUNCTUATION.sub(" ", plain).strip() or " ".join(plain.split())


def text_hash(text: str) -> str:
    """128 bits of BLAKE2b as 32 hex digits; '' for a text without any sign."""
    if not text.strip():
        return ""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
