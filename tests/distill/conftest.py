"""Fixtures of the distill tests: a tiny model, and run folders around it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    LoraConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
)
from tests.tiny_model import build_tiny_model, completions, preferences, write_snapshot

MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def chat(tiny_model: Path) -> ChatTokenizer:
    return ChatTokenizer.load(tiny_model)


@pytest.fixture
def make_config(tiny_model: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """A config over the tiny model; keyword arguments replace its fields."""

    def make(method: str = "sft", rows: int = 24, **fields: Any) -> RunConfig:
        made = preferences(rows) if method == "dpo" else completions(rows)
        data = write_snapshot(tmp_path / f"snap-{method}", made[:-4], made[-4:])
        common = {
            "name": "r",
            "student": StudentConfig(base_folder=str(tiny_model), base_id="tiny"),
            "data": DataConfig(
                folder=str(data),
                name="snap",
                format="preference" if method == "dpo" else "prompt_completion",
            ),
            "lora": LoraConfig(r=4, alpha=8),
            "learning_rate": 0.02,
            "max_steps": 4,
            "batch_size": 4,
            "max_length": 64,
            "eval_every": 2,
            "save_every": 2,
            "sample_tokens": 4,
            "dtype": "fp32",
            "device": "cpu",
        }
        if method in ("logit", "on_policy"):
            common["teacher"] = TeacherConfig(folder=str(tiny_model), id="tiny")
        return RUN_CONFIGS[method](**(common | fields))

    return make


@pytest.fixture
def make_run(make_config: Callable[..., RunConfig], tmp_path: Path) -> MakeRun:
    """A run folder with its run.json."""

    def make(method: str = "sft", folder: str = "run", **fields: Any) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        config = make_config(method, **fields)
        (path / "run.json").write_text(config.model_dump_json(), encoding="utf-8")
        return path

    return make


@pytest.fixture
def keep_signals() -> Iterator[None]:
    """The worker takes SIGTERM and SIGINT over; give them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
