"""KL and agreement in padded batches and tiles against dense float64, one row at a time."""

from pathlib import Path

import pytest
import torch

from distill_studio.core.errors import Cancelled, Unavailable
from distill_studio.core.progress import CancelToken
from distill_studio.core.records import Message
from distill_studio.distill import fidelity
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.fidelity import FidelityReader
from distill_studio.distill.pairing import used_ids
from distill_studio.distill.prune import keep_layers
from distill_studio.teachers import likelihood
from distill_studio.teachers.local import LocalChatModel
from tests.tiny_model import build_tiny_model

ROWS = [
    ("say red", "red sun moon"),
    ("say blue, then seven, then eight, and then nine birds", "blue"),
    ("cat?", "cat dog bird " * 12),
    ("Grüße", "Ein ganz anderer Text, with 漢字 inside."),
    ("sun", " "),
    ("moon dog " * 200, "sun " * 200),
]


def load(folder: Path) -> LocalChatModel:
    return LocalChatModel(
        folder.name, resolve=lambda name: folder, cache_folder=folder.parent, device="cpu",
        dtype="float32",
    )  # fmt: skip


def pruned(folder: Path, into: Path, padding: int) -> Path:
    """The same model with two of its three layers and a vocabulary of random padding."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    keep_layers(model, [0, 2])
    torch.manual_seed(1)
    model.resize_token_embeddings(model.config.vocab_size + padding, mean_resizing=False)
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(folder).save_pretrained(into)
    return into


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The teacher, and a student with 40 more ids than the teacher: padding."""
    base = tmp_path_factory.mktemp("tiny")
    folder = build_tiny_model(base / "teacher")
    made = load(folder), load(pruned(folder, base / "student", 40))
    yield made
    for model in made:
        model.unload()


@pytest.fixture(scope="module")
def used(models) -> int:
    return used_ids(ChatTokenizer.load(models[0]._resolve("")))


def questions(reader, rows=ROWS):
    return [
        reader.question(k, [Message(role="user", content=prompt)], text)
        for k, (prompt, text) in enumerate(rows)
    ]


def read(reader, asked):
    return {found.key: found for batch in reader.read(asked) for found in batch}


def exact(model):
    weights = model.load().engine.model
    copy = type(weights)(weights.config).double().eval()
    copy.load_state_dict(weights.state_dict())
    return copy


def slow(teacher, student, used, question):
    """(KL, agreement, loss) from dense float64 logits of one unpadded row, the obvious way."""
    ids = torch.tensor([question.before + question.answer])
    with torch.no_grad():
        theirs, ours = teacher(ids).logits[0], student(ids).logits[0]
    kls, same, losses = [], [], []
    for k, token in enumerate(question.answer):
        at = len(question.before) + k - 1
        p = torch.softmax(theirs[at, :used], 0)
        q = torch.softmax(ours[at, :used], 0)
        kls.append(sum(p[v] * torch.log(p[v] / q[v]) for v in range(used)).item())
        same.append(p.argmax().item() == q.argmax().item())
        losses.append(-torch.log_softmax(ours[at], 0)[token].item())
    return [sum(some) / len(some) for some in (kls, same, losses)]


@pytest.mark.parametrize(("batch", "tile"), [(2048, 2**23), (60, 2**23), (2048, 1)])
def test_agrees_with_dense_logits_in_float64(models, used, monkeypatch, batch, tile):
    monkeypatch.setitem(likelihood._BATCH_TOKENS, "cpu", batch)
    monkeypatch.setitem(fidelity._TILE_ELEMENTS, "cpu", tile)
    teacher, student = models
    reader = FidelityReader(teacher.load(), student.load(), used)
    asked = questions(reader)
    found = read(reader, asked)
    both = exact(teacher), exact(student)
    assert sorted(found) == list(range(len(ROWS)))
    for question in asked:
        kl, agreement, loss = slow(*both, used, question)
        mine = found[question.key]
        assert mine.tokens == len(question.answer)
        assert mine.kl == pytest.approx(kl, rel=1e-4)
        assert mine.agreement == agreement
        assert mine.loss == pytest.approx(loss, rel=1e-5)
    assert 0 < min(one.agreement for one in found.values() if one.tokens > 9) < 1
    assert min(one.kl for one in found.values()) > 0.01
    assert [q.is_cut for q in asked] == [False] * 5 + [True]


def test_a_teacher_agrees_with_itself(models, used):
    teacher, _ = models
    reader = FidelityReader(teacher.load(), teacher.load(), used)
    for one in read(reader, questions(reader)).values():
        assert (one.kl, one.agreement) == (0.0, 1.0)
    twin = load(teacher._resolve(""))  # the same weights, read anew
    reader = FidelityReader(teacher.load(), twin.load(), used)
    for one in read(reader, questions(reader)).values():
        assert one.kl == pytest.approx(0.0, abs=1e-7)
        assert one.agreement == 1.0
    twin.unload()


def test_the_loss_is_that_of_a_likelihood_suite(models, used):
    teacher, student = models
    reader = FidelityReader(teacher.load(), student.load(), used)
    found = read(reader, questions(reader, ROWS[:5]))
    scorer = student.scorer()
    alone = {one.key: one for batch in scorer.score(questions(scorer, ROWS[:5])) for one in batch}
    for key, one in found.items():
        assert one.loss == pytest.approx(alone[key].loss_given, rel=1e-5)
        assert one.tokens == alone[key].tokens


def test_a_cancel_stops_between_batches_and_a_model_elsewhere_is_refused(models, used):
    teacher, student = models
    reader = FidelityReader(teacher.load(), student.load(), used)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        next(reader.read(questions(reader), token))

    class Elsewhere:
        engine = object()

    with pytest.raises(Unavailable, match="does not run in this process"):
        FidelityReader(teacher.load(), Elsewhere(), used)
