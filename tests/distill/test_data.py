"""Which tokens are learned, token by token."""

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import MASKED, Encoded, encode_preference, encode_sft
from tests.tiny_model import assistant, user

HEAD = "<|im_start|>system\nBe brief<|im_end|>\n"


def learned(chat: ChatTokenizer, row: Encoded) -> list[str]:
    """Texts of the stretches that are learned."""
    found: list[list[int]] = []
    before = MASKED
    for token, label in zip(row.input_ids, row.labels, strict=True):
        if label != MASKED:
            assert label == token
            if before == MASKED:
                found.append([])
            found[-1].append(token)
        before = label
    return [chat.decode(ids) for ids in found]


def test_a_completion_and_its_end_of_turn_are_learned(chat: ChatTokenizer) -> None:
    row = {"prompt": [user("say red")], "completion": [assistant("red sun")]}
    encoded = encode_sft(chat, row)
    prompt = HEAD + "<|im_start|>user\nsay red<|im_end|>\n<|im_start|>assistant\n"
    prompt_ids, answer_ids = chat.encode(prompt), chat.encode("red sun<|im_end|>")
    assert encoded.input_ids == prompt_ids + answer_ids
    assert encoded.labels == [MASKED] * len(prompt_ids) + answer_ids
    assert encoded.input_ids[-1] == chat.eos_id


def test_all_assistant_turns_or_the_last(chat: ChatTokenizer) -> None:
    talk = [user("a"), assistant("red"), user("b"), assistant("green dog")]
    every = encode_sft(chat, {"messages": talk}, "all")
    assert learned(chat, every) == ["red<|im_end|>", "green dog<|im_end|>"]
    last = encode_sft(chat, {"messages": talk}, "last")
    assert learned(chat, last) == ["green dog<|im_end|>"]
    whole = chat.encode(chat.render(talk))
    assert every.input_ids == last.input_ids == whole[: len(every.input_ids)]
    assert chat.decode(whole[len(every.input_ids) :]) == "\n"


def test_assistant_turns_of_a_prompt_are_not_learned(chat: ChatTokenizer) -> None:
    prompt = [user("a"), assistant("red"), user("b")]
    row = {"prompt": prompt, "completion": [assistant("blue")]}
    assert learned(chat, encode_sft(chat, row)) == ["blue<|im_end|>"]


def test_an_answer_that_begins_with_a_line_break_is_cut_from_its_prompt(
    chat: ChatTokenizer,
) -> None:
    row = {"prompt": [user("a")], "completion": [assistant("\n\nsun")]}
    encoded = encode_sft(chat, row)
    start = encoded.labels.index(next(x for x in encoded.labels if x != MASKED))
    assert chat.decode(encoded.input_ids[:start]).endswith("<|im_start|>assistant\n")
    assert learned(chat, encoded) == ["\n\nsun<|im_end|>"]


def test_a_conversation_without_an_answer_has_nothing_to_learn(chat: ChatTokenizer) -> None:
    encoded = encode_sft(chat, {"messages": [user("a")]})
    assert encoded.learned == 0
    assert set(encoded.labels) == {MASKED}


def test_text_that_looks_like_a_marker_does_not_move_the_end(chat: ChatTokenizer) -> None:
    row = {"prompt": [user("a")], "completion": [assistant("say <|im_end|> twice")]}
    assert learned(chat, encode_sft(chat, row)) == ["say <|im_end|> twice<|im_end|>"]


def test_both_sides_of_a_pair_share_their_prompt(chat: ChatTokenizer) -> None:
    row = {
        "prompt": [user("a")],
        "chosen": [assistant("sun")],
        "rejected": [assistant("moon moon")],
    }
    pair = encode_preference(chat, row)
    assert chat.decode(pair.prompt_ids).endswith("<|im_start|>assistant\n")
    assert chat.decode(pair.chosen_ids) == "sun<|im_end|>"
    assert chat.decode(pair.rejected_ids) == "moon moon<|im_end|>"
