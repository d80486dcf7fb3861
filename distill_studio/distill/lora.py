"""Our LoRA settings as PEFT's."""

from typing import Any

from distill_studio.distill.config import LoraConfig


def peft_config(lora: LoraConfig | None) -> Any:  # noqa: ANN401  (a PEFT class)
    """PEFT's configuration; None when the full weights train."""
    if lora is None:
        return None
    import peft

    return peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
