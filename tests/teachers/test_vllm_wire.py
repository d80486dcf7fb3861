"""Raw text, schemas and log-probabilities against a real vLLM, whose words the stub repeats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message
from distill_studio.services.workspace import Workspace
from distill_studio.teachers.models import resolve_model
from tests.vllm_server import MODEL, served_workspace

QUESTION = (Message(role="user", content="Name the capital of France in one word."),)
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, starter_cache: Path) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("vllm") / "home"
    with served_workspace(home, starter_cache, max_length=1024, dtype="bfloat16") as workspace:
        yield workspace


def ask(workspace: Workspace, *requests: ChatRequest) -> list[ChatReply]:
    model = workspace.teachers.model("real")

    async def collect() -> list[ChatReply]:
        try:
            return [reply async for reply in model.generate(requests)]
        finally:
            await model.aclose()

    return asyncio.run(collect())


def greedy(**fields) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 24} | fields)


def test_log_probabilities_are_those_of_the_model(
    workspace: Workspace, starter_cache: Path
) -> None:
    """Ids and values against one dense pass in float64; the server computes in bf16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hot = greedy(top_logprobs=5, temperature=1.5, seed=1)
    (reply,) = ask(workspace, ChatRequest(key="k", messages=QUESTION, sampling=hot))
    assert reply.is_ok, reply.error
    assert len(reply.logprobs) == reply.completion_tokens
    assert reply.extra == {}
    folder = resolve_model(MODEL, starter_cache)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [m.model_dump() for m in QUESTION], add_generation_prompt=True, tokenize=False
    )
    prompt = tokenizer(text, add_special_tokens=False).input_ids
    written = [token.token_id for token in reply.logprobs]
    assert tokenizer.decode(written, skip_special_tokens=True) == reply.text
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        logits_TV = model(torch.tensor([prompt + written])).logits[0, len(prompt) - 1 : -1]
    want_TV = torch.log_softmax(logits_TV, dim=-1)
    chosen = torch.tensor([t.logprob for t in reply.logprobs], dtype=torch.float64)
    written_T1 = torch.tensor(written)[:, None]
    off_raw_T, off_scaled_T = (
        (chosen - torch.log_softmax(want_TV / t, dim=-1).gather(1, written_T1)[:, 0]).abs()
        for t in (1.0, 1.5)
    )
    assert off_raw_T.median() < 0.1, "bf16 on the server: .03 to .06 by machine"
    assert off_raw_T.median() < off_scaled_T.median() / 4, "raw: before the temperature"
    for token, want_V in zip(reply.logprobs, want_TV, strict=True):
        assert len(token.top) == 5
        for _, token_id, logprob in token.top[:2]:
            assert abs(want_V[token_id] - logprob) < 0.5
    texts = "".join(t.token for t in reply.logprobs if not t.token.startswith("<|"))
    assert texts.strip() == reply.text.strip()


def test_raw_text_is_continued(workspace: Workspace, starter_cache: Path) -> None:
    raw = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    asked = ChatRequest(key="k", raw=raw, sampling=greedy(top_logprobs=2))
    (reply,) = ask(workspace, asked)
    assert "Paris" in reply.text
    assert all(t.token_id is not None and len(t.top) == 2 for t in reply.logprobs)
    magpie = ChatRequest(key="k", raw="<|im_start|>user\n", sampling=greedy(temperature=1.0))
    (made,) = ask(workspace, magpie)
    assert made.text.strip()


def test_a_schema_is_followed(workspace: Workspace) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    asked = ChatRequest(key="k", messages=QUESTION, response_schema=schema, sampling=greedy())
    (reply,) = ask(workspace, asked)
    assert reply.extra == {}, "vLLM takes it"
    assert json.loads(reply.text)["city"] in ("Paris", "Rome")
