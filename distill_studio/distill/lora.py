"""Our LoRA settings as PEFT's."""

from typing import Any

from distill_studio.distill.config import LoraConfig
from distill_studio.distill.layer_names import refuse_unknown

_ALL = "all-linear"  # PEFT's word: every linear layer but the output layer, whatever it is called


def peft_config(lora: LoraConfig | None, model: Any) -> Any:  # noqa: ANN401  (a PEFT class)
    """PEFT's configuration for `model`; None when the full weights train.

    Raises:
        InvalidInput: A layer is named that the model has not.
    """
    if lora is None:
        return None
    import peft

    if lora.target_modules:
        modules = model.named_modules()
        refuse_unknown(
            lora.target_modules,
            [name for name, part in modules if getattr(getattr(part, "weight", None), "ndim", 0)],
        )
    return peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules) or _ALL,
        task_type="CAUSAL_LM",
    )
