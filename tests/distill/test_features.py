"""Feature distillation: maps of layers, and real steps of the worker on tiny models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill import worker
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import FeatureConfig, RunConfig, parse_config
from distill_studio.distill.data import encode_sft, iter_rows
from distill_studio.distill.layer_pairs import chosen_pairs, even_pairs, parse_pairs
from distill_studio.distill.preflight import check
from distill_studio.distill.presets import build_config
from distill_studio.distill.spec import TrainSpec
from tests.distill.run_worker import kinds, run_well
from tests.tiny_model import build_tiny_model

MakeRun = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("keep_signals")


@pytest.fixture(scope="module")
def wide_teacher(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Six layers, 48 wide, behind the tokenizer of the tiny model (32 wide)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = build_tiny_model(tmp_path_factory.mktemp("wide") / "model", layers=6)
    config = AutoConfig.from_pretrained(folder)
    config.hidden_size, config.head_dim = 48, 12
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return {"folder": str(folder), "id": "wide"}


def pruned(tiny_model: Path) -> dict[str, Any]:
    return {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2}


# -- layers -------------------------------------------------------------------------------


def test_the_even_map_spreads_over_both_depths() -> None:
    assert even_pairs(24, 30) == ((6, 8), (12, 15), (18, 23), (24, 30))
    assert even_pairs(15, 30) == ((4, 8), (8, 15), (11, 23), (15, 30))
    assert even_pairs(2, 3) == ((1, 2), (2, 3))
    for ours in range(1, 40):
        for theirs in range(1, 40):
            pairs = even_pairs(ours, theirs)
            assert len(set(pairs)) == len(pairs) == min(4, ours, theirs)
            assert len({s for s, _ in pairs}) == len({t for _, t in pairs}) == len(pairs)
            assert pairs[-1] == (ours, theirs)
            assert pairs[0] >= (1, 1)


def test_chosen_layers_are_read_and_checked() -> None:
    assert parse_pairs(" 2:3,1 : 2 ;") == ((2, 3), (1, 2))
    assert chosen_pairs(((2, 3), (1, 2)), 2, 3) == ((1, 2), (2, 3))
    assert chosen_pairs((), 2, 3) == even_pairs(2, 3)
    for text in ("1", "1:2:3", "a:b", "-1:2", "1.5:2"):
        with pytest.raises(InvalidInput, match="not a pair"):
            parse_pairs(text)
    with pytest.raises(InvalidInput, match="student has no layer 3"):
        chosen_pairs(((3, 3),), 2, 3)
    with pytest.raises(InvalidInput, match="teacher has no layer 0"):
        chosen_pairs(((1, 0),), 2, 3)
    with pytest.raises(InvalidInput, match="Layer 1 of the student"):
        chosen_pairs(((1, 1), (1, 2)), 2, 3)


# -- runs ---------------------------------------------------------------------------------


def reference_distance(folder: Path, student: Path, teacher: Path, pairs: Any) -> float:
    """1 - cos per held-out token, mean over pairs, from `output_hidden_states`, row by row.

    Only for layers before the last, whose hidden state the library hands out before the norm.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = parse_config((folder / "run.json").read_bytes())
    models = [
        AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32) for p in (student, teacher)
    ]
    chat = ChatTokenizer.load(student)
    total = count = 0.0
    for row in iter_rows(Path(config.data.folder), "validation"):
        encoded = encode_sft(chat, row)
        ids = torch.tensor([encoded.input_ids])
        with torch.no_grad():
            ours, theirs = (
                m(input_ids=ids, output_hidden_states=True).hidden_states for m in models
            )
        for t, label in enumerate(encoded.labels[1:]):
            if label != -100:
                for s, k in pairs:
                    a, b = ours[s][0, t].double(), theirs[k][0, t].double()
                    total += (1 - float(a @ b / a.norm() / b.norm())) / len(pairs)
                count += 1
    return total / count


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_hidden_states_come_closer(
    make_run: MakeRun, tiny_model: Path, loss: str, lora: bool
) -> None:
    options: dict[str, Any] = {} if lora else {"lora": None, "learning_rate": 3e-3}
    features = {"loss": loss, "weight": 2.0}
    folder = make_run(
        "logit",
        student=pruned(tiny_model),
        features=features,
        max_steps=12,
        eval_every=6,
        **options,
    )
    events = run_well(folder)
    evals, steps = kinds(events, "eval"), kinds(events, "step")
    assert evals[-1].features < 0.9 * evals[0].features
    assert evals[-1].kl < evals[0].kl
    for e in evals:  # held-out loss: the logits alone
        assert e.loss == pytest.approx(0.1 * e.ce + 0.9 * e.kl, rel=2e-3)
    for e in steps:  # brought to the size of the divergence, times the weight
        assert e.loss == pytest.approx(0.1 * e.ce + (1 + 2.0) * 0.9 * e.kl, rel=5e-3)
        assert e.features > 0
    assert events[-1].metrics["features_after"] == evals[-1].features
    assert "1:2, 2:3" in " ".join(n.message for n in kinds(events, "note"))


def test_the_measured_distance_is_that_of_a_plain_loop(make_run: MakeRun, tiny_model: Path) -> None:
    pairs = ((1, 2), (2, 1))
    folder = make_run("logit", features={"pairs": pairs}, max_steps=2, samples=0)
    first = kinds(run_well(folder), "eval")[0]
    expected = reference_distance(folder, tiny_model, tiny_model, pairs)
    assert first.features == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("lora", [True, False])
def test_maps_to_a_wider_teacher_train_resume_and_stay_out_of_the_student(
    make_run: MakeRun, tiny_model: Path, wide_teacher: dict[str, str], lora: bool
) -> None:
    from safetensors.torch import load_file

    options: dict[str, Any] = {"lora": {"r": 4, "alpha": 8} if lora else None}
    common = options | {
        "teacher": wide_teacher,
        "features": {"loss": "mse"},
        "samples": 0,
        "scheduler": "constant",
        "warmup_ratio": 0.0,
    }
    whole = run_well(make_run("logit", "whole", max_steps=6, **common))
    folder = make_run("logit", "parts", max_steps=4, **common)
    shutil.copytree(folder, folder.with_name("copy"))
    copied = folder.with_name("copy")
    kept: dict[str, Any] = {}

    def keep_checkpoints(path: Any, **_: Any) -> None:
        if Path(path).exists() and not kept:
            shutil.copytree(path, copied / "checkpoints")
            kept["maps"] = load_file(copied / "checkpoints/checkpoint-4/feature_maps.safetensors")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.shutil, "rmtree", keep_checkpoints)
        run_well(folder)
    assert len(kept["maps"]) == 3
    config = json.loads((copied / "run.json").read_text()) | {"max_steps": 6}
    (copied / "run.json").write_text(json.dumps(config))
    resumed = run_well(copied)
    assert [e.step for e in kinds(resumed, "step")] == [5, 6]
    for mine, theirs in zip(kinds(resumed, "step"), kinds(whole, "step")[4:], strict=True):
        assert mine.features == pytest.approx(theirs.features, rel=1e-4)
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-4)
    names = load_file(copied / "model" / "model.safetensors").keys()
    assert not [name for name in names if "feature" in name]


def test_without_hidden_states_nothing_of_them_is_logged(
    make_run: MakeRun, tiny_model: Path
) -> None:
    events = run_well(make_run("logit", student=pruned(tiny_model), max_steps=2, samples=0))
    assert all(e.features is None for e in [*kinds(events, "eval"), *kinds(events, "step")])


# -- choosing -----------------------------------------------------------------------------


def findings(config: RunConfig, code: str) -> list[Any]:
    return [f for f in check(config).findings if f.code == code]


def test_preflight_shows_the_map_and_refuses_what_cannot_be(
    make_config: Callable[..., RunConfig], tiny_model: Path, wide_teacher: dict[str, str]
) -> None:
    shown = findings(make_config("logit", student=pruned(tiny_model), features={}), "layers")[0]
    assert "1:2, 2:3" in shown.message
    assert "both are 32 wide" in shown.message
    wide = findings(make_config("logit", teacher=wide_teacher, features={}), "layers")[0]
    assert "1:2, 2:4, 3:6" in wide.message
    assert "3 linear maps from 32 to 48" in wide.message
    bad = findings(make_config("logit", features={"pairs": ((9, 1),)}), "layers")[0]
    assert bad.level == "error"
    stored = findings(make_config("logit", signal="cache", features={}), "teacher")[0]
    assert "no hidden states" in stored.message


def test_a_spec_asks_for_hidden_states(make_config: Callable[..., RunConfig]) -> None:
    made = make_config("logit")

    def features(**fields: Any) -> FeatureConfig | None:
        spec = TrainSpec(snapshot="s", method="logit", **fields)
        config = build_config(spec, "r", made.student, made.data, teachers=[made.teacher])
        return config.features

    assert features() is None
    assert features(feature_weight=0.0, feature_layers="1:1") is None
    assert features(feature_weight=0.5) == FeatureConfig(weight=0.5)
    chosen = features(feature_layers="1:2", feature_loss="mse")
    assert chosen == FeatureConfig(loss="mse", pairs=((1, 2),))
    with pytest.raises(ValueError, match="feature_weight belongs to logit"):
        TrainSpec(snapshot="s", feature_weight=1.0)
