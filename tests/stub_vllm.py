"""What a vLLM server answers to `/v1/completions` with `prompt_logprobs`, from a tiny model.

As vLLM 0.32 does: one entry per token of the prompt, none for the first; each a map from ids (as
strings) to log-probabilities, the K likeliest and the id that stands there; no more than
`max_logprobs`; a text is cut into tokens without anything put before it.
"""

from pathlib import Path
from typing import Any

import torch

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from tests.stub_openai import Answer, failure


class VllmLike:
    """For `StubServer.behave`.

    Args:
        folder: Of a model with its tokenizer.
        max_logprobs: As the option of that name.
        context: Prompt and answer together.
    """

    def __init__(self, folder: Path, max_logprobs: int = 256, context: int = 256) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.chat = ChatTokenizer.load(folder)
        self.max_logprobs, self.context = max_logprobs, context

    def __call__(self, body: dict[str, Any]) -> Answer:
        """A completion of one token, with the prompt's log-probabilities."""
        k, prompt = body["prompt_logprobs"], body["prompt"]
        if body["max_tokens"] < 1:
            return failure(400, "max_tokens must be at least 1, got 0.")
        if k > self.max_logprobs:
            said = f"Requested prompt logprobs of {k}, which is greater than max allowed: "
            return failure(400, f"{said}{self.max_logprobs}")
        ids = self.chat.encode(prompt) if isinstance(prompt, str) else prompt
        if len(ids) == self.context:
            return failure(400, "max_tokens must be at least 1, got 0. (parameter=max_tokens)")
        if len(ids) > self.context:
            return failure(400, f"This model's maximum context length is {self.context} tokens.")
        choice = {
            "index": 0,
            "text": "x",
            "finish_reason": "length",
            "prompt_logprobs": self._places(ids, k),
            "prompt_token_ids": ids if body.get("return_token_ids") else None,
        }
        return Answer({"object": "text_completion", "model": "stub-1", "choices": [choice]})

    def _places(self, ids: list[int], k: int) -> list[dict[str, Any] | None]:
        with torch.no_grad():
            log_p_TV = self.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        places: list[dict[str, Any] | None] = [None]
        for log_p_V, token in zip(log_p_TV, ids[1:], strict=False):
            rank = 1 + int((log_p_V > log_p_V[token]).sum())
            found = {str(token): _entry(float(log_p_V[token]), rank)}
            top = log_p_V.topk(k)
            likeliest = zip(top.values.tolist(), top.indices.tolist(), strict=True)
            for place, (value, i) in enumerate(likeliest):
                found[str(i)] = _entry(value, place + 1)
            places.append(found)
        return places


def _entry(value: float, rank: int) -> dict[str, Any]:
    return {"logprob": max(value, -9999.0), "rank": rank, "decoded_token": "x"}
