"""Tokens that two vocabularies have in common, by what they write: `shared_ids`. Torch-free."""

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import encode_sft

_PROBE = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]}


def shared_ids(ours: ChatTokenizer, theirs: ChatTokenizer) -> list[tuple[int, int]]:
    """(the student's id, the teacher's) of tokens that write the same bytes, each id once.

    Special tokens are the same where their names are; the two that end an answer always.

    Raises:
        InvalidInput: A template that cannot render a question and its answer.
    """
    mine, other = ours.writings(), theirs.writings()
    pairs = {mine[what]: other[what] for what in mine.keys() & other.keys()}
    ends = [encode_sft(chat, _PROBE).labels[-1] for chat in (ours, theirs)]
    if ours.is_special(ends[0]) and theirs.is_special(ends[1]):
        pairs = {a: b for a, b in pairs.items() if a != ends[0] and b != ends[1]}
        pairs[ends[0]] = ends[1]
    return sorted(pairs.items())
