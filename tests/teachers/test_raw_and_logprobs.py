"""Raw text and log-probabilities by the model in this process, against a dense reference."""

import asyncio
from pathlib import Path

import pytest

from distill_studio.core.errors import TeacherError
from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records.seed import Message
from distill_studio.teachers.local import LocalChatModel
from tests.tiny_model import build_tiny_model

RAW = "<|im_start|>user\nsay red<|im_end|>\n<|im_start|>assistant\nsun moon"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(folder: Path, starter_cache: Path):
    model = LocalChatModel(
        "tiny", resolve=lambda _: folder, cache_folder=starter_cache, device="cpu", dtype="float32"
    )
    yield model
    model.unload()


def ask(key: str = "0", raw: str = "", text: str = "say red", **sampling) -> ChatRequest:
    params = {"temperature": 0.0, "max_tokens": 12} | sampling
    messages = () if raw else (Message(role="user", content=text),)
    return ChatRequest(key=key, raw=raw, messages=messages, sampling=SamplingParams(**params))


def answer_all(model: LocalChatModel, *requests: ChatRequest) -> dict[str, ChatReply]:
    async def collect():
        return {reply.key: reply async for reply in model.generate(requests)}

    return asyncio.run(collect())


def dense_logprobs(folder: Path, prompt_ids: list[int], written: list[int]):
    """(T, V) log-softmax in float64 of one forward pass over the whole sequence."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        logits_TV = model(torch.tensor([prompt_ids + written])).logits[0]
    return torch.log_softmax(logits_TV[len(prompt_ids) - 1 : -1], dim=-1)


def test_logprobs_are_those_of_the_raw_distribution(model: LocalChatModel, folder: Path) -> None:
    import torch

    asked = ask("hot", top_logprobs=5, temperature=1.7, top_p=0.8, seed=3)
    # rows beside it ask for fewer, none, and go on longer: rows must not be mixed up
    others = (ask("few", text="say nine cats", top_logprobs=2), ask("none", text="blue"))
    replies = answer_all(model, asked, *others)
    assert replies["none"].logprobs == ()
    for key, request, count in (("hot", asked, 5), ("few", others[0], 2)):
        reply = replies[key]
        assert len(reply.logprobs) == reply.completion_tokens
        written = [t.token_id for t in reply.logprobs]
        prompt_ids = model.load().chat.prompt_ids(request.messages)
        want_TV = dense_logprobs(folder, prompt_ids, written)
        top_TK, ids_TK = want_TV.topk(count, dim=-1)
        got = torch.tensor([[p for _, _, p in t.top] for t in reply.logprobs]).double()
        torch.testing.assert_close(got, top_TK, atol=1e-4, rtol=1e-4)
        assert [[i for _, i, _ in t.top] for t in reply.logprobs] == ids_TK.tolist()
        chosen = torch.tensor([t.logprob for t in reply.logprobs]).double()
        want_T = want_TV.gather(1, torch.tensor(written)[:, None])[:, 0]
        torch.testing.assert_close(chosen, want_T, atol=1e-4, rtol=1e-4)
    hot = replies["hot"]
    assert any(t.token_id != t.top[0][1] for t in hot.logprobs), "a hot draw leaves the top"


def test_the_texts_of_the_tokens_join_to_the_answer(model: LocalChatModel) -> None:
    reply = answer_all(model, ask(top_logprobs=1))["0"]
    texts = [t.token for t in reply.logprobs if t.token != "<|im_end|>"]
    whole = [t for t in texts if "\ufffd" not in t]
    if len(whole) == len(texts):
        assert "".join(texts) == reply.text
    assert reply.logprobs[0].token == reply.logprobs[0].top[0][0]


def test_raw_text_is_continued_as_it_stands(model: LocalChatModel, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(RAW, add_special_tokens=False, return_tensors="pt")
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") in ids.input_ids[0].tolist()
    greedy = AutoModelForCausalLM.from_pretrained(folder).generate(
        **ids, do_sample=False, max_new_tokens=12
    )
    want = tokenizer.decode(greedy[0, ids.input_ids.shape[1] :], skip_special_tokens=True)
    reply = answer_all(model, ask(raw=RAW))["0"]
    assert reply.text == want
    assert reply.prompt_tokens == ids.input_ids.shape[1]


def test_the_prefix_of_a_users_turn_is_what_magpie_continues(model: LocalChatModel) -> None:
    prefix = model.user_turn().bare
    assert prefix == "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\n"
    chat = model.load().chat
    as_chat = chat.prompt_ids([Message(role="user", content="say red")])
    as_raw = chat.raw_ids(prefix + "say red<|im_end|>\n<|im_start|>assistant\n")
    assert as_raw == as_chat


def test_a_beginning_is_put_before_raw_text_once(folder: Path) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from distill_studio.teachers.chat_format import ChatFormat, user_turn

    tokenizer = AutoTokenizer.from_pretrained(folder)
    bos = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", bos)]
    )
    chat = ChatFormat(tokenizer, AutoModelForCausalLM.from_pretrained(folder))
    bare = tokenizer("red cat", add_special_tokens=False).input_ids
    assert chat.raw_ids("red cat") == [bos, *bare]
    assert chat.raw_ids("<|endoftext|>red cat") == [bos, *bare]
    tokenizer.chat_template = None
    with pytest.raises(TeacherError, match="no chat template"):
        user_turn(tokenizer)
