"""The pool with its real workers, from threads and event loops, with answers made to hang it."""

import asyncio
import json
import os
import threading
import time
from pathlib import Path

import pytest

from distill_studio.core.errors import Unavailable
from distill_studio.verify import TIMED_OUT, Verdict, VerifierKind, VerifyPool, maths

TOWERS = ["$9^{9^{9^{9}}}$", r"\boxed{9**9**9**9}", r"\boxed{(10^{10^{10}})!}"]


def gsm8k(folder: Path) -> list[tuple[str, str]]:
    """Reference solutions and their final numbers."""
    lines = (folder / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    solutions = [json.loads(line)["answer"] for line in lines]
    return [(text, text.rpartition("####")[2].strip()) for text in solutions]


def in_a_thread(work) -> list[Verdict]:
    """What `work` returns in a thread that is not the main one."""
    found: list[Verdict] = []
    thread = threading.Thread(target=lambda: found.extend(work()))
    thread.start()
    thread.join()
    return found


@pytest.mark.parametrize("kind", [VerifierKind.NUMERIC, VerifierKind.MATH])
def test_agrees_with_every_gold_answer_from_a_worker_thread(kind, pool, shared_data):
    rows = gsm8k(shared_data)
    assert len(rows) == 1319
    verdicts = in_a_thread(lambda: [pool.verify_now(kind, text, gold) for text, gold in rows])
    assert len(verdicts) == 1319
    assert [v for v in verdicts if not v.ok] == []
    wrong = in_a_thread(
        lambda: [pool.verify_now(kind, text, f"{gold.replace(',', '')}1") for text, gold in rows]
    )
    assert [v for v in wrong if v.ok] == []


@pytest.mark.slow
def test_sympy_agrees_with_gold_answers_too(pool, shared_data, monkeypatch):
    """The same through math-verify itself, which plain numbers otherwise skip."""
    monkeypatch.setattr(maths, "verify_number", lambda answer, reference: None)
    rows = gsm8k(shared_data)

    def verdicts() -> list[Verdict]:
        return [
            pool.verify_now("math", f"\\boxed{{{gold.replace(',', '')} + 0x}}", gold)
            for _, gold in rows
        ]

    assert [v for v in in_a_thread(verdicts) if not v.ok] == []


@pytest.mark.parametrize(
    ("answer", "reference", "is_right"),
    [
        ("It is $x^2+2x+1$.", "(x+1)^2", True),
        (r"\boxed{\frac{\sqrt{2}}{2}}", r"\frac{1}{\sqrt{2}}", True),
        (r"\boxed{(1, 2)}", "(1,2)", True),
        (r"\boxed{\{2, 1\}}", r"\{1,2\}", True),
        (r"\boxed{[0, 1)}", "[0,1]", False),
        (r"\boxed{x+1}", "x+2", False),
        (r"\boxed{\text{blue}}", r"\text{red}", False),
        ("I do not know.", "x", False),
        ("", "x+1", False),
        (r"\boxed{x}", "", False),
    ],
)
def test_mathematical_equality(answer, reference, is_right, pool):
    assert pool.verify_now("math", answer, reference).ok is is_right


@pytest.mark.parametrize("answer", TOWERS)
def test_an_answer_made_to_hang_is_cut_off(answer, pool, monkeypatch):
    pool.verify_now("math", r"\boxed{x}", "x")  # a worker is up
    started = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "timeout_s", 1.5)
        (verdict,) = in_a_thread(lambda: [pool.verify_now("math", answer, "x+1")])
    took = time.monotonic() - started
    assert not verdict.ok
    if verdict.reason != TIMED_OUT:  # this tower is refused at once, or runs out of memory
        assert answer != TOWERS[0]
    assert took < 30  # it would never end
    assert pool.verify_now("math", r"\boxed{x+1}", "1+x").ok


def test_a_worker_that_dies_is_replaced(pool):
    assert pool.verify_now("math", r"\boxed{x}", "x").ok
    worker = pool._all[0]
    os.kill(worker._process.pid, 9)
    assert pool.verify_now("math", r"\boxed{x}", "x").ok


def test_many_at_once_from_an_event_loop(pool):
    async def many() -> list[Verdict]:
        questions = [("numeric", f"#### {i}", str(i)) for i in range(50)]
        questions += [("math", f"\\boxed{{x+{i}}}", f"{i}+x") for i in range(10)]
        return await asyncio.gather(*(pool.verify(*q) for q in questions))

    assert all(v.ok for v in asyncio.run(many()))


@pytest.mark.slow
def test_the_workers_see_no_secret(pool, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-77")
    pool._all[0].stop()
    pool.verify_now("math", r"\boxed{x}", "x")
    environment = Path(f"/proc/{pool._all[0]._process.pid}/environ")
    if not environment.exists():
        pytest.skip("no /proc")
    assert b"sk-test-77" not in environment.read_bytes()


@pytest.mark.slow
def test_closing_ends_the_workers():
    pool = VerifyPool(workers=1)
    pool.verify_now("math", r"\boxed{x}", "x")
    process = pool._all[0]._process
    pool.close()
    assert process.poll() is not None
    with pytest.raises(Unavailable):
        pool.verify_now("math", r"\boxed{x}", "x")


def test_an_unknown_kind_is_an_error(pool):
    with pytest.raises(ValueError, match="magic"):
        pool.verify_now("magic", "a", "b")
