"""LLaMA-Factory: rows in its `sharegpt` form with OpenAI's names, `dataset_info.json`, a YAML.

Read off LLaMA-Factory 0.9.6.dev0 (commit ff6d4d1): `data/README.md` for the form, and in
`src/llamafactory/data`
- `converter.py`, `SharegptDatasetConverter`: after a system message, turns must alternate from the
  user on, an even number of them (an odd one before `chosen` and `rejected`); other rows are
  skipped with no more than a warning, so they are left out here and counted. The form named
  `openai` is not used: its converter adds "detailed thinking off" to every system prompt.
- `mm_plugin.py`, `BasePlugin`: a text that holds `<image>`, `<video>` or `<audio>` without such a
  file stops the training.
- `template.py`, `ReasoningTemplate`: with `enable_thinking: false` thoughts are taken out.
  `get_template_and_fix_tokenizer`: without `template`, the tokenizer's own is parsed.
- `processor/supervised.py`: `mask_history` learns the last turn alone.
Its examples set `warmup_ratio`, which newer releases of transformers have no more; all of them have
`warmup_steps`.
"""

import json
import re
from typing import Any

import yaml

from distill_studio.freeze.neighbours.settings import Bundle, Row

CONFIG = "llama_factory.yaml"
_PLACEHOLDERS = ("<image>", "<video>", "<audio>")
_ANSWER_COLUMNS = ("chosen", "rejected")
# `extras/constants.py`, `register_model_group`: which template belongs to which models.
_TEMPLATES = (
    (r"smollm2-[\d.]+b|smollm2-\d+m", "smollm2"),
    (r"smollm-[\d.]+b|smollm-\d+m", "smollm"),
    (r"qwen2(\.5)?-[\d.]+b(-instruct)?$", "qwen"),
    (r"qwen3-(next-)?\d+b(-a\d+b)?-instruct(-2507)?$", "qwen3_nothink"),
    (r"qwen3-[\d.]+b(-a[\d.]+b)?(-base|-thinking-2507)?$", "qwen3"),
    (r"llama-3(\.\d)?-\d+b(-instruct)?$", "llama3"),
    (r"gemma-2-\d+b(-it)?$", "gemma2"),
    (r"mistral-7b-(instruct-)?v0\.\d$", "mistral"),
    (r"phi-4-mini-instruct$", "phi4_mini"),
    (r"phi-4$", "phi4"),
    (r"deepseek-r1-distill-", "deepseekr1"),
)


def template(model: str) -> str | None:
    """The name of a model's template; None where only its tokenizer knows."""
    name = model.rstrip("/").rsplit("/", maxsplit=1)[-1].lower()
    return next((t for pattern, t in _TEMPLATES if re.match(pattern, name)), None)


def to_row(row: Row) -> Row:
    """A row as `dataset_info` describes it."""
    if "messages" in row:
        return row
    if "chosen" in row:
        answers = {column: row[column][0] for column in _ANSWER_COLUMNS}
        return {"id": row["id"], "messages": row["prompt"], **answers}
    whole: Row = {"id": row["id"], "messages": [*row["prompt"], *row["completion"]]}
    return whole | ({"label": row["label"]} if "label" in row else {})


def problem(row: Row) -> str:
    """Why LLaMA-Factory would skip a row or stop at it; '' when it takes it."""
    written = to_row(row)
    turns = written["messages"]
    if turns and turns[0]["role"] == "system":
        turns = turns[1:]
    answers = [written[column] for column in _ANSWER_COLUMNS if column in written]
    said = [turn["content"] for turn in [*turns, *answers]]
    if any(mark in text for text in said for mark in _PLACEHOLDERS):
        return "holds <image>, <video> or <audio>, which it takes for a file"
    roles = [turn["role"] for turn in turns]
    wanted = [("user", "assistant")[place % 2] for place in range(len(roles))]
    is_even = len(roles) % 2 == 0
    if roles != wanted or not roles or is_even == ("chosen" in row):
        return "does not alternate between user and assistant"
    return ""


def dataset_info(bundle: Bundle) -> dict[str, Any]:
    """What `dataset_info.json` says of the files."""
    method = bundle.settings.method
    columns = {"messages": "messages"}
    if method == "dpo":
        columns |= {column: column for column in _ANSWER_COLUMNS}
    if method == "kto":
        columns["kto_tag"] = "label"
    facts: dict[str, Any] = {
        "formatting": "sharegpt",
        **({"ranking": True} if method == "dpo" else {}),
        "columns": columns,
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
    names = {"train": bundle.name, "validation": f"{bundle.name}_validation"}
    return {
        names[split]: {"file_name": f"{split}.jsonl"} | facts
        for split in names
        if bundle.rows.get(split)
    }


def config(bundle: Bundle) -> dict[str, Any]:
    """What the YAML says."""
    chosen = bundle.settings
    known = template(chosen.model)
    values: dict[str, Any] = {
        "model_name_or_path": chosen.model,
        **({"template": known} if known else {}),
        "stage": chosen.method,
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": chosen.lora_r,
        "lora_alpha": chosen.lora_alpha,
        "lora_dropout": chosen.lora_dropout,
        "lora_target": ",".join(chosen.lora_modules),
        "dataset_dir": ".",
        "dataset": bundle.name,
        "cutoff_len": chosen.max_length,
        "enable_thinking": bundle.has_reasoning,
        "output_dir": "outputs",
        "logging_steps": 10,
        "save_steps": chosen.save_every,
        "report_to": "none",
        "per_device_train_batch_size": chosen.batch_size,
        "gradient_accumulation_steps": chosen.grad_accumulation,
        "learning_rate": chosen.learning_rate,
        "num_train_epochs": chosen.epochs,
        "lr_scheduler_type": chosen.scheduler,
        "warmup_steps": bundle.warmup_steps,
        "weight_decay": chosen.weight_decay,
        "max_grad_norm": chosen.max_grad_norm,
        "seed": chosen.seed,
        "bf16": True,
    }
    if chosen.last_turn_only:
        values["mask_history"] = True
    if chosen.method == "dpo":
        values |= {"pref_beta": chosen.beta, "pref_loss": "sigmoid"}
    if chosen.method == "kto":
        values |= {
            "pref_beta": chosen.beta,
            "kto_chosen_weight": chosen.desirable_weight,
            "kto_rejected_weight": chosen.undesirable_weight,
        }
    if bundle.has_validation:
        values |= {
            "eval_dataset": f"{bundle.name}_validation",
            "eval_strategy": "steps",
            "eval_steps": chosen.eval_every,
            "per_device_eval_batch_size": chosen.batch_size,
        }
    return values


def files(bundle: Bundle) -> dict[str, str]:
    """The files beside the rows, by name. `dataset_info.json` is read in the system's encoding."""
    return {
        "dataset_info.json": json.dumps(dataset_info(bundle), indent=2),
        CONFIG: bundle.heading + yaml.safe_dump(config(bundle), sort_keys=False),
    }
