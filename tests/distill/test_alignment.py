"""Two tokenizers over one answer: which tokens write the same text, which vocabulary they share."""

from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.alignment import MOST_TOKENS, AlignedRow, Aligner
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import MASKED, cut, encode_sft
from distill_studio.distill.shared_vocabulary import shared_ids
from tests.tiny_model import assistant, other_tokenizer, user

HAND = "🦊 café, red\n\n  bluebird sun;\n\tundoing…  "


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    folder = tmp_path_factory.mktemp("other")
    other_tokenizer().save_pretrained(folder)
    return ChatTokenizer.load(folder)


def texts(chat: ChatTokenizer, ids: list[int]) -> str:
    return chat.decode(ids).strip()


def pieces(
    row: Any, ours: ChatTokenizer, theirs: ChatTokenizer, found: AlignedRow, most: int = 10**6
) -> list[tuple[str, str]]:
    """What each span writes by either tokenizer."""
    encoded = cut(encode_sft(ours, row), most)
    learned = [label for label in encoded.labels[1:] if label != MASKED]
    return [
        (texts(ours, learned[a : a + n]), texts(theirs, found.teacher_ids[b : b + m]))
        for a, n, b, m in found.spans
    ]


def row_of(*answers: str) -> dict[str, Any]:
    talk = [one for text in answers for one in (user("say red"), assistant(text))]
    return {"messages": talk}


@pytest.mark.parametrize(
    "answers", [("red sun moon",), (HAND,), ("blue", HAND, "undo"), ("é" * 3, "")]
)
def test_spans_write_the_same_text_and_all_of_it(
    chat: ChatTokenizer, other: ChatTokenizer, answers: tuple[str, ...]
) -> None:
    row = row_of(*answers)
    found = Aligner(chat, other, max_length=10**4)(row)
    written = pieces(row, chat, other, found)
    ends = [pair for pair in written if pair[0].endswith("<|im_end|>")]
    for mine, theirs in written:
        assert mine.removesuffix("<|im_end|>") == theirs.removesuffix("</s>")
    assert [pair[1].endswith("</s>") for pair in ends] == [True] * len(answers)
    whole = "".join(mine for mine, _ in written)
    for text in answers:
        for word in text.split():
            assert word in whole.replace("<|im_end|>", " ")
    assert found.aligned == encode_sft(chat, row).learned
    assert any(n > 1 or m > 1 for _, n, _, m in found.spans)
    assert any((n, m) == (1, 1) for _, n, _, m in found.spans)
    # The teacher reads its own template, and no more than it is asked of.
    read = other.decode(found.teacher_ids).replace(" ", "")
    assert read.startswith("<s>[user]sayred[answer]")
    assert found.teacher_ids == encode_sft(other, row).input_ids


def test_one_tokenizer_is_aligned_token_by_token(chat: ChatTokenizer) -> None:
    row = row_of(HAND, "red")
    found = Aligner(chat, chat, max_length=10**4)(row)
    encoded = encode_sft(chat, row)
    count = encoded.learned
    own_letters = sum(n == 1 for _, n, *_ in found.spans)
    assert own_letters >= count - 4 * HAND.count("🦊") - 2 * HAND.count("é") - 3 * HAND.count("…")
    assert found.aligned == count
    assert all(n == m for _, n, _, m in found.spans)


def test_what_is_cut_off_or_out_of_reach_is_in_no_span(
    chat: ChatTokenizer, other: ChatTokenizer
) -> None:
    row = row_of("red sun moon blue cat dog", "bird")
    whole = Aligner(chat, other, max_length=10**4)(row)
    tokens = len(encode_sft(chat, row).input_ids)
    short = Aligner(chat, other, max_length=tokens - 20)(row)
    assert short.spans == whole.spans[: len(short.spans)]
    assert 0 < short.aligned <= cut(encode_sft(chat, row), tokens - 20).learned
    assert len(short.teacher_ids) < len(whole.teacher_ids)
    near = Aligner(chat, other, max_length=10**4, context=40)(row)
    assert 0 < len(near.teacher_ids) <= 40
    assert near.spans == whole.spans[: len(near.spans)]


def test_spans_that_hardly_ever_meet_are_left_out(chat: ChatTokenizer) -> None:
    """A tokenizer of one token for a whole answer has nothing to say of its characters."""
    from tokenizers import Tokenizer, decoders, models

    text = "q" * (MOST_TOKENS + 1)
    whole = Tokenizer(models.WordLevel({text: 0, "<unk>": 1}, unk_token="<unk>"))
    whole.decoder = decoders.Fuse()
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    coarse = ChatTokenizer(whole, template, {})
    row = {"prompt": [user("say red")], "completion": [assistant(text)]}
    found = Aligner(chat, coarse, max_length=10**4)(row)
    assert found == AlignedRow([], [])


def test_a_template_that_writes_something_else_is_aligned_as_far_as_it_is_the_same(
    chat: ChatTokenizer, tmp_path: Path
) -> None:
    fast = other_tokenizer()
    fast.chat_template = fast.chat_template.replace("| trim", "| replace('blue', 'red')")
    fast.save_pretrained(tmp_path)
    theirs = ChatTokenizer.load(tmp_path)
    row = row_of("red sun blue moon")
    found = Aligner(chat, theirs, max_length=10**4)(row)
    written = pieces(row, chat, theirs, found)
    assert "".join(mine for mine, _ in written) == "red sun"


def test_a_row_that_the_teacher_refuses_is_refused(chat: ChatTokenizer, tmp_path: Path) -> None:
    fast = other_tokenizer()
    fast.chat_template = "{{ raise_exception('no systems') }}"
    fast.save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="no systems"):
        Aligner(chat, ChatTokenizer.load(tmp_path), max_length=99)(row_of("red"))


def test_the_shared_vocabulary_is_what_writes_the_same_bytes(
    chat: ChatTokenizer, other: ChatTokenizer
) -> None:
    pairs = dict(shared_ids(chat, other))
    mine, theirs = chat.vocabulary(), other.vocabulary()
    words = {name: "\u2581" + name[1:] for name in mine if name[:1] == "Ġ"}
    both = {name: like for name, like in words.items() if like in theirs}
    assert len(both) > 1
    assert all(pairs[mine[name]] == theirs[like] for name, like in both.items())
    assert pairs[mine["a"]] == theirs["a"]  # not its byte
    assert pairs[mine["Ċ"]] == theirs["<0x0A>"]
    assert pairs[mine["Ã"]] == theirs["<0xC3>"]
    assert pairs[mine["<|im_end|>"]] == theirs["</s>"]  # both end an answer
    assert mine["<|im_start|>"] not in pairs
    assert theirs["<unk>"] not in pairs.values()
    assert len(set(pairs.values())) == len(pairs)


def test_of_one_vocabulary_everything_is_shared(chat: ChatTokenizer, other: ChatTokenizer) -> None:
    for one in (chat, other):
        pairs = shared_ids(one, one)
        assert all(a == b for a, b in pairs)
        # A byte and a letter that write the same count once.
        assert {a for a, _ in pairs} | _bytes_of_letters(one) == set(one.vocabulary().values())


def _bytes_of_letters(chat: ChatTokenizer) -> set[int]:
    names = chat.vocabulary()
    return {
        token
        for name, token in names.items()
        if name.startswith("<0x") and chr(int(name[1:-1], 16)).replace(" ", "\u2581") in names
    }
