"""A snapshot as a ZIP for LLaMA-Factory, Axolotl or Unsloth: rows, configuration, README."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import DataConfig, KtoRun, StudentConfig
from distill_studio.distill.labels import balance
from distill_studio.distill.presets import build_config
from distill_studio.distill.spec import TrainSpec
from distill_studio.freeze.folder import read_manifest
from distill_studio.freeze.neighbours import NEIGHBOURS, Neighbour
from distill_studio.freeze.neighbours.readme import readme
from distill_studio.freeze.neighbours.settings import (
    METHOD_OF_FORMAT,
    Bundle,
    Row,
    TrainingSettings,
    conversation,
)
from distill_studio.teachers.starter import CHAT_MODEL, CHAT_MODEL_HUB_ID

_PAGE_ROWS = 1000
_PRESET = "thorough"  # the preset for a GPU


class NeighbourExport:
    """One export: `write` makes the ZIP, then `rows` and `left_out` say what is in it.

    Args:
        folder: The verified folder of the snapshot.
        tool: A name of `NEIGHBOURS`.
        model: Hub id or folder of the model that is to learn; '' = the starter model's Hub id.

    Raises:
        InvalidInput: The tool is not known, or the model is not a name that a tool can load.
    """

    def __init__(self, folder: Path, tool: str, model: str) -> None:
        if tool not in NEIGHBOURS:
            raise InvalidInput(
                f"There is no export for '{tool}'.", f"Use one of: {', '.join(NEIGHBOURS)}."
            )
        self.neighbour: Neighbour = NEIGHBOURS[tool]
        self.rows: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._manifest = read_manifest(folder)
        self._model = _loadable(model)
        self._accepted = 0
        self._has_reasoning = False

    def write(self, path: Path) -> None:
        """Write the ZIP; everything in it lies in one folder, named by snapshot and tool.

        Raises:
            InvalidInput: The tool would take no row of the training split.
        """
        tool = next(name for name, n in NEIGHBOURS.items() if n is self.neighbour)
        root = f"{self._folder.name}-{tool.replace('_', '-')}"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for split, facts in self._manifest["splits"].items():
                lines = self._lines(split, self._folder / facts["file"])
                first = next(lines, None)
                if first is None:
                    continue  # an empty file would stop the tool
                with archive.open(f"{root}/{split}.jsonl", "w", force_zip64=True) as file:
                    file.writelines(chain([first], lines))
            if not self.rows["train"]:
                why = ", ".join(f"{n:,} rows: {reason}" for reason, n in self.left_out.items())
                raise InvalidInput(f"{self.neighbour.label} would take no row ({why}).")
            bundle = self._bundle()
            texts = self.neighbour.files(bundle)
            texts["README.md"] = readme(bundle, self.neighbour, self._manifest, self.left_out)
            for name, text in texts.items():
                archive.writestr(f"{root}/{name}", text)

    def _lines(self, split: str, path: Path) -> Iterator[bytes]:
        for row in self._taken(split, path):
            yield json.dumps(self.neighbour.to_row(row), ensure_ascii=False).encode() + b"\n"

    def _taken(self, split: str, path: Path) -> Iterator[Row]:
        """The rows that the tool takes, counted."""
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PAGE_ROWS):
                for row in batch.to_pylist():
                    reason = self.neighbour.problem(row)
                    if reason:
                        self.left_out[reason] += 1
                        continue
                    self.rows[split] += 1
                    self._accepted += split == "train" and bool(row.get("label"))
                    self._has_reasoning |= any(
                        turn["role"] == "assistant" and "<think>" in turn["content"]
                        for turn in conversation(row)
                    )
                    yield row

    def _bundle(self) -> Bundle:
        return Bundle(
            settings=self._settings(),
            name=self._folder.name,
            content_hash=self._manifest["content_hash"],
            rows=dict(self.rows),
            has_reasoning=self._has_reasoning,
        )

    def _settings(self) -> TrainingSettings:
        """The studio's own preset for a GPU, as a run of it would have it."""
        row_format = self._manifest["format"]
        method = METHOD_OF_FORMAT[row_format]
        run = build_config(
            TrainSpec(snapshot=self._folder.name, method=method, preset=_PRESET),
            self._folder.name,
            StudentConfig(base_folder=self._model, base_id=self._model),
            DataConfig(folder=str(self._folder), name=self._folder.name, format=row_format),
        )
        assert run.lora is not None
        same = {name: getattr(run, name) for name in TrainingSettings.model_fields.keys() & _SAME}
        extra: dict[str, Any] = {"beta": getattr(run, "beta", None)}
        if isinstance(run, KtoRun):
            weights = balance(run, self._accepted, self.rows["train"] - self._accepted)
            extra["desirable_weight"] = round(weights.desirable, 4)
            extra["undesirable_weight"] = round(weights.undesirable, 4)
        return TrainingSettings(
            method=method,
            model=self._model,
            last_turn_only=row_format == "prompt_completion",
            lora_r=run.lora.r,
            lora_alpha=run.lora.alpha,
            lora_dropout=run.lora.dropout,
            lora_modules=list(run.lora.target_modules or _LLAMA_LAYERS),
            **same,
            **extra,
        )


# Not all of these tools know a word for "all linear layers"; these are the names of Llama's kind.
_LLAMA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SAME = {
    "max_length",
    "learning_rate",
    "epochs",
    "batch_size",
    "grad_accumulation",
    "warmup_ratio",
    "scheduler",
    "weight_decay",
    "max_grad_norm",
    "eval_every",
    "save_every",
    "seed",
}


def _loadable(model: str) -> str:
    """A model as a tool on another machine knows it."""
    name = model.strip()
    if name in ("", CHAT_MODEL):
        return CHAT_MODEL_HUB_ID
    if name.startswith("run:"):
        raise InvalidInput(
            f"'{name}' is known to this studio alone.",
            "Export the student, unpack it where the tool runs, and give that folder.",
        )
    if len(name) > 500 or not name.isprintable():
        raise InvalidInput(
            "That is no model's name.", "Give an id on the Hub, such as owner/name, or a folder."
        )
    return name
