"""What leaves this machine with a student."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from distill_studio.core.records import Run
from distill_studio.distill.card import model_card
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
    made = pack(folder, run, "merged", tmp_path / "out", model_card(run, "merged"))
    with zipfile.ZipFile(made) as archive:
        texts = {Path(n).name: archive.read(n).decode() for n in archive.namelist()}
    for name, text in texts.items():
        assert str(tmp_path) not in text, name
        assert config.student.base_folder not in text, name
    told = json.loads(texts["run.json"])
    assert (told["student"]["base_id"], told["data"]["name"]) == ("tiny", "snap")
    assert [told["teacher"]["id"], told["more_teachers"][0]["id"]] == ["owner/big", "big"]
    assert told["learning_rate"] == config.learning_rate
    assert json.loads((folder / "run.json").read_text())["teacher"]["folder"] == away  # as it was
