"""A capture from a vLLM server stores what the forward pass stores, and goes on where it was."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from distill_studio.core.errors import (
    Cancelled,
    TeacherContextTooLong,
    TeacherError,
    TeacherMalformedReply,
    TeacherUnauthorised,
)
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import MASKED, Encoded, encode_sft
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.sparse_kl import SparseKl, TopK
from distill_studio.distill.signals import base
from distill_studio.distill.signals.base import CacheMismatch, SignalKey, part_path
from distill_studio.distill.signals.cached import CachedTeacher
from distill_studio.distill.signals.capture import capture
from distill_studio.distill.signals.online import OnlineTeacher
from distill_studio.distill.signals.served import ask_again, capture_served, record
from distill_studio.teachers.prompt_logprobs import PromptScorer, TooManyLogprobs
from tests.stub_openai import Answer, StubServer, failure
from tests.stub_vllm import VllmLike
from tests.tiny_model import build_tiny_model, completions

MakeKey = Callable[..., SignalKey]
K = 8


@pytest.fixture(scope="module")
def vllm(tiny_model: Path) -> VllmLike:
    return VllmLike(tiny_model)


@pytest.fixture
def stub(vllm: VllmLike) -> Iterator[StubServer]:
    server = StubServer(vllm)
    yield server
    server.close()


@pytest.fixture(scope="module")
def teacher(vllm: VllmLike) -> OnlineTeacher:
    return OnlineTeacher(vllm.model, vllm.model.config.vocab_size)


@pytest.fixture(scope="module")
def rows(chat: ChatTokenizer) -> list[Encoded]:
    raw = completions(70)  # more than a part of 64
    for number, row in enumerate(raw):
        row["prompt"][0]["content"] += f" {number}"  # no two alike
    made = [encode_sft(chat, row) for row in raw]
    made[3] = Encoded([0], [MASKED])  # as a row of a large snapshot that teaches nothing
    made[5] = Encoded(made[5].input_ids, list(made[5].input_ids))  # its first token has no place
    return made


@pytest.fixture(scope="module")
def make_key(tiny_model: Path, chat: ChatTokenizer, rows: list[Encoded]) -> MakeKey:
    def make(**fields: Any) -> SignalKey:
        common = {
            "teacher": base.fingerprint(tiny_model),
            "tokenizer": base.tokenizer_hash(tiny_model),
            "template": base.template_hash(chat),
            "tokens": base.tokens_hash(rows),
            "width": len(chat.vocabulary()),
            "k": K,
            "dtype": "fp32",
            "source": "vllm",
        }
        return SignalKey(**(common | fields))

    return make


def scorer(stub: StubServer, key: str = "", **fields: Any) -> PromptScorer:
    common = {"name": "T", "kind": TeacherKind.OPENAI, "model": "stub-1", "base_url": stub.url}
    return PromptScorer(TeacherConfig(**(common | {"concurrency": 6} | fields)), key)


def test_it_is_what_the_forward_pass_stores(
    stub: StubServer,
    teacher: OnlineTeacher,
    rows: list[Encoded],
    make_key: MakeKey,
    tmp_path: Path,
) -> None:
    served, forward = make_key(), make_key(source="forward")
    assert served.hash != forward.hash
    seen: list[tuple[int, int]] = []
    capture_served(
        scorer(stub), rows, tmp_path / "a", served, progress=lambda *now: seen.append(now)
    )
    capture(teacher, rows, tmp_path / "b", forward)
    assert seen[-1] == (70, 70)
    assert 1 < stub.most_in_flight <= 6
    assert len(stub.requests) == 69, "one row teaches nothing and needs no question"
    first = stub.requests[0]
    assert (first["max_tokens"], first["prompt_logprobs"]) == (1, K)
    assert sorted(r["prompt"] for r in stub.requests) == sorted(
        row.input_ids for number, row in enumerate(rows) if number != 3
    )
    ours = CachedTeacher.open(tmp_path / "a", served, 70)
    theirs = CachedTeacher.open(tmp_path / "b", forward, 70)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "key.json",
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    for number in range(70):
        assert len(ours.read([number], 1.0).ids_NK) == len(theirs.read([number], 1.0).ids_NK)
    a, b = ours.read(range(70), 1.0), theirs.read(range(70), 1.0)
    assert isinstance(a, TopK)
    assert isinstance(b, TopK)
    assert torch.allclose(a.log_probs_NK, b.log_probs_NK, atol=1e-5)
    assert (a.ids_NK == b.ids_NK).float().mean() > 0.999  # two that tie may change places
    assert torch.allclose(a.log_tail_N, b.log_tail_N, atol=1e-4)
    assert ours.covered() == pytest.approx(theirs.covered(), abs=1e-6)
    assert ours.verify(teacher, rows) < 1e-4
    assert ask_again(scorer(stub), ours, rows, 4, 0) == (pytest.approx(0.0, abs=1e-6), None)
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(len(a.ids_NK), made_width(teacher), generator=generator).log_softmax(1)
    losses = [SparseKl()(z, one, wants_gradient=True) for one in (a, b)]
    assert torch.allclose(losses[0][0], losses[1][0], atol=1e-5)
    assert losses[0][1] is not None
    assert losses[1][1] is not None
    assert torch.allclose(losses[0][1], losses[1][1], atol=1e-5)


def made_width(teacher: OnlineTeacher) -> int:
    return int(teacher.model.config.vocab_size)


def test_all_ids_are_the_whole_divergence(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path, vllm: VllmLike
) -> None:
    few, width = rows[:3], vllm.model.config.vocab_size
    key = make_key(k=width, tokens=base.tokens_hash(few))
    vllm.max_logprobs = width
    try:
        capture_served(scorer(stub), few, tmp_path, key)
    finally:
        vllm.max_logprobs = 256
    found = CachedTeacher.open(tmp_path, key, 3).read(range(3), 1.0)
    assert isinstance(found, TopK)
    assert bool(found.log_tail_N.isneginf().all())
    z = torch.randn(len(found.ids_NK), width, generator=torch.Generator().manual_seed(3))
    log_q = z.log_softmax(1)
    log_p = torch.empty_like(z).scatter_(1, found.ids_NK, found.log_probs_NK)
    sparse, _ = SparseKl()(log_q.clone(), found, wants_gradient=False)
    dense, _ = ForwardKl()(log_q, log_p, wants_gradient=False)
    assert torch.allclose(sparse, dense, atol=1e-5)


def test_padding_of_the_servers_vocabulary_is_taken_out(make_key: MakeKey) -> None:
    """Against the forward pass's own rule: a softmax over the ids that both models have."""
    torch.manual_seed(4)
    z = torch.randn(5, 30, dtype=torch.float64) * 3
    z[:, 24:] += torch.tensor([0.0, 4.0, 0.0, 2.0, 0.0, 1.0])  # ids that the student lacks
    top = z.log_softmax(1).topk(12, 1)
    places = [
        list(zip(i.tolist(), v.tolist(), strict=True))
        for v, i in zip(top.values, top.indices, strict=True)
    ]
    key = make_key(k=12, width=24)
    made = record(places, key)
    ids = torch.tensor(made["ids"].reshape(5, 12)).long()
    log_probs = torch.tensor(made["log_probs"].reshape(5, 12)).double()
    assert int(ids.max()) < 24
    want = z.log_softmax(1)[:, :24]  # of the head the exact rule; of the rest what is known
    for n in range(5):
        kept = log_probs[n] > -1e29
        assert 6 <= int(kept.sum()) < 12, "some places of the head were padding"
        outside = sum(math.exp(v) for i, v in places[n] if i >= 24)
        expected = want[n][ids[n][kept]] - math.log1p(-outside)
        assert torch.allclose(log_probs[n][kept], expected, atol=1e-6)
        assert set(ids[n][~kept].tolist()) == {int(ids[n][0])}, "repeats the first, without mass"
    tail = torch.tensor(made["log_tail"]).exp().double()
    head = (log_probs.exp() * (log_probs > -1e29)).sum(1)
    assert torch.allclose(head + tail, torch.ones(5, dtype=torch.float64), atol=1e-6)
    q = torch.randn(5, 24, generator=torch.Generator().manual_seed(5)).log_softmax(1)
    filled = TopK(ids, log_probs.float(), torch.tensor(made["log_tail"]))
    loss, gradient = SparseKl()(q.clone(), filled, wants_gradient=True)
    assert gradient is not None
    for n in range(5):
        kept = log_probs[n] > -1e29
        alone = TopK(
            ids[n][kept][None], log_probs[n][kept][None].float(), filled.log_tail_N[n : n + 1]
        )
        one, its = SparseKl()(q[n : n + 1].clone(), alone, wants_gradient=True)
        assert its is not None
        assert torch.allclose(loss[n], one[0], atol=1e-6)
        assert torch.allclose(gradient[n], its[0], atol=1e-6)


def test_what_are_no_probabilities_is_refused(make_key: MakeKey) -> None:
    with pytest.raises(TeacherMalformedReply, match=r"sum to 1\.4"):
        record([[(1, math.log(0.9)), (2, math.log(0.5))]], make_key(k=2))
    with pytest.raises(TeacherMalformedReply, match="does not have"):
        record([[(25, 0.0), (26, -30.0)]], make_key(k=2, width=24))
    nothing = record([[(1, -9999.0), (2, -9999.0)]], make_key(k=2, dtype="fp16"))
    assert nothing["log_probs"].tolist() == [-10000.0, -10000.0], "what JSON says for log 0"
    assert nothing["covered"] == 0.0


def test_a_stopped_capture_asks_for_no_row_twice(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path, vllm: VllmLike
) -> None:
    """By a row that fails for good, then by a stop; each row that came is kept."""
    bad = rows[66].input_ids

    def fails_at_one(body: dict[str, Any]) -> Answer:
        return failure(400, "no such luck") if body["prompt"] == bad else vllm(body)

    stub.behave = fails_at_one
    key = make_key()
    with pytest.raises(TeacherError, match="no such luck"):
        capture_served(scorer(stub, concurrency=1), rows, tmp_path, key)
    assert part_path(tmp_path, 0).exists()
    kept = len(list(tmp_path.glob("row-*.parquet")))
    assert kept == 2  # of the second part, those before the one that failed
    with pytest.raises(CacheMismatch, match="lacks 1 of 2"):
        CachedTeacher.open(tmp_path, key, 70)
    stub.behave = vllm

    def stop() -> None:
        if len(list(tmp_path.glob("row-*.parquet"))) > kept:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        capture_served(scorer(stub, concurrency=1), rows, tmp_path, key, check_stop=stop)
    stub.requests.clear()
    before = len(list(tmp_path.glob("row-*.parquet")))
    assert before > kept
    capture_served(scorer(stub), rows, tmp_path, key)
    assert len(stub.requests) == 6 - before
    capture_served(scorer(stub), rows, tmp_path, key)
    assert len(stub.requests) == 6 - before, "a whole store asks nothing"
    straight = tmp_path / "straight"
    capture_served(scorer(stub), rows, straight, key)
    for part in (0, 1):
        assert part_path(tmp_path, part).read_bytes() == part_path(straight, part).read_bytes()


def test_what_may_pass_is_tried_again(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path, vllm: VllmLike
) -> None:
    first_time: set[str] = set()
    guard = threading.Lock()
    kinds = [failure(500, "CUDA error"), Answer(drops=True), Answer(b"{half"), failure(429, "slow")]

    def stumbles(body: dict[str, Any]) -> Answer:
        name = str(body["prompt"])
        with guard:
            is_new = name not in first_time and len(first_time) < len(kinds)
            if is_new:
                first_time.add(name)
                return kinds[len(first_time) - 1]
        return vllm(body)

    stub.behave = stumbles
    few = rows[:8]
    key = make_key(tokens=base.tokens_hash(few))
    capture_served(scorer(stub, concurrency=1), few, tmp_path, key)
    assert CachedTeacher.open(tmp_path, key, 8).covered() > 0
    assert len(first_time) == 4


def test_the_key_goes_along_and_a_refused_one_is_told(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path
) -> None:
    few = rows[:2]
    key = make_key(tokens=base.tokens_hash(few))
    capture_served(scorer(stub, "sk-1"), few, tmp_path, key)
    assert {h["authorization"] for h in stub.headers} == {"Bearer sk-1"}
    stub.behave = lambda body: failure(401, "sk-1 is no key")
    with pytest.raises(TeacherUnauthorised) as caught:
        capture_served(scorer(stub, "sk-1"), few, tmp_path / "b", key)
    assert "sk-1" not in str(caught.value)
    assert not any(b"sk-1" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_more_than_the_server_gives_is_told_with_the_option(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path, tiny_model: Path
) -> None:
    stub.behave = VllmLike(tiny_model, max_logprobs=5)
    with pytest.raises(TooManyLogprobs, match=r"5 log-probabilities.*--max-logprobs 8 or more"):
        capture_served(scorer(stub), rows, tmp_path, make_key())
    assert len(stub.requests) <= 6, "it is not tried again"


@pytest.mark.parametrize("length", [256, 257])
def test_a_row_without_room_for_one_token_more_is_told(
    stub: StubServer, make_key: MakeKey, tmp_path: Path, length: int
) -> None:
    """In either of the two ways in which vLLM words it."""
    ids = [5 + i % 50 for i in range(length)]
    with pytest.raises(TeacherContextTooLong, match=f"{length} tokens and one more") as caught:
        capture_served(scorer(stub), [Encoded(ids, ids)], tmp_path, make_key())
    assert "longest length" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt_token_ids": [1, 2, 3]}, "places of a prompt of 3 tokens"),
        ({"prompt_logprobs": None}, "no log-probabilities of the prompt"),
    ],
)
def test_a_reply_to_something_else_is_refused(
    stub: StubServer,
    rows: list[Encoded],
    make_key: MakeKey,
    tmp_path: Path,
    vllm: VllmLike,
    change: dict[str, Any],
    words: str,
) -> None:
    def changed(body: dict[str, Any]) -> Answer:
        answer = vllm(body)
        answer.body["choices"][0] |= change
        return answer

    stub.behave = changed
    with pytest.raises(TeacherError, match=words):
        capture_served(scorer(stub, max_retries=0), rows, tmp_path, make_key())


def test_other_tokens_of_the_same_number_are_refused(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path, vllm: VllmLike
) -> None:
    def shifted(body: dict[str, Any]) -> Answer:
        answer = vllm(body)
        answer.body["choices"][0]["prompt_token_ids"] = [i + 1 for i in body["prompt"]]
        return answer

    stub.behave = shifted
    with pytest.raises(TeacherMalformedReply, match="other tokens than it was sent"):
        capture_served(scorer(stub, max_retries=0), rows, tmp_path, make_key())


def test_asked_again_another_model_is_found_out(
    stub: StubServer, rows: list[Encoded], make_key: MakeKey, tmp_path: Path
) -> None:
    few = rows[10:15]
    key = make_key(tokens=base.tokens_hash(few))
    capture_served(scorer(stub), few, tmp_path / "cache", key)
    cache = CachedTeacher.open(tmp_path / "cache", key, 5)
    other = VllmLike(build_tiny_model(tmp_path / "other", layers=5))
    stub.behave = other
    worst, unlike = ask_again(scorer(stub), cache, few, 4, 0)
    assert worst > 0.1
    assert unlike in range(5)


def test_stores_of_before_keep_their_folder(make_key: MakeKey) -> None:
    key = make_key(source="forward")
    before = SignalKey.model_validate_json(key.model_dump_json(exclude={"source"}))
    assert before == key
    text = key.model_dump_json(exclude={"source"})
    assert key.hash == hashlib.sha256(text.encode()).hexdigest()[:16]
    with pytest.raises(CacheMismatch, match="another way of asking"):
        key.refuse_unlike(make_key())
