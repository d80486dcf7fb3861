"""Train on the rows beside this file with Unsloth: python train.py.

`settings.json` says what to train, how, and for how long; `train.jsonl` and, where there is one,
`validation.jsonl` hold conversations, which go through the model's own chat template. The adapter
is written to `outputs/adapter`.
"""

import json
import math
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # it would report each start

from unsloth import FastLanguageModel, is_bfloat16_supported  # first: it patches the others
from unsloth.chat_templates import train_on_responses_only
from datasets import load_dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

HERE = Path(__file__).resolve().parent
OUTPUTS = HERE / "outputs"
SETTINGS: dict[str, Any] = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))


def main() -> None:
    """Load, train, save."""
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=SETTINGS["model"],
        max_seq_length=SETTINGS["max_length"],
        load_in_4bit=False,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=SETTINGS["lora_r"],
        lora_alpha=SETTINGS["lora_alpha"],
        lora_dropout=SETTINGS["lora_dropout"],
        target_modules=SETTINGS["lora_modules"],
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=SETTINGS["seed"],
    )
    paths = {split: HERE / f"{split}.jsonl" for split in ("train", "validation")}
    there = {split: str(path) for split, path in paths.items() if path.is_file()}
    data = load_dataset("json", data_files=there)
    trainer = {"sft": sft, "dpo": dpo, "kto": kto}[SETTINGS["method"]](model, tokenizer, data)
    trainer.train()
    model.save_pretrained(str(OUTPUTS / "adapter"))
    tokenizer.save_pretrained(str(OUTPUTS / "adapter"))


def sft(model: Any, tokenizer: Any, data: Any) -> Any:
    """Learn the assistant's turns (all, or the last alone)."""

    def as_text(rows: dict[str, Any]) -> dict[str, Any]:
        made = [tokenizer.apply_chat_template(m, tokenize=False) for m in rows["messages"]]
        return {"text": made}

    data = data.map(as_text, batched=True, remove_columns=data["train"].column_names)
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        args=SFTConfig(dataset_text_field="text", **arguments(SFTConfig, data)),
        **splits(data),
    )
    return train_on_responses_only(trainer, last_response_only=SETTINGS["last_turn_only"])


def dpo(model: Any, tokenizer: Any, data: Any) -> Any:
    """Prefer the chosen answers; the reference is the model without its adapter."""
    data = data.remove_columns("id")
    return DPOTrainer(
        model=model,
        ref_model=None,
        processing_class=tokenizer,
        args=DPOConfig(beta=SETTINGS["beta"], **arguments(DPOConfig, data)),
        **splits(data),
    )


def kto(model: Any, tokenizer: Any, data: Any) -> Any:
    """Part accepted from rejected answers; the reference is the model without its adapter."""
    data = data.remove_columns("id")
    return KTOTrainer(
        model=model,
        ref_model=None,
        processing_class=tokenizer,
        args=KTOConfig(
            beta=SETTINGS["beta"],
            desirable_weight=SETTINGS["desirable_weight"],
            undesirable_weight=SETTINGS["undesirable_weight"],
            **arguments(KTOConfig, data),
        ),
        **splits(data),
    )


def splits(data: Any) -> dict[str, Any]:
    """The trainer's datasets."""
    return {"train_dataset": data["train"], "eval_dataset": data.get("validation")}


def arguments(config: type, data: Any) -> dict[str, Any]:
    """What all three trainers are told."""
    per_update = SETTINGS["batch_size"] * SETTINGS["grad_accumulation"]
    updates = math.ceil(len(data["train"]) / per_update * SETTINGS["epochs"])
    found = {
        "output_dir": str(OUTPUTS),
        "max_length": SETTINGS["max_length"],
        "per_device_train_batch_size": SETTINGS["batch_size"],
        "per_device_eval_batch_size": SETTINGS["batch_size"],
        "gradient_accumulation_steps": SETTINGS["grad_accumulation"],
        "num_train_epochs": SETTINGS["epochs"],
        "learning_rate": SETTINGS["learning_rate"],
        "lr_scheduler_type": SETTINGS["scheduler"],
        "warmup_steps": round(updates * SETTINGS["warmup_ratio"]),
        "weight_decay": SETTINGS["weight_decay"],
        "max_grad_norm": SETTINGS["max_grad_norm"],
        "optim": "adamw_torch",
        "bf16": is_bfloat16_supported(),
        "fp16": not is_bfloat16_supported(),
        "seed": SETTINGS["seed"],
        "logging_steps": 10,
        "save_steps": SETTINGS["save_every"],
        "report_to": "none",
    }
    if "validation" in data:
        found |= {"eval_strategy": "steps", "eval_steps": SETTINGS["eval_every"]}
    if "max_prompt_length" in {field.name for field in fields(config)}:  # TRL as Unsloth pins it
        # It would cut prompts at 512 tokens. KTO cuts only rows that are too long: half for each.
        found["max_prompt_length"] = SETTINGS["max_length"] // 2 if config is KTOConfig else None
    return found


if __name__ == "__main__":
    main()
