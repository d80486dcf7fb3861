"""Chain of thought as a mixture: which rows keep it, in tokens, in pre-flight and in real steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill import worker
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig, SftRun
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.preflight import check
from distill_studio.distill.presets import build_config
from distill_studio.distill.reasoning import encode_answer, mixed, split_thought
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.token_view import token_view
from tests.tiny_model import assistant, completions, user, write_snapshot

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


def thinking(count: int, thought: str = "sun then moon") -> list[dict[str, Any]]:
    rows = completions(count)
    for row in rows:
        answer = row["completion"][0]["content"]
        row["completion"] = [assistant(f"<think>\n{thought}\n</think>\n\n{answer}")]
    return rows


@pytest.fixture
def thoughtful(make_config: MakeConfig, tmp_path: Path) -> Callable[..., SftRun]:
    """An SFT run over 40 rows with reasoning, 4 of them held out."""
    rows = thinking(40)
    folder = write_snapshot(tmp_path / "thinking", rows[4:], rows[:4])
    data = {"folder": str(folder), "name": "thinking", "format": "prompt_completion"}

    def make(method: str = "sft", **fields: Any) -> Any:
        return make_config(method, data=data, **fields)

    return make


def test_reasoning_is_found_where_freeze_puts_it() -> None:
    assert split_thought("<think>\na\nb\n</think>\n\nc") == ("a\nb", "c")
    assert split_thought("c <think>a</think>") == ("", "c <think>a</think>")
    assert split_thought("<think>never closed") == ("", "<think>never closed")
    assert split_thought("<think></think>c") == ("", "c")


def fates(config: SftRun, chat: ChatTokenizer, rows: list[dict[str, Any]]) -> list[str]:
    return [mixed(chat, config, row)[1] for row in rows]


def test_a_share_of_rows_keeps_its_reasoning(
    thoughtful: Callable[..., SftRun], chat: ChatTokenizer
) -> None:
    rows = thinking(2000)
    third = fates(thoughtful(reasoning_share=0.3), chat, rows)
    assert third.count("kept") == pytest.approx(600, abs=80)
    assert third.count("kept") + third.count("left_out") == 2000
    assert fates(thoughtful(reasoning_share=0.3), chat, rows[::-1]) == third[::-1]
    assert fates(thoughtful(reasoning_share=0.3, seed=18), chat, rows) != third
    more = fates(thoughtful(reasoning_share=0.6), chat, rows)
    assert all(b == "kept" for a, b in zip(third, more, strict=True) if a == "kept")
    assert set(fates(thoughtful(reasoning_share=1.0), chat, rows)) == {"kept"}
    assert set(fates(thoughtful(reasoning_share=0.0), chat, rows)) == {"left_out"}


def test_a_budget_leaves_long_thoughts_out(
    thoughtful: Callable[..., SftRun], chat: ChatTokenizer
) -> None:
    rows = [*thinking(3), *thinking(3, "moon " * 30), *completions(2)]
    budget = len(chat.encode("sun then moon"))
    found = fates(thoughtful(reasoning_budget=budget), chat, rows)
    assert found == ["kept"] * 3 + ["over_budget"] * 3 + ["none"] * 2
    assert fates(thoughtful(reasoning_budget=budget - 1), chat, rows)[0] == "over_budget"


def test_what_is_left_out_is_gone_from_the_tokens(
    thoughtful: Callable[..., SftRun], chat: ChatTokenizer
) -> None:
    row = thinking(1)[0]
    whole = chat.decode(encode_answer(chat, thoughtful(), row).input_ids)
    assert "<think>" in whole
    bare = thoughtful(reasoning_share=0.0)
    assert encode_answer(chat, bare, row) == encode_answer(chat, bare, completions(1)[0])
    view = token_view(chat, bare, row)[0]
    assert view.title == "row, its reasoning left out"
    assert "think" not in "".join(p.text for p in view.pieces)
    messages = {"id": "m", "messages": [*row["prompt"], *row["completion"], user("more")]}
    shown = chat.decode(encode_answer(chat, bare, messages).input_ids)
    assert "think" not in shown
    assert row["completion"][0]["content"].startswith("<think>")  # the row itself is as it was


def test_preflight_counts_and_warns(
    thoughtful: Callable[..., SftRun], make_config: MakeConfig
) -> None:
    def said(config: RunConfig, code: str) -> str:
        return next(f.message for f in check(config).findings if f.code == code)

    half = said(thoughtful(reasoning_share=0.5), "reasoning")
    assert "of 36 rows with reasoning keep it" in half
    assert "learn the answer alone by the share" in half
    assert "longer than 1 tokens" in said(thoughtful(reasoning_budget=1), "reasoning")
    assert "nothing to mix" in said(make_config(reasoning_share=0.5), "no_reasoning")
    assert not [f for f in check(thoughtful()).findings if "reasoning" in f.code]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "logit"])
def test_a_mixture_trains(
    make_run: MakeRun, thoughtful: Callable[..., SftRun], tmp_path: Path, method: str
) -> None:
    """Fewer learned tokens with less reasoning, in the worker itself."""
    tokens = []
    for share in (1.0, 0.0):
        config = thoughtful(method, reasoning_share=share, max_steps=2, samples=0)
        folder = tmp_path / f"run-{share}"
        folder.mkdir()
        (folder / "run.json").write_text(config.model_dump_json(), encoding="utf-8")
        worker.main([str(folder / "run.json")])
        events = read_events(folder / EVENTS_FILE)[0]
        assert events[-1].kind == "done", events[-1]
        tokens.append(next(e.tokens for e in events if e.kind == "eval"))
    assert tokens[0] > 2 * tokens[1] > 0


def test_a_spec_of_a_mixture(make_config: MakeConfig) -> None:
    made = make_config()
    spec = TrainSpec(snapshot="s", reasoning_share=0.4, reasoning_budget=512)
    config: Any = build_config(spec, "r", made.student, made.data)
    assert (config.reasoning_share, config.reasoning_budget) == (0.4, 512)
    with pytest.raises(ValueError, match="reasoning_share belongs to"):
        TrainSpec(snapshot="s", method="dpo", reasoning_share=0.4)
