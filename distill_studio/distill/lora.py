"""Our LoRA settings as PEFT's."""

from typing import Any

from distill_studio.distill.config import LoraConfig
from distill_studio.distill.layer_names import refuse_layers

_ALL = "all-linear"  # PEFT's word: every linear layer but the output layer, whatever it is called


def peft_config(lora: LoraConfig | None, model: Any) -> Any:  # noqa: ANN401  (a PEFT class)
    """PEFT's configuration for `model`; None when the full weights train.

    Raises:
        InvalidInput: A layer is named that the model has not, or its output layer.
    """
    if lora is None:
        return None
    import peft

    if lora.target_modules:
        modules = dict(model.named_modules())
        matrices = [n for n, part in modules.items() if getattr(_weight(part), "ndim", 0)]
        head = _weight(model.get_output_embeddings())
        output = [n for n in matrices if _weight(modules[n]) is head]
        refuse_layers(lora.target_modules, matrices, output)
    return peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules) or _ALL,
        task_type="CAUSAL_LM",
    )


def _weight(module: Any) -> Any:  # noqa: ANN401
    return getattr(module, "weight", None)
