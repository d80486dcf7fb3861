"""The starter model (135M) as a judge: whatever it writes is read, or refused with a reason."""

import asyncio
from pathlib import Path

import pytest

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.records import Message
from distill_studio.core.settings import Settings
from distill_studio.judge import load_rubric, pairwise_requests, read_scores, rubric_request
from distill_studio.judge.pairwise import read_verdict
from distill_studio.teachers.local import LocalChatModel
from distill_studio.teachers.models import ModelHost

ASKED = (Message(role="user", content="What is the capital of France?"),)
RIGHT, WRONG = "The capital of France is Paris.", "I like trains."


@pytest.mark.models
@pytest.mark.slow
def test_replies_of_a_small_model_are_read_or_refused(starter_cache: Path) -> None:
    host = ModelHost(Settings(home=starter_cache.parent / "home", cache=starter_cache))
    model = LocalChatModel(
        "smollm2-135m-instruct", resolve=host.resolve, cache_folder=starter_cache, device="cpu"
    )
    sampling = {"max_tokens": 120}
    rubric = load_rubric()
    requests = [
        rubric_request(f"{name}/{aspect.name}", ASKED, answer, rubric=rubric.only([aspect.name]))
        for name, answer in (("right", RIGHT), ("wrong", WRONG))
        for aspect in rubric.aspects[:2]
    ]
    requests += [rubric_request("right/all", ASKED, RIGHT)]
    requests += pairwise_requests("pair", ASKED, RIGHT, WRONG)
    requests = [
        r.model_copy(update={"sampling": r.sampling.model_copy(update=sampling)}) for r in requests
    ]

    async def collect() -> dict[str, str]:
        return {reply.key: reply.text async for reply in model.generate(requests)}

    try:
        replies = asyncio.run(collect())
    finally:
        model.unload()
        host.close()
    assert len(replies) == len(requests)
    for key, text in replies.items():
        try:
            if key.startswith("pair"):
                said: object = read_verdict(text, "forward").said
            else:
                aspect = key.partition("/")[2]
                used = rubric if aspect == "all" else rubric.only([aspect])
                said = read_scores(text, used).scores
                assert all(str(score) in text for score in said.values())
        except Unreadable as err:
            said = err
        print(f"--- {key}: {said!r}\n{text}")  # noqa: T201  (shown with -s)
