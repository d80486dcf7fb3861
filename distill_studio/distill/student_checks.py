"""Pre-flight of the student: its layers, those with an adapter, how much it reads. Torch-free."""

from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import LogitRun, RunConfig
from distill_studio.distill.estimate import ModelFacts, model_facts
from distill_studio.distill.findings import Finding
from distill_studio.distill.layer_names import (
    OUTPUT_LAYERS,
    has_layer_list,
    matrix_names,
    output_names,
    refuse_layers,
    weight_shapes,
)
from distill_studio.distill.pruning import (
    changes_text,
    is_narrowed,
    refuse_layout,
    weights_text,
)


def student_findings(config: RunConfig, facts: ModelFacts) -> list[Finding]:
    """What the student cannot do, and what pruning means for it."""
    findings = _pruning_findings(config, facts) + _adapter_findings(config)
    if facts.context and config.max_length > facts.context:
        message = f"The student reads at most {facts.context} tokens."
        hint = f"Set the longest length to {facts.context} or less."
        findings.append(Finding(level="error", code="over_context", message=message, hint=hint))
    return findings


def _pruning_findings(config: RunConfig, facts: ModelFacts) -> list[Finding]:
    """What cannot be dropped, or what is, with the weights that are left."""
    student, folder = config.student, Path(config.student.base_folder)
    if not student.is_pruned:
        return []
    for what, keep, of in (
        ("layers", student.keep_layers, facts.layers),
        ("key/value groups", student.keep_groups, facts.groups),
    ):
        if (keep or 0) > of:
            message = f"The student has {of} {what}; {keep} cannot be kept."
            hint = f"Choose at most {of}."
            code = f"too_many_{what.split('/')[0]}"
            return [Finding(level="error", code=code, message=message, hint=hint)]
    if student.keep_layers is not None and not has_layer_list(folder):
        return [out_of_reach("student", facts.model_type)]
    kept = model_facts(folder, student)
    try:
        if is_narrowed(facts.shape, kept.shape):
            refuse_layout(weight_shapes(folder), facts.model_type, facts.shape, kept.shape)
    except InvalidInput as err:
        code, hint = "cannot_narrow", err.hint
        return [Finding(level="error", code=code, message=err.user_message, hint=hint)]
    if kept.shape == facts.shape:
        return []
    engines = []
    if facts.model_type == "qwen2" and kept.shape.queries != kept.shape.hidden:
        message = "vLLM and llama.cpp take a Qwen2 model's heads to be as wide as its hidden states"
        hint = "Keep all groups and channels where they shall run the student."
        engines = [
            Finding(
                level="warning",
                code="unlike_heads",
                message=f"{message}: they cannot load this student. Here it trains and answers.",
                hint=hint,
            )
        ]
    return [
        *engines,
        Finding(
            level="info",
            code="pruned",
            message=f"Before the training {changes_text(facts.shape, kept.shape)}:"
            f" {weights_text(kept.parameters)} of {weights_text(facts.parameters)} weights are"
            " left. The student speaks badly until it has trained for a while.",
            hint="Expect to need more steps than with all of it.",
        ),
    ]


def feature_layer_findings(
    config: LogitRun, student: ModelFacts, teacher: ModelFacts
) -> list[Finding]:
    """Refuse hidden states of a model whose layers cannot be reached."""
    sides = (
        ("student", config.student.base_folder, student),
        ("teacher", config.teacher.folder, teacher),
    )
    return [
        out_of_reach(who, facts.model_type)
        for who, folder, facts in sides
        if folder and not has_layer_list(Path(folder))
    ]


def out_of_reach(who: str, model_type: str) -> Finding:
    """For pruning and hidden states; the training itself says the same in `prune.py`."""
    return Finding(
        level="error",
        code="layers_out_of_reach",
        message=f"The layers of the {who}, a model of type {model_type}, cannot be reached here.",
        hint="Train it with all its layers, and without hidden states.",
    )


def _adapter_findings(config: RunConfig) -> list[Finding]:
    """Named layers that the student has not, or that cannot learn."""
    if config.lora is None or not config.lora.target_modules:
        return []
    known = matrix_names(Path(config.student.base_folder))
    try:
        if known:
            output = [*output_names(known), *OUTPUT_LAYERS]
            refuse_layers(config.lora.target_modules, known, output)
    except InvalidInput as err:
        return [
            Finding(level="error", code="no_such_layer", message=err.user_message, hint=err.hint)
        ]
    return []
