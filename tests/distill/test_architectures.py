"""Students of many architectures: pre-flight, pruning, adapters, training, save and load again.

The fast part looks at the structure of each; the slow part trains each in four ways.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill import worker
from distill_studio.distill.config import LoraConfig, RunConfig, StudentConfig, TeacherConfig
from distill_studio.distill.events import EVENTS_FILE, SilentWriter, read_events
from distill_studio.distill.lora import peft_config
from distill_studio.distill.preflight import check
from distill_studio.distill.student import load_model, student_folder
from tests.tiny_architectures import ARCHITECTURES, LINEAR, OUT_OF_REACH, build

MakeConfig = Callable[..., RunConfig]
MakeRun = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("keep_signals")
EACH = pytest.mark.parametrize("name", ARCHITECTURES)
REACHED = pytest.mark.parametrize("name", [n for n in ARCHITECTURES if n not in OUT_OF_REACH])


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = build(tmp_path_factory.mktemp("architectures") / name, name)
        return made[name]

    return of


def student(folder: Path, keep: int | None = None) -> StudentConfig:
    return StudentConfig(base_folder=str(folder), base_id="tiny", keep_layers=keep)


def errors(config: RunConfig) -> list[str]:
    return [f.code for f in check(config).findings if f.level == "error"]


def ids(count: int = 24) -> Any:
    import torch

    return torch.arange(3, 3 + count)[None]


def logits(folder: Path) -> Any:
    import torch

    with torch.no_grad():
        return load_model(folder, torch.float32, "cpu").eval()(input_ids=ids()).logits


@EACH
def test_all_linear_layers_but_the_last_get_an_adapter(
    folder_of: Callable[[str], Path], make_config: MakeConfig, name: str
) -> None:
    import peft
    import torch

    folder = folder_of(name)
    lora = LoraConfig(r=2, alpha=4)
    assert errors(make_config(student=student(folder), lora=lora)) == []
    model = load_model(folder, torch.float32, "cpu")
    adapted = peft.get_peft_model(model, peft_config(lora, model))
    covered = [
        n for n, part in adapted.named_modules() if isinstance(part, peft.tuners.lora.Linear)
    ]
    assert len(covered) == 3 * LINEAR[name]
    assert not hasattr(model.get_output_embeddings(), "base_layer")


def test_named_layers_are_checked_before_and_in_the_training(
    folder_of: Callable[[str], Path], make_config: MakeConfig
) -> None:
    import torch

    folder = folder_of("phi3")
    named = LoraConfig(r=2, alpha=4, target_modules=("qkv_proj", "embed_tokens"))
    assert errors(make_config(student=student(folder), lora=named)) == []
    last = LoraConfig(r=2, alpha=4, target_modules=("qkv_proj", "lm_head"))
    (finding,) = check(make_config(student=student(folder), lora=last)).findings[:1]
    assert finding.message == "lm_head cannot get an adapter: that is the output layer."
    wrong = LoraConfig(r=2, alpha=4, target_modules=("q_proj", "o_proj", "up_proj"))
    report = check(make_config(student=student(folder), lora=wrong))
    (finding,) = [f for f in report.findings if f.level == "error"]
    model = load_model(folder, torch.float32, "cpu")
    with pytest.raises(InvalidInput) as caught:
        peft_config(wrong, model)
    with pytest.raises(InvalidInput, match="lm_head cannot get an adapter"):
        peft_config(last, model)
    assert set(peft_config(named, model).target_modules) == {"qkv_proj", "embed_tokens"}
    for message, hint in (
        (finding.message, finding.hint),
        (caught.value.user_message, caught.value.hint),
    ):
        assert message == "The student has no linear layer named q_proj, up_proj."
        assert "gate_up_proj" in hint
        assert "qkv_proj" in hint
        assert "embed" not in hint


@REACHED
def test_a_pruned_student_is_the_same_when_it_is_loaded_again(
    folder_of: Callable[[str], Path], make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    import torch

    from distill_studio.distill.prune import keep_layers

    folder = folder_of(name)
    config = make_config(student=student(folder, 2), max_length=32)
    assert errors(config) == []
    pruned = student_folder(config, tmp_path, "cpu", torch.float32, SilentWriter())
    assert load_model(pruned, torch.float32, "cpu").config.num_hidden_layers == 2
    for kept in ([1, 2], [0, 2]):
        model = load_model(folder, torch.float32, "cpu").eval()
        keep_layers(model, kept)
        with torch.no_grad():
            said = model(input_ids=ids()).logits
        again = tmp_path / f"{name}-{kept[0]}"
        model.save_pretrained(again)
        assert torch.allclose(logits(again), said, atol=1e-5), kept


def test_an_architecture_that_pruning_would_rewire_is_refused(
    folder_of: Callable[[str], Path],
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if nothing were known of the layers that have no positions."""
    import torch

    from distill_studio.distill import prune

    known = prune.config_of_kept

    def unknowing(fields: Any, kept: Any, of: int) -> dict[str, Any]:
        return {k: v for k, v in known(fields, kept, of).items() if k != "no_rope_layers"}

    monkeypatch.setattr(prune, "config_of_kept", unknowing)
    monkeypatch.setattr(prune, "layers_to_keep", lambda *_: [1, 2])
    config = make_config(student=student(folder_of("smollm3"), 2))
    with pytest.raises(InvalidInput, match="type smollm3 set their layers up by their place"):
        student_folder(config, tmp_path, "cpu", torch.float32, SilentWriter())
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_layers_out_of_reach_are_refused_before_the_start(
    folder_of: Callable[[str], Path], make_config: MakeConfig, tiny_model: Path, name: str
) -> None:
    folder = folder_of(name)
    for keep in (2, 3):  # all three, too: which ones matter is measured first
        assert errors(make_config(student=student(folder, keep))) == ["layers_out_of_reach"]
    assert errors(make_config(student=student(folder, 9))) == ["too_many_layers"]
    following = make_config(
        "logit",
        student=student(tiny_model),
        teacher=TeacherConfig(folder=str(folder), id="t"),
        features={"weight": 1.0},
    )
    (finding,) = [f for f in check(following).findings if f.level == "error"]
    assert finding.code == "layers_out_of_reach"
    assert f"The layers of the teacher, a model of type {name}" in finding.message


def test_two_updates_of_a_model_that_names_its_layers_otherwise(
    folder_of: Callable[[str], Path], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains(folder_of("falcon"), make_run, monkeypatch, "sft", LoraConfig(r=2, alpha=4))


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("method", ["sft", "logit"])
@pytest.mark.parametrize("weights", ["lora", "full"])
def test_two_updates(
    folder_of: Callable[[str], Path],
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
    weights: str,
) -> None:
    lora = LoraConfig(r=2, alpha=4) if weights == "lora" else None
    trains(folder_of(name), make_run, monkeypatch, method, lora)


def trains(
    folder: Path,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    lora: LoraConfig | None,
) -> None:
    """Two updates change the student, and what is saved says what was trained."""
    import torch

    fields: dict[str, Any] = {"student": student(folder), "lora": lora, "samples": 0}
    if method == "logit":
        fields |= {"teacher": TeacherConfig(folder=str(folder), id="t"), "alpha": 1.0}
    run = make_run(method, max_steps=2, eval_every=2, batch_size=2, eval_rows=2, **fields)
    said: list[Any] = []
    save = worker.save_student

    def watched(setup: Any, trainer: Any, *args: Any) -> None:
        with torch.no_grad():
            said.append(trainer.model.eval()(input_ids=ids()).logits.clone())
        save(setup, trainer, *args)

    monkeypatch.setattr(worker, "save_student", watched)
    assert worker.main([str(run / "run.json")]) == 0
    events, _ = read_events(run / EVENTS_FILE)
    assert [e.step for e in events if e.kind == "step"] == [1, 2]
    trained = logits(run / "model")
    assert torch.allclose(trained, said[0], atol=1e-4)
    assert not torch.allclose(trained, logits(folder), atol=1e-3)
