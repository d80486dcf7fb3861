"""What travels: all code that the other machine imports, what it installs, no folder of ours."""

import ast
import io
import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

import distill_studio
from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import (
    DataConfig,
    LogitRun,
    SftRun,
    StudentConfig,
    TeacherConfig,
    load_config,
)
from distill_studio.distill.pairing import check_pairing
from distill_studio.distill.signals import base as signals
from distill_studio.distill.trainers import teacher_signal
from distill_studio.remote import package, records, start
from distill_studio.services.remote_models import from_hub, packed_bytes
from tests.tiny_model import build_tiny_model, completions, write_snapshot

PACKAGE = Path(distill_studio.__file__).parent
OPTIONAL = {"spaces", "bitsandbytes", "liger_kernel", "flash_attn"}  # looked for, never needed
OTHER_TASKS = {"gguf", "sentence_transformers", "sklearn"}  # of modules that a training never calls


def folder(path: Path, **files: bytes) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_bytes(content)
    return path


def a_run(tmp_path: Path) -> LogitRun:
    snapshot = write_snapshot(tmp_path / "snapshots" / "s", completions(4), completions(2))
    student = folder(tmp_path / "home" / "student", config__json=b"{}", model__safetensors=b"w")
    commit = "a" * 40
    cached = tmp_path / "cache" / "models--big--teacher" / "snapshots" / commit
    teacher = folder(cached, config__json=b"{}", model__safetensors=b"w")
    return LogitRun(
        name="r",
        student=StudentConfig(base_folder=str(student), base_id=str(student)),
        data=DataConfig(folder=str(snapshot), name="s", format="prompt_completion"),
        teacher=TeacherConfig(folder=str(teacher), id="big/teacher"),
        lora=None,
        learning_rate=1e-4,
        device="cuda:1",
    )


def test_a_package_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    there = from_hub(run)
    files = package.pack(run, "ann/r", 2, there)
    assert "package/models/0/model.safetensors" in files
    assert not any(name.startswith("package/models/1") for name in files), "it is on the Hub"
    packed = files["package/run.json"]
    assert isinstance(packed, bytes)
    assert str(tmp_path) not in packed.decode()
    (tmp_path / "run.json").write_bytes(packed)
    config = load_config(tmp_path / "run.json")
    assert isinstance(config, LogitRun)
    assert (config.student.base_folder, config.data.folder) == ("models/0", "snapshot")
    assert config.teacher.folder == f"hub:big/teacher@{'a' * 40}"
    assert config.device == "auto"
    manifest = records.Manifest.model_validate_json(files["package/package.json"])
    assert (manifest.repo, manifest.attempt) == ("ann/r", 2)
    assert {f"package/{name}" for name in manifest.files} | {"package/package.json"} == set(files)


def test_of_a_models_folder_the_model_travels_alone(tmp_path: Path) -> None:
    model = folder(
        tmp_path / "m", config__json=b"{}", model__safetensors=b"w", notes__pdf=b"x" * 99
    )
    folder(model / "checkpoint-50", optimizer__pt=b"o", model__safetensors=b"w")
    folder(model / "private", diary__txt=b"me")
    folder(model / "additional_chat_templates", rag__jinja=b"t")
    (model / ".env").write_text("KEY=1")
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    names = {"config.json", "model.safetensors", "additional_chat_templates/rag.jinja"}
    assert set(package.model_files(model)) == names
    assert package.model_bytes(model) == 4
    (model / "model.safetensors").unlink()
    assert "pytorch_model.bin" in package.model_files(model)
    (model / "pytorch_model.bin").unlink()
    with pytest.raises(InvalidInput, match="no weights"):
        package.model_files(model)


def test_a_stored_signal_that_is_too_large_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = folder(tmp_path / "store", rows__bin=b"x" * 5000)
    monkeypatch.setattr("distill_studio.remote.package.stored_signals", lambda _: [store])
    monkeypatch.setattr("distill_studio.services.remote_models.MOST_PACKED_BYTES", 4000)
    with pytest.raises(InvalidInput, match="stored signal"):
        packed_bytes(a_run(tmp_path))


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0), (3.0, 1.0)])
def test_a_stored_signal_travels_under_the_name_that_the_trainer_gives_it(
    tmp_path: Path, weights: tuple[float, ...]
) -> None:
    models = [build_tiny_model(tmp_path / f"m{n}", layers=n + 2) for n in range(len(weights))]
    teachers = [
        TeacherConfig(folder=str(model), id=model.name, weight=weight)
        for model, weight in zip(models, weights, strict=True)
    ]
    fields = {
        "student": StudentConfig(base_folder=str(models[0]), base_id="tiny"),
        "teacher": teachers[0],
        "more_teachers": tuple(teachers[1:]),
        "signal": "cache",
        "cache_folder": str(tmp_path / "caches"),
    }
    run = a_run(tmp_path).model_copy(update=fields)
    chat = ChatTokenizer.load(models[0])
    setup = SimpleNamespace(chat=chat, folder=tmp_path)
    key, store = teacher_signal._key(setup, run, [], check_pairing(run))
    folder(store)
    (store / signals.KEY_FILE).write_text(key.model_dump_json())
    assert package.stored_signals(run) == [store]
    other = run.model_copy(update={"teacher": teachers[0].model_copy(update={"weight": 2.0})})
    assert package.stored_signals(other) == ([store] if len(weights) == 1 else [])


def test_the_same_code_makes_the_same_archive() -> None:
    assert package.code_archive() == package.code_archive()


def test_a_served_teacher_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    package.refuse_served(run)
    sft = SftRun.model_validate({
        name: getattr(run, name) for name in ("name", "student", "data", "lora", "learning_rate")
    })
    package.refuse_served(sft)
    server = {"name": "v", "kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    served = run.model_copy(update={"teacher": TeacherConfig(folder="", id="v", server=server)})
    with pytest.raises(InvalidInput, match="cannot reach"):
        package.refuse_served(served)


def test_what_does_not_arrive_as_packed_is_not_run(tmp_path: Path) -> None:
    files = package.pack(a_run(tmp_path), "ann/r", 1, {})
    there = tmp_path / "there"
    for name, content in files.items():
        place = there / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (there / "package" / "run.json").write_text("{}")
    program = there / "package" / records.START
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (3, "run.json did not arrive as it was packed.\n")
    assert not (there / "code").exists()
    assert json.loads((there / "package" / "package.json").read_text())["name"] == "r"
    assert start.digest(there / "nothing") == ""


def test_results_hold_what_a_training_leaves_and_no_more() -> None:
    mark = {"sha256": "0" * 64, "size_bytes": 1}
    for path in ("model/model-00001-of-00002.safetensors", "adapter/adapter_config.json"):
        assert records.Result(files={path: mark}).unfit() == ""
    for path in (
        "model/x.bin",
        "model/../run.json",
        "/model/a.json",
        "events.jsonl",
        "model//a.json",
    ):
        assert records.Result(files={path: mark}).unfit() == path


def test_all_that_is_imported_there_is_packed_or_installed() -> None:
    """From the worker, its trainers and the program there, along every import."""
    modules, foreign = _reached()
    with zipfile.ZipFile(io.BytesIO(package.code_archive())) as archive:
        packed = set(archive.namelist())
    assert {path.relative_to(PACKAGE.parent).as_posix() for path in modules} <= packed
    installed = _closure(package.REQUIRED)
    homes = packages_distributions()
    missing = {
        name
        for name in foreign - set(sys.stdlib_module_names) - OPTIONAL - OTHER_TASKS
        if not {_plain(one) for one in homes.get(name, [])} & installed
    }
    assert missing == set()


def _reached() -> tuple[set[Path], set[str]]:
    starts = [PACKAGE / "distill" / "worker.py", PACKAGE / "remote" / "machine.py"]
    waiting = [*starts, *(PACKAGE / "distill" / "trainers").glob("*.py")]
    modules: set[Path] = set()
    foreign: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in modules:
            continue
        modules.add(path)
        for name in _imports(path):
            if name.split(".")[0] != "distill_studio":
                foreign.add(name.split(".")[0])
                continue
            place = PACKAGE.parent.joinpath(*name.split("."))
            found = (place.with_suffix(".py"), place / "__init__.py")
            waiting += [one for one in found if one.is_file()]
    return modules, foreign


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
    return found


def _closure(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = _plain(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            wanted = [Requirement(one) for one in requires(name) or []]
        except PackageNotFoundError:
            continue
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate()]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
