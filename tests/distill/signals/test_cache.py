"""A captured teacher says what the teacher says: round trips, resuming, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import MASKED, Encoded, encode_sft
from distill_studio.distill.head import Head
from distill_studio.distill.losses.distill_term import DistillTerm
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.sampled_kl import Draws, SampledKl
from distill_studio.distill.losses.sparse_kl import SparseKl, TopK
from distill_studio.distill.losses.tiled import tiled_loss
from distill_studio.distill.signals import base
from distill_studio.distill.signals.base import KEY_FILE, CacheMismatch, SignalKey, part_path
from distill_studio.distill.signals.cached import CachedTeacher
from distill_studio.distill.signals.capture import capture, score
from distill_studio.distill.signals.online import OnlineTeacher
from tests.tiny_model import completions


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def teacher(tiny_model: Path) -> OnlineTeacher:
    model = load(tiny_model)
    return OnlineTeacher(model, model.config.vocab_size)


@pytest.fixture(scope="module")
def rows(chat: ChatTokenizer) -> list[Encoded]:
    return [encode_sft(chat, row) for row in completions(70)]  # more than a part of 64


@pytest.fixture(scope="module")
def make_key(
    tiny_model: Path, chat: ChatTokenizer, rows: list[Encoded]
) -> Callable[..., SignalKey]:
    def make(**fields: Any) -> SignalKey:
        common = {
            "teacher": base.fingerprint(tiny_model),
            "tokenizer": base.tokenizer_hash(tiny_model),
            "template": base.template_hash(chat),
            "tokens": base.tokens_hash(rows),
            "width": load(tiny_model).config.vocab_size,
            "k": 8,
            "dtype": "fp32",
        }
        return SignalKey(**(common | fields))

    return make


def online_loss(
    teacher: OnlineTeacher, rows: list[Encoded], temperature: float
) -> tuple[Tensor, Tensor]:
    """(student states, sum of the dense KL) of a random student over these rows."""
    dense = torch.cat([d(slice(None)) for d in score(teacher, rows)])
    states, head = student(len(dense))
    log_p = (dense / temperature).log_softmax(1)
    term = DistillTerm(ForwardKl(), lambda s: log_p[s], temperature)
    return states, tiled_loss(states, head, [term]).total


def student(tokens: int, width: int = 0) -> tuple[Tensor, Head]:
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(tokens, 16, generator=generator).requires_grad_()
    return states, Head(torch.randn(VOCAB[0], 16, generator=generator))


VOCAB = [0]


@pytest.fixture(autouse=True)
def _vocab(teacher: OnlineTeacher) -> None:
    VOCAB[0] = teacher.model.config.vocab_size


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(("dtype", "error"), [("fp32", 1e-5), ("fp16", 2e-3)])
def test_all_ids_kept_is_the_online_loss(
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: Callable[..., SignalKey],
    tmp_path: Path,
    temperature: float,
    dtype: str,
    error: float,
) -> None:
    few = rows[:6]
    key = make_key(k=VOCAB[0], temperatures=(1.0, 2.0), dtype=dtype, tokens=base.tokens_hash(few))
    capture(teacher, few, tmp_path, key)
    cache = CachedTeacher.open(tmp_path, key, len(few))
    states, expected = online_loss(teacher, few, temperature)
    expected.backward()
    assert states.grad is not None
    record = cache.read(range(6), temperature)
    assert isinstance(record, TopK)
    found, head = student(len(states))
    term = DistillTerm(
        SparseKl(),
        lambda s: TopK(record.ids_NK[s], record.log_probs_NK[s], record.log_tail_N[s]),
        temperature,
    )
    total = tiled_loss(found, head, [term]).total
    total.backward()
    assert float(total) == pytest.approx(float(expected), rel=error)
    assert found.grad is not None
    gap = (found.grad - states.grad).abs().max() / states.grad.abs().max()
    assert float(gap) < 10 * error


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.lists(st.integers(0, 69), min_size=1, max_size=6),
    kind=st.sampled_from(["top_k", "draws"]),
)
def test_rows_come_back_in_any_order(
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: Callable[..., SignalKey],
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    kind: str,
) -> None:
    cache = stored(kind, teacher, rows, make_key, tmp_path_factory)
    together = cache.read(order, 1.0)
    dense = [score(teacher, [rows[n]])[0](slice(None)) for n in order]
    assert [len(cache.read([n], 1.0).ids_NK) for n in order] == [len(d) for d in dense]
    log_p = torch.cat(dense)
    assert len(together.ids_NK) == len(log_p)
    theirs = log_p.gather(1, together.ids_NK)
    if isinstance(together, TopK):
        assert torch.allclose(theirs, together.log_probs_NK, atol=1e-4)
        assert torch.allclose(theirs, log_p.topk(8, 1).values, atol=1e-4)
        left = 1 - theirs.exp().sum(1)
        assert torch.allclose(together.log_tail_N.exp(), left, atol=1e-5)
    else:
        used = together.shares_NK > 0
        assert torch.allclose(theirs[used], together.log_probs_NK[used], atol=1e-4)
        assert torch.allclose(together.shares_NK.sum(1), torch.ones(len(log_p)))


STORED: dict[str, CachedTeacher] = {}


def stored(
    kind: str,
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: Callable[..., SignalKey],
    folders: pytest.TempPathFactory,
) -> CachedTeacher:
    """All 70 rows, captured once."""
    if kind not in STORED:
        folder, key = folders.mktemp(kind), make_key(kind=kind)
        capture(teacher, rows, folder, key)
        STORED[kind] = CachedTeacher.open(folder, key, len(rows))
    return STORED[kind]


def test_draws_are_unbiased(
    teacher: OnlineTeacher, rows: list[Encoded], make_key: Callable[..., SignalKey], tmp_path: Path
) -> None:
    few = rows[:2]
    key = make_key(kind="draws", k=20_000, temperatures=(2.0,), tokens=base.tokens_hash(few))
    capture(teacher, few, tmp_path, key)
    record = CachedTeacher.open(tmp_path, key, 2).read([0, 1], 2.0)
    assert isinstance(record, Draws)
    log_p = (torch.cat([d(slice(None)) for d in score(teacher, few)]) / 2.0).log_softmax(1)
    shares = torch.zeros_like(log_p).scatter_add_(1, record.ids_NK, record.shares_NK)
    assert float((shares - log_p.exp()).abs().max()) < 0.02
    z = torch.randn(log_p.shape, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    dense, _ = ForwardKl()(z, log_p, wants_gradient=False)
    drawn, _ = SampledKl()(z, record, wants_gradient=False)
    assert float(drawn.mean()) == pytest.approx(float(dense.mean()), rel=0.03)


def test_a_stopped_capture_goes_on_where_it_was(
    teacher: OnlineTeacher, rows: list[Encoded], make_key: Callable[..., SignalKey], tmp_path: Path
) -> None:
    def stop_in_second_part(done: int, of: int) -> None:
        if done == 64:
            raise KeyboardInterrupt

    key = make_key(kind="draws")
    with pytest.raises(KeyboardInterrupt):
        capture(teacher, rows, tmp_path / "a", key, progress=stop_in_second_part)
    with pytest.raises(CacheMismatch, match="lacks 1 of 2 parts"):
        CachedTeacher.open(tmp_path / "a", key, len(rows))
    first = part_path(tmp_path / "a", 0)
    before = first.stat().st_mtime_ns
    capture(teacher, rows, tmp_path / "a", key)
    assert first.stat().st_mtime_ns == before
    capture(teacher, rows, tmp_path / "b", key)  # in one go: the same, draws included
    for part in (0, 1):
        assert (
            part_path(tmp_path / "a", part).read_bytes()
            == part_path(tmp_path / "b", part).read_bytes()
        )


def test_a_key_that_a_full_disk_cut_short_is_written_again(
    teacher: OnlineTeacher, rows: list[Encoded], make_key: Callable[..., SignalKey], tmp_path: Path
) -> None:
    key = make_key(kind="draws")
    capture(teacher, rows, tmp_path, key)
    whole = (tmp_path / KEY_FILE).read_bytes()
    (tmp_path / KEY_FILE).write_bytes(b"")
    before = part_path(tmp_path, 0).stat().st_mtime_ns
    capture(teacher, rows, tmp_path, key)
    assert (tmp_path / KEY_FILE).read_bytes() == whole
    assert part_path(tmp_path, 0).stat().st_mtime_ns == before
    inode = (tmp_path / KEY_FILE).stat().st_ino
    capture(teacher, rows, tmp_path, key)
    assert (tmp_path / KEY_FILE).stat().st_ino == inode  # what is right is not touched


def test_the_mass_covered_is_measured(
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: Callable[..., SignalKey],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cache = stored("top_k", teacher, rows, make_key, tmp_path_factory)
    log_p = torch.cat([score(teacher, [row])[0](slice(None)) for row in rows])
    assert cache.covered() == pytest.approx(
        float(log_p.topk(8, 1).values.exp().sum(1).mean()), abs=1e-5
    )


@pytest.mark.parametrize("field", ["teacher", "tokenizer", "template", "tokens"])
def test_a_cache_of_something_else_is_refused_in_plain_words(
    field: str,
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: Callable[..., SignalKey],
    tmp_path: Path,
) -> None:
    key = make_key()
    capture(teacher, rows[:3], tmp_path, key)
    words = {"teacher": "revision", "tokens": "other rows"}.get(field, field.removeprefix("chat "))
    with pytest.raises(CacheMismatch, match=words):
        CachedTeacher.open(tmp_path, key.model_copy(update={field: "0" * 32}), 3)
    with pytest.raises(CacheMismatch, match=words):
        capture(teacher, rows[:3], tmp_path, key.model_copy(update={field: "0" * 32}))
    with pytest.raises(CacheMismatch, match="no stored"):
        CachedTeacher.open(tmp_path / "none", key, 3)
    with pytest.raises(CacheMismatch, match="temperature 3"):
        CachedTeacher.open(tmp_path, key, 3).read([0], 3.0)


def test_rescoring_finds_a_teacher_that_changed(
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: Callable[..., SignalKey],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    key, few = make_key(), rows[:5]
    capture(teacher, few, tmp_path, key)
    cache = CachedTeacher.open(tmp_path, key, 5)
    assert cache.verify(teacher, few) < 1e-4
    other = load(tiny_model)
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight.mul_(-1.0)
    with pytest.raises(CacheMismatch, match="something else of row"):
        cache.verify(OnlineTeacher(other, VOCAB[0]), few)
    swapped = [few[1], few[0], *few[2:]]
    swapped[0] = Encoded(few[1].input_ids, [MASKED] * len(few[1].labels[:-1]) + few[1].labels[-1:])
    with pytest.raises(CacheMismatch):
        cache.verify(teacher, swapped, sample=5)


def test_an_online_teacher_is_read_only_and_in_its_own_dtype(tiny_model: Path) -> None:
    model = load(tiny_model)
    teacher = OnlineTeacher(model, model.config.vocab_size - 3)
    assert not any(p.requires_grad for p in model.parameters())
    ids = torch.arange(3, 13)[None]
    where = torch.ones_like(ids, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dense = teacher.read({"input_ids": ids}, where, 2.0)
    log_p = dense(slice(2, 5))
    assert log_p.dtype == torch.float32
    assert not log_p.requires_grad
    with torch.no_grad():
        expected = (model(ids).logits[0, 2:5, :-3] / 2.0).log_softmax(-1)
    assert torch.allclose(log_p, expected, atol=1e-5)
