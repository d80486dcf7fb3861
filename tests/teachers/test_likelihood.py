"""Losses in padded batches and chunks against one row at a time in float64."""

import math

import pytest
import torch

from distill_studio.core.errors import Cancelled, Unavailable
from distill_studio.core.progress import CancelToken
from distill_studio.core.records import Message
from distill_studio.teachers import likelihood
from distill_studio.teachers.local import LocalChatModel
from tests.tiny_model import build_tiny_model

ROWS = [
    ("say red", "red sun moon"),
    ("say blue, then seven, then eight, and then nine birds", "blue"),
    ("cat?", "cat dog bird " * 12),
    ("Grüße", "Ein ganz anderer Text, with 漢字 inside."),
    ("sun", " "),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    made = LocalChatModel(
        "tiny", resolve=lambda name: folder, cache_folder=folder.parent, device="cpu",
        dtype="float32",
    )  # fmt: skip
    yield made
    made.unload()


def questions(scorer, rows=ROWS):
    return [
        scorer.question(k, [Message(role="user", content=prompt)], answer)
        for k, (prompt, answer) in enumerate(rows)
    ]


def scored(scorer, asked):
    return {found.key: found for batch in scorer.score(asked) for found in batch}


def slow_loss(model, before, answer):
    """Mean -log p of the answer's tokens, from one unpadded row, float64, the obvious way."""
    with torch.no_grad():
        logits = model(torch.tensor([before + answer])).logits[0].double()
    logs = torch.log_softmax(logits, dim=-1)
    losses = [-logs[len(before) + k - 1, token].item() for k, token in enumerate(answer)]
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("batch", "logits"), [(2048, 160 << 20), (60, 160 << 20), (2048, 1)])
def test_agrees_with_one_row_at_a_time(model, monkeypatch, batch, logits):
    monkeypatch.setitem(likelihood._BATCH_TOKENS, "cpu", batch)
    monkeypatch.setitem(likelihood._LOGITS_BYTES, "cpu", logits)
    scorer = model.scorer()
    asked = questions(scorer)
    found = scored(scorer, asked)
    weights = model.load().engine.model
    exact = type(weights)(weights.config).double().eval()
    exact.load_state_dict(weights.state_dict())
    assert sorted(found) == list(range(len(ROWS)))
    for question in asked:
        mine = found[question.key]
        assert mine.tokens == len(question.answer)
        assert mine.loss_given == pytest.approx(
            slow_loss(exact, question.before, question.answer), rel=1e-5
        )
        assert mine.loss_alone == pytest.approx(
            slow_loss(exact, question.alone, question.answer), rel=1e-5
        )
        assert mine.loss_given != mine.loss_alone


def test_the_tokens_are_those_of_the_template_and_of_the_answer_alone(model):
    scorer = model.scorer()
    question = questions(scorer, [("say red", "red sun")])[0]
    chat = model.load().chat
    tokens = chat._tokenizer.convert_ids_to_tokens
    text = chat._tokenizer.decode(question.before)
    assert text.endswith("<|im_start|>user\nsay red<|im_end|>\n<|im_start|>assistant\n")
    assert chat._tokenizer.decode(question.alone) == "<|im_start|>assistant\n"
    assert chat._tokenizer.decode(question.answer) == "red sun"
    assert "<|im_end|>" not in tokens(question.answer)


def test_long_rows_are_cut_to_what_the_model_reads(model):
    scorer = model.scorer()
    most = model.load().chat.context_tokens
    long_answer, long_prompt = questions(
        scorer, [("sun", "moon dog " * 200), ("moon dog " * 200, "sun")]
    )
    assert long_answer.is_cut
    assert long_prompt.is_cut
    assert max(long_answer.size, long_prompt.size) <= most
    assert len(long_prompt.answer) == len(model.load().chat.answer_ids("sun"))
    assert long_answer.before, "some of the question stays"
    assert all(math.isfinite(v.loss_given) for v in scored(scorer, [long_answer]).values())


def test_a_cancel_stops_between_chunks(model):
    token = CancelToken()
    scorer = model.scorer()
    batches = scorer.score(questions(scorer), token)
    token.cancel()
    with pytest.raises(Cancelled):
        next(batches)


def test_a_model_elsewhere_is_refused(model):
    class Elsewhere:
        engine = object()

    with pytest.raises(Unavailable, match="does not run in this process"):
        likelihood.LikelihoodScorer(Elsewhere())
