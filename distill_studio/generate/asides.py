"""Questions to a teacher besides the answer itself: how to sample them, what of a reply is meant.

Start from `steady` for judgements, `plain` for texts, and `as_request` for a reply that was to be
somebody's request.
"""

import re
from collections.abc import Iterable

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.words import words
from distill_studio.generate.effects import Unit
from distill_studio.generate.novelty import Pool

_BETWEEN = re.compile(r"^-{3,}[ \t]*$", re.MULTILINE)
_REPLY = re.compile(r"^>>[ \t]*(.+)$", re.MULTILINE)
_ASSISTANT = re.compile(
    r"""as\ an\ ai\b|i(?:['’]m|\ am)\ (?:just\ )?an?\ (?:ai|language\ model|assistant)\b
      |i(?:['’]m|\ am)\ (?:ready|here|happy|glad)\ to\ (?:help|assist)\b
      |i(?:['’]d|\ would)\ be\ (?:happy|glad)\ to\ (?:help|assist)\b
      |you(?:['’]re|\ are)\ welcome\b|great\ question\b|how\ (?:can|may)\ i\ (?:help|assist)\b
      |what\ would\ you\ like\ (?:me\ )?to\b""",
    re.IGNORECASE | re.VERBOSE,
)
SAME = 0.9  # ROUGE-L from which two texts are one
RUN = 8  # words in a row that count as copied, as in Tulu 3's decontamination (arXiv 2411.15124)
_RETRY_TEMPERATURE = 0.7
_MOST_WRAPS = 4  # a preamble, a label, bold and quotes

_PREAMBLE = re.compile(
    r"""\A(?:sure|certainly|of\ course|okay|ok|here(?:['’]s|\ is|\ are)|below\ is|the\ (?:user|next|
    following)|based\ on|to\ continue)\b[^\n]{0,160}:\**[ \t]*\n+(?=.*\w)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_LABEL = re.compile(
    r"""\A[#*_>\s]*(?:
        (?:the\s+)?(?:user|human)(?:['’]s)?(?:\s+(?:next\s+|last\s+)?(?:message|question|turn|request))?
      | next\s+(?:message|question|turn)
      | follow[\s-]?up(?:\s+(?:question|message))?
      | question|instruction|request|prompt|exercise|problem|task
    )(?:\s*\#?\d{1,3})?[*_]*\s*[:：][*_]*\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_WRAPS = (("```", "```"), ("**", "**"), ('"', '"'), ("“", "”"))


def plain(sampling: SamplingParams) -> SamplingParams:
    """As the user chose, for a text that is no answer: no log-probabilities, no stop strings."""
    return sampling.model_copy(update={"top_logprobs": 0, "stop": ()})


def steady(unit: Unit, sampling: SamplingParams) -> SamplingParams:
    """For a judgement: greedy at first, at temperature where that could not be used."""
    warm = max(sampling.temperature, _RETRY_TEMPERATURE)
    temperature = warm if unit.attempt else 0.0
    return plain(sampling).model_copy(update={"temperature": temperature})


def as_request(text: str) -> str:
    """A request without what models put around it: "Sure, here it is:", "User:", quotes, bold."""
    found = text.strip()
    for _ in range(_MOST_WRAPS):
        bare = _LABEL.sub("", _PREAMBLE.sub("", found).strip())
        bare = _unwrapped(bare.strip())
        if bare == found:
            break
        found = bare
    return found


def read_shots(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Examples that people may edit: (what is put, the replies to it) of each.

    What is put comes first, then each reply in a line that begins with >>; a line of ---- stands
    between two examples. One without both is left out.
    """
    found = []
    for block in _BETWEEN.split(text):
        replies = tuple(reply.strip() for reply in _REPLY.findall(block) if reply.strip())
        put = _REPLY.split(block, maxsplit=1)[0].strip()
        if put and replies:
            found.append((put, replies))
    return found


def is_like_one(text: str, others: Iterable[str], limit: float = SAME) -> bool:
    """Whether a text is one of the others, nearly word for word (ROUGE-L from `limit`)."""
    return bool(words(text)) and not Pool(others).admit(text, limit).is_new


def is_assistants(text: str) -> bool:
    """Whether a text speaks as an assistant does and nobody else: "As an AI", "You're welcome"."""
    return bool(_ASSISTANT.match(text))


def runs(text: str, length: int = RUN) -> set[tuple[str, ...]]:
    """Every `length` words in a row."""
    said = words(text)
    return {tuple(said[i : i + length]) for i in range(len(said) - length + 1)}


def copies(text: str, source: str, besides: Iterable[str] = ()) -> bool:
    """True where a text holds 8 words in a row of the source, which stand in no text `besides`."""
    shared = runs(text) & runs(source)
    for other in besides:
        shared -= runs(other)
    return bool(shared)


def copied_share(text: str, source: str, length: int = RUN) -> float:
    """Share of a text's words that stand in runs of `length` words of the source, 0 to 1."""
    said, known = words(text), runs(source, length)
    copied: set[int] = set()
    for i in range(len(said) - length + 1):
        if tuple(said[i : i + length]) in known:
            copied.update(range(i, i + length))
    return len(copied) / max(1, len(said))


def _unwrapped(text: str) -> str:
    for opening, closing in _WRAPS:
        inner = text[len(opening) : -len(closing)]
        is_wrapped = text.startswith(opening) and text.endswith(closing)
        if is_wrapped and inner.strip() and opening not in inner and closing not in inner:
            return inner.strip()
    return text
