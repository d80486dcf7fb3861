"""Every field of a run.json is told in its card, or stands in the list of those left out."""

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest

from distill_studio.core.records import Run
from distill_studio.core.records.base import Record
from distill_studio.distill.card import model_card
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    DpoRun,
    FeatureConfig,
    LoraConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.measures import _DEPENDS, NOT_MEASURED, kl_words, unlike
from distill_studio.distill.settings_text import LEFT_OUT, SETTINGS, setting_rows, settings_of

WHOLE = {"more_teachers"}  # told in one piece
SAMPLES: dict[str, Any] = {
    "student.base_id": "another-model",
    "data.name": "another-snapshot",
    "data.content_hash": "fedcba9876543210",
    "teacher.id": "another-teacher",
    "more_teachers": [{"folder": "/m/v", "id": "run:third", "weight": 0.25}],
    "lora.target_modules": ["o_proj"],
    "features.pairs": [[3, 4]],
    "device": "cuda:1",
}


def paths(kind: type[Record], before: str = "") -> set[str]:
    """Paths of all fields of a record, those of records in it one by one."""
    found = set()
    for name, field in kind.model_fields.items():
        path = f"{before}{name}"
        inner = _record(field.annotation)
        is_whole = path in WHOLE or path in LEFT_OUT
        found |= {path} if inner is None or is_whole else paths(inner, f"{path}.")
    return found


def _record(annotation: Any) -> type[Record] | None:
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [one for one in map(_record, get_args(annotation)) if one is not None]
        return inner[0] if inner else None
    is_record = isinstance(annotation, type) and issubclass(annotation, Record)
    return annotation if is_record else None


def config_of(method: str) -> RunConfig:
    """One in which every setting has a meaning."""
    fields: dict[str, Any] = {
        "name": "r",
        "student": StudentConfig(base_folder="/m/s", base_id="small", keep_layers=24),
        "data": DataConfig(
            folder="/d", name="snap", format="messages", content_hash="0123456789ab"
        ),
        "lora": LoraConfig(),
        "learning_rate": 1e-4,
    }
    if method in ("logit", "on_policy"):
        fields |= {
            "teacher": TeacherConfig(folder="/m/t", id="big"),
            "more_teachers": (TeacherConfig(folder="/m/u", id="other"),),
            "mixture": 0.3,
        }
    if method == "logit":
        fields |= {"signal": "cache", "features": FeatureConfig(pairs=((1, 2),))}
    if method == "dpo":
        fields |= {"loss": "robust", "label_smoothing": 0.1}
    return RUN_CONFIGS[method](**fields)


def card_of(config: dict[str, Any]) -> str:
    return model_card(
        Run(name="r", method=config["method"], snapshot_id="s", config=config), "merged"
    )


def other_value(path: str, kind: type[Record], value: Any) -> Any:
    """Another value than this one that the field could have."""
    if path in SAMPLES:
        return SAMPLES[path]
    *above, name = path.split(".")
    for part in above:
        inner = _record(kind.model_fields[part].annotation)
        assert inner is not None
        kind = inner
    annotation = kind.model_fields[name].annotation
    choices: list[Any] = []
    for one in (annotation, *get_args(annotation)):
        if get_origin(one) is Literal:
            choices += get_args(one)
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, str):
        return f"{value}x"
    return 3 if value is None else value * 2 + 1


def replaced(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    return {**config, name: replaced(config[name], rest, value) if rest else value}


def changes(method: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each setting of a method but its name, with a run.json before and after another value."""
    before, kind = config_of(method).model_dump(mode="json"), RUN_CONFIGS[method]
    for path in sorted((paths(kind) & set(SETTINGS)) - {"method"}):
        value: Any = before
        for part in path.split("."):
            value = value[part]
        yield path, before, replaced(before, path, other_value(path, kind, value))


def test_every_field_is_told_or_left_out_on_purpose() -> None:
    known = set().union(*(paths(kind) for kind in RUN_CONFIGS.values()))
    assert known - set(SETTINGS) - set(LEFT_OUT) == set()
    assert set(SETTINGS) & set(LEFT_OUT) == set()
    assert (set(SETTINGS) | set(LEFT_OUT)) - known == set()  # none that is gone


@pytest.mark.parametrize("method", list(RUN_CONFIGS))
def test_another_value_of_any_setting_makes_another_card(method: str) -> None:
    for path, before, after in changes(method):
        if path == "epochs":
            after["max_steps"] = None
        assert card_of(after) != card_of(before), path


def test_a_weight_of_nothing_is_told_and_what_has_no_meaning_is_not() -> None:
    config = config_of("logit").model_dump(mode="json")
    card = card_of(replaced(config, "alpha", 0.0))
    assert "| Alpha, weight of the cross-entropy | 0 |" in card
    assert "| Beta, weight of the divergence | 0.9 |" in card
    assert "| Temperature of the distillation | 1 |" in card
    online = settings_of(replaced(config, "signal", "online"))
    assert {"kept", "top_k"}.isdisjoint(online)
    plain = config_of("dpo").model_copy(update={"loss": "sigmoid"})
    assert isinstance(plain, DpoRun)
    assert "label_smoothing" not in settings_of(plain.model_dump(mode="json"))
    assert dict(setting_rows({"method": "sft", "lora": None}))["Weights"] == "all"


def test_a_stored_signal_is_not_called_by_the_name_of_the_exact_figure() -> None:
    config = config_of("logit").model_dump(mode="json")
    exact = kl_words(replaced(config, "signal", "online"))
    assert exact.label == "KL to the teacher"
    assert "Over the whole vocabulary" in exact.about
    assert kl_words(config).label == "KL to the teacher, lower bound"
    assert "64 likeliest ids" in kl_words(config).about
    draws = kl_words(replaced(config, "kept", "draws"))
    assert draws.label == "KL to the teacher, estimated"
    assert (
        "At temperature 2, times its square" in kl_words(replaced(config, "temperature", 2)).about
    )
    assert kl_words({"divergence": "jsd"}).label == "JSD to the teacher"
    across = kl_words({"divergence": "forward_kl", "across_tokenizers": "uld"})
    assert across.label == "ULD to the teacher"
    assert "sorted" in across.about
    own = kl_words(config_of("on_policy").model_dump(mode="json"))
    assert own.label == "reverse KL to the teacher"
    assert "the student's own answers" in own.about


def test_only_like_measures_are_compared() -> None:
    config = config_of("logit").model_dump(mode="json")
    assert unlike("kl", [config, replaced(config, "learning_rate", 0.5)]) == []
    older = {name: value for name, value in config.items() if name != "across_tokenizers"}
    assert unlike("kl", [config, older]) == []
    assert unlike("kl", [config, replaced(config, "across_tokenizers", "uld")]) == [
        "Divergence",
        "Across tokenizers",
    ]
    assert unlike("kl", [config, replaced(config, "alpha", 0.5)]) == []
    assert unlike("loss", [config, replaced(config, "alpha", 0.5)]) == ["Alpha"]
    assert unlike("ce", [config, replaced(config, "temperature", 2.0)]) == []
    assert unlike("kl", [config, replaced(config, "temperature", 2.0)]) == [
        "Temperature of the distillation"
    ]
    assert unlike("ce", [config, replaced(config, "data.content_hash", "x")]) == [
        "Hash of the snapshot"
    ]


def test_every_setting_is_of_a_figure_or_named_as_of_none() -> None:
    told = set()
    for method in RUN_CONFIGS:
        for path, *configs in changes(method):
            if any(unlike(figure, configs) for figure in _DEPENDS):
                told.add(path)
    assert told & NOT_MEASURED == set()
    assert told | NOT_MEASURED == set(SETTINGS) - {"method"}


def test_a_loss_of_kto_depends_on_its_batches() -> None:
    config = config_of("kto").model_dump(mode="json")
    assert unlike("loss", [config, replaced(config, "batch_size", 8)]) == ["Rows in a batch"]
    assert unlike("margin", [config, replaced(config, "batch_size", 8)]) == []
    sft = config_of("sft").model_dump(mode="json")
    assert unlike("loss", [sft, replaced(sft, "batch_size", 8)]) == []
