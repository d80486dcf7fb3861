"""Axolotl: rows for its `chat_template` strategy (SFT) or for TRL (DPO, KTO), and a YAML.

Read off Axolotl 0.18.0 (commit 067b021), in `src/axolotl`
- `prompt_strategies/chat_template.py`, `ChatTemplateStrategy`: learns the turns of
  `roles_to_train`; a turn's own flag, named by `message_field_training`, goes before that.
- `utils/data/rl.py`, `_load_split`: a dataset without `type` is handed to TRL as it is, which puts
  the conversations into the tokenizer's own template. That is used for DPO and KTO. The type
  `chat_template.default` is not: it finds the answer by its text within the whole rendered prompt,
  so a short one ("a", "AI") is found in the system prompt and the row is spoilt; and KTO has no
  type for conversations. Without a type, `skip_prepare_dataset` must be set, or `_load_split`
  tokenizes the lists as texts.
- `utils/schemas/validation.py`: `test_datasets` excludes `val_set_size`; KTO wants
  `remove_unused_columns: false` and no packing.
"""

from typing import Any

import yaml

from distill_studio.freeze.neighbours.settings import Bundle, Row

CONFIG = "axolotl.yaml"


def to_row(row: Row) -> Row:
    """A row as the YAML describes it; earlier answers of prompt and completion are not learned."""
    if "messages" in row:
        return row
    if "completion" in row and "label" not in row:
        turns = [
            *({**turn, "train": False} for turn in row["prompt"]),
            *({**turn, "train": True} for turn in row["completion"]),
        ]
        return {"id": row["id"], "messages": turns}
    return {column: value for column, value in row.items() if column != "id"}  # TRL's columns alone


def problem(row: Row) -> str:
    """Why Axolotl would not take a row; it takes what the model's template takes."""
    return ""


def config(bundle: Bundle) -> dict[str, Any]:
    """What the YAML says."""
    chosen = bundle.settings
    values: dict[str, Any] = {
        "base_model": chosen.model,
        "adapter": "lora",
        "lora_r": chosen.lora_r,
        "lora_alpha": chosen.lora_alpha,
        "lora_dropout": chosen.lora_dropout,
        "lora_target_modules": chosen.lora_modules,
        "chat_template": "tokenizer_default",
        **_method(bundle),
        "datasets": [_dataset(bundle, "train")],
    }
    if bundle.has_validation:
        values["test_datasets"] = [_dataset(bundle, "validation")]
        values["eval_steps"] = chosen.eval_every
        values["eval_batch_size"] = chosen.batch_size
    return values | {
        "val_set_size": 0.0,
        "sequence_len": chosen.max_length,
        "sample_packing": False,
        "micro_batch_size": chosen.batch_size,
        "gradient_accumulation_steps": chosen.grad_accumulation,
        "num_epochs": chosen.epochs,
        "optimizer": "adamw_torch",
        "learning_rate": chosen.learning_rate,
        "lr_scheduler": chosen.scheduler,
        "warmup_ratio": chosen.warmup_ratio,
        "weight_decay": chosen.weight_decay,
        "max_grad_norm": chosen.max_grad_norm,
        "seed": chosen.seed,
        "bf16": "auto",
        "logging_steps": 10,
        "save_steps": chosen.save_every,
        "output_dir": "outputs",
    }


def files(bundle: Bundle) -> dict[str, str]:
    """The files beside the rows, by name."""
    return {CONFIG: bundle.heading + yaml.safe_dump(config(bundle), sort_keys=False)}


def _method(bundle: Bundle) -> dict[str, Any]:
    chosen = bundle.settings
    if chosen.method == "sft":
        return {"dataset_prepared_path": "prepared", "excess_length_strategy": "truncate"}
    values: dict[str, Any] = {
        "rl": chosen.method,
        "rl_beta": chosen.beta,
        "skip_prepare_dataset": True,
        "remove_unused_columns": False,
    }
    if chosen.method == "kto":
        values["kto_desirable_weight"] = chosen.desirable_weight
        values["kto_undesirable_weight"] = chosen.undesirable_weight
    return values


def _dataset(bundle: Bundle, split: str) -> dict[str, Any]:
    found: dict[str, Any] = {"path": f"{split}.jsonl", "ds_type": "json", "split": "train"}
    if bundle.settings.method != "sft":
        return found
    found |= {
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    if bundle.settings.last_turn_only:
        found["message_field_training"] = "train"
    return found
