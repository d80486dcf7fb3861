"""What leaves this machine with a student."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_studio.core.records import Run
from distill_studio.distill.card import ModelFacts, model_card
from distill_studio.distill.config import RunConfig, TeacherConfig
from distill_studio.distill.package import pack


def test_a_package_holds_no_folder_of_this_machine(
    make_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    away = str(tmp_path / "teachers" / "big")
    config = make_config(
        "logit",
        teacher=TeacherConfig(folder=away, id="owner/big"),
        more_teachers=(TeacherConfig(folder=away, id=away),),
        cache_folder=str(tmp_path / "cache"),
    )
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "run.json").write_text(config.model_dump_json())
    run = Run(name="r", method="logit", snapshot_id="s", config=config.model_dump(mode="json"))
    beside = {"curves.svg": b"<svg/>"}
    made = pack(folder, run, "merged", tmp_path / "out", model_card(run, "merged"), beside)
    with zipfile.ZipFile(made) as archive:
        texts = {Path(n).name: archive.read(n).decode() for n in archive.namelist()}
    for name, text in texts.items():
        assert str(tmp_path) not in text, name
        assert config.student.base_folder not in text, name
    assert texts["curves.svg"] == "<svg/>"
    told = json.loads(texts["run.json"])
    assert (told["student"]["base_id"], told["data"]["name"]) == ("tiny", "snap")
    assert [told["teacher"]["id"], told["more_teachers"][0]["id"]] == ["owner/big", "big"]
    assert told["learning_rate"] == config.learning_rate
    assert json.loads((folder / "run.json").read_text())["teacher"]["folder"] == away  # as it was


def test_an_adapter_whose_base_is_its_own_names_no_other(tmp_path: Path) -> None:
    folder, here = tmp_path / "run", str(tmp_path / "runs" / "first" / "model")
    (folder / "adapter").mkdir(parents=True)
    settings = folder / "adapter" / "adapter_config.json"
    settings.write_text(json.dumps({"base_model_name_or_path": here}))
    (folder / "run.json").write_text("{}")
    student = {"base_id": "org/small", "keep_layers": 24}
    run = Run(name="r", method="sft", snapshot_id="s", config={"student": student})
    facts = ModelFacts(base_model="org/small", has_own_base=True)
    card = model_card(run, "adapter", facts)
    assert "base_model:" not in card
    assert "answers wrongly" in card
    with zipfile.ZipFile(pack(folder, run, "adapter", tmp_path / "out", card)) as archive:
        told = json.loads(archive.read("r-adapter/adapter_config.json"))
    assert told["base_model_name_or_path"] == "model"
    whole = model_card(run, "merged", facts)
    assert "base_model: org/small" in whole
    assert "answers wrongly" not in whole


@pytest.mark.parametrize("base", ["org/small", ""])
def test_an_adapter_names_its_base_as_its_card_does(base: str, tmp_path: Path) -> None:
    folder, here = tmp_path / "run", str(tmp_path / "cache" / "small")
    (folder / "adapter").mkdir(parents=True)
    settings = folder / "adapter" / "adapter_config.json"
    settings.write_text(json.dumps({"base_model_name_or_path": here, "r": 8}))
    (folder / "run.json").write_text("{}")
    run = Run(name="r", method="sft", snapshot_id="s", config={"student": {"base_id": here}})
    card = model_card(run, "adapter", ModelFacts(base_model=base))
    with zipfile.ZipFile(pack(folder, run, "adapter", tmp_path / "out", card)) as archive:
        texts = {Path(n).name: archive.read(n).decode() for n in archive.namelist()}
    named = json.loads(texts["adapter_config.json"])
    assert named == {"base_model_name_or_path": base or "small", "r": 8}
    assert [name for name, text in texts.items() if str(tmp_path) in text] == []
    assert json.loads(settings.read_text())["base_model_name_or_path"] == here  # as it was
