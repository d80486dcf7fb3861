"""The script for Unsloth, run with TRL's real trainers on a tiny model.

Unsloth itself needs a GPU. Its three functions that the script calls are stood in for by the plain
ones of transformers and PEFT, with the same arguments; masking by what each row's tokens show.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill_studio.freeze.neighbours import unsloth
from tests.freeze.test_neighbours import bundle
from tests.tiny_model import WORDS, assistant, build_tiny_model, completions, preferences, user

_STAND_IN = """
import transformers.training_args

transformers.training_args.is_torch_bf16_gpu_available = lambda: True  # there is no GPU here

class FastLanguageModel:
    @staticmethod
    def from_pretrained(model_name, max_seq_length, load_in_4bit):
        from transformers import AutoModelForCausalLM, AutoTokenizer
        assert load_in_4bit is False and max_seq_length > 0
        return (AutoModelForCausalLM.from_pretrained(model_name),
                AutoTokenizer.from_pretrained(model_name))

    @staticmethod
    def get_peft_model(model, r, lora_alpha, lora_dropout, target_modules, bias,
                       use_gradient_checkpointing, random_state):
        from peft import LoraConfig, get_peft_model
        assert use_gradient_checkpointing == "unsloth" and random_state == 17
        return get_peft_model(model, LoraConfig(
            r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, bias=bias,
            target_modules=target_modules, task_type="CAUSAL_LM"))

def is_bfloat16_supported():
    return True
"""
_TEMPLATES = """
import json
from pathlib import Path

def train_on_responses_only(trainer, last_response_only=False):
    mark = trainer.processing_class.encode("<|im_start|>assistant\\n", add_special_tokens=False)
    def labelled(row):
        ids = row["input_ids"]
        starts = [n + len(mark) for n in range(len(ids)) if ids[n:n + len(mark)] == mark]
        assert starts, "no answer"
        end = trainer.processing_class.convert_tokens_to_ids("<|im_end|>")
        labels = [-100] * len(ids)
        for start in starts[-1:] if last_response_only else starts:
            stop = ids.index(end, start) + 1
            labels[start:stop] = ids[start:stop]
        return {"labels": labels}
    for name in ("train_dataset", "eval_dataset"):
        setattr(trainer, name, getattr(trainer, name).map(labelled))
    learned = [i for i in trainer.train_dataset[0]["labels"] if i != -100]
    Path("learned.json").write_text(json.dumps(trainer.processing_class.decode(learned)))
    return trainer
"""


def two_turns(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"m{i}",
            "messages": [
                user("say red"),
                assistant("red"),
                user(f"say {WORDS[i]}"),
                assistant("sun moon"),
            ],
        }
        for i in range(count)
    ]


def labelled(count: int) -> list[dict[str, Any]]:
    return [row | {"label": i % 2 == 0} for i, row in enumerate(completions(count))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row_format", "rows"),
    [
        ("messages", two_turns(8)),
        ("prompt_completion", completions(8)),
        ("preference", preferences(8)),
        ("unpaired", labelled(8)),
    ],
)
def test_the_script_trains_on_what_is_written_for_it(
    tmp_path: Path, row_format: str, rows: list[dict[str, Any]]
) -> None:
    model = build_tiny_model(tmp_path / "model")
    made = bundle(
        row_format, model=str(model), epochs=1.0, eval_every=1, save_every=100, max_length=64
    )
    stand_in = tmp_path / "packages" / "unsloth"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text(_STAND_IN)
    (stand_in / "chat_templates.py").write_text(_TEMPLATES)
    folder = tmp_path / "out"
    folder.mkdir()
    for name, text in unsloth.files(made).items():
        (folder / name).write_text(text, encoding="utf-8")
    for split in ("train", "validation"):
        lines = [json.dumps(unsloth.to_row(row)) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env={
            "PYTHONPATH": str(stand_in.parent),
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (folder / "outputs" / "adapter" / "adapter_model.safetensors").is_file()
    assert "eval_loss" in done.stdout + done.stderr
    if row_format == "messages":
        assert (
            json.loads((folder / "learned.json").read_text()) == "red<|im_end|>sun moon<|im_end|>"
        )
    if row_format == "prompt_completion":
        assert json.loads((folder / "learned.json").read_text()).endswith(" sun moon<|im_end|>")
