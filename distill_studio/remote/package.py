"""Packs a run for another machine: `pack(...)` gives the files by their path in the repository.

The package holds the run's settings, the frozen snapshot, models that the Hub does not have, stored
teacher signals that fit, and the app's own code: no release of it has to exist anywhere.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import distill_studio
from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import LogitRun, RunConfig, TeacherConfig, TeacherRun
from distill_studio.distill.model_names import short_id
from distill_studio.distill.pairing import check_pairing
from distill_studio.distill.signals import base as signals
from distill_studio.remote import records
from distill_studio.remote.start import digest

ROOMS = ("core", "hub", "distill", "teachers", "remote")  # of the code: what the worker imports
REQUIRED = (
    *("accelerate", "datasets", "filelock", "httpx2", "huggingface_hub", "json-repair", "numpy"),
    *("peft", "psutil", "pyarrow", "pydantic", "pydantic-settings", "PyYAML", "safetensors"),
    *("tenacity", "torch", "transformers", "trl", "uuid-utils", "openai", "rapidfuzz"),
)
_ROOT = Path(distill_studio.__file__).resolve().parents[1]
_SNAPSHOT, _MODELS, _CACHE = "snapshot", "models", "cache"
_OF_MODELS = (".safetensors", ".json", ".jinja", ".model", ".txt")
_TEMPLATES = "additional_chat_templates"
_DATE = (2020, 1, 1, 0, 0, 0)  # of all files in the archive: the same code, the same hash


def models_of(config: RunConfig) -> dict[str, str]:
    """Folder -> what a person called the model, of all that a run reads."""
    found = {config.student.base_folder: config.student.base_id}
    if isinstance(config, TeacherRun):
        found |= {teacher.folder: teacher.id for teacher in config.teachers if teacher.folder}
    return found


def refuse_served(config: RunConfig) -> None:
    """Refuse a teacher that another machine cannot ask.

    Raises:
        InvalidInput: It answers behind a server; says the way out.
    """
    if isinstance(config, TeacherRun) and any(one.server for one in config.teachers):
        raise InvalidInput(
            "The teacher answers behind a server of yours, which another machine cannot reach.",
            "Choose the same model by its id on the Hub or its folder as the teacher, or train"
            " here.",
        )


def stored_signals(config: RunConfig) -> list[Path]:
    """Folders of stored signals that this run's teachers said: they travel along.

    Raises:
        InvalidInput: Several teachers, and one that does not fit the student.
    """
    if not isinstance(config, LogitRun) or config.signal != "cache" or not config.cache_folder:
        return []
    if len(config.teachers) == 1:
        wanted = signals.teacher_fingerprint(config.teacher)
    else:  # named as the trainer names it: by those that fit, with a sum of weights of 1
        pairing = check_pairing(config)
        prints = [signals.teacher_fingerprint(one) for one in pairing.teachers]
        wanted = signals.ensemble_fingerprint(prints, pairing.weights)
    found = []
    for file in sorted(Path(config.cache_folder).glob(f"*/{signals.KEY_FILE}")):
        try:
            key = signals.SignalKey.model_validate_json(file.read_bytes())
        except ValueError:
            continue  # a write cut short by a full disk
        is_alike = (key.teacher, key.kind, key.source) == (wanted, config.kept, "forward")
        if is_alike and config.temperature in key.temperatures:
            found.append(file.parent)
    return found


def pack(config: RunConfig, repo: str, attempt: int, from_hub: Mapping[str, str]) -> dict[str, Any]:
    """The files of a package: path in the repository -> a file, or its content.

    Args:
        config: The run, with folders of this machine.
        repo: The repository that the result goes to.
        attempt: Number of this start.
        from_hub: Folder -> `owner/name@commit` of models that are not packed.
    """
    files: dict[str, Path | bytes] = {}
    places = {}
    for number, folder in enumerate(models_of(config)):
        if folder in from_hub:
            places[folder] = f"{records.HUB_PREFIX}{from_hub[folder]}"
            continue
        places[folder] = f"{_MODELS}/{number}"
        files |= {f"{places[folder]}/{k}": v for k, v in model_files(Path(folder)).items()}
    files |= _snapshot(Path(config.data.folder))
    for store in stored_signals(config):
        files |= _below(store, f"{_CACHE}/{store.name}")
    files[records.RUN] = moved(config, places).model_dump_json(indent=2).encode()
    files[records.CODE] = code_archive()
    files[records.REQUIREMENTS] = requirements(config).encode()
    files[records.START] = (Path(__file__).parent / records.START).read_bytes()
    manifest = records.Manifest(
        name=config.name,
        repo=repo,
        attempt=attempt,
        files={name: _mark(content) for name, content in files.items()},
    )
    files[records.MANIFEST] = manifest.model_dump_json(indent=1).encode()
    return {f"{records.PACKAGE}/{name}": content for name, content in files.items()}


def moved(config: RunConfig, places: Mapping[str, str]) -> RunConfig:
    """The run with places of the package for folders of this machine, which it does not name.

    Args:
        config: The run.
        places: Folder -> path below package/, or `hub:owner/name@commit`.
    """

    def teacher(one: TeacherConfig) -> TeacherConfig:
        changed = {"folder": places[one.folder], "id": short_id(one.id)}
        return one.model_copy(update=changed)

    student = {
        "base_folder": places[config.student.base_folder],
        "base_id": short_id(config.student.base_id),
    }
    fields: dict[str, Any] = {
        "student": config.student.model_copy(update=student),
        "data": config.data.model_copy(update={"folder": _SNAPSHOT}),
        "device": "auto",
    }
    if isinstance(config, TeacherRun):
        fields["teacher"] = teacher(config.teacher)
        fields["more_teachers"] = tuple(teacher(one) for one in config.more_teachers)
    if isinstance(config, LogitRun):
        fields["cache_folder"] = _CACHE
    return config.model_copy(update=fields)


def requirements(config: RunConfig) -> str:
    """What the other machine installs: the versions that this one has."""
    names = [*REQUIRED, *(["bitsandbytes"] if config.quantise == "nf4" else [])]
    return "".join(f"{_pinned(name)}\n" for name in names)


def code_archive() -> bytes:
    """The app's code that trains, as a ZIP that is the same for the same code."""
    package = Path(distill_studio.__file__).parent
    wanted = [package / "__init__.py", *(_ROOT / "assets" / "accelerate").glob("*.yaml")]
    for room in ROOMS:
        wanted += (package / room).rglob("*.py")
    wanted += [_ROOT / "assets" / name for name in ("prices.json", "licences.json")]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(wanted):
            entry = zipfile.ZipInfo(path.relative_to(_ROOT).as_posix(), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return made.getvalue()


def model_files(folder: Path) -> dict[str, Path]:
    """What of a model's folder is the model, by its path there: whatever else lies there stays.

    Raises:
        InvalidInput: It has no weights that may travel.
    """
    found = [path for path in sorted(folder.iterdir()) if path.name.endswith(_OF_MODELS)]
    found += sorted((folder / _TEMPLATES).glob("*.jinja"))
    if not any(path.name.endswith(".safetensors") for path in found):
        found += sorted(folder.glob("pytorch_model*.bin"))
    files = {
        path.relative_to(folder).as_posix(): path
        for path in found
        if path.is_file() and not path.name.startswith(".")
    }
    if not any(name.endswith((".safetensors", ".bin")) for name in files):
        raise InvalidInput(
            f"There are no weights in {folder}.", "Choose a folder of a transformers model."
        )
    return files


def size_bytes(files: Mapping[str, Path | bytes]) -> int:
    """Of all files."""
    return sum(len(x) if isinstance(x, bytes) else x.stat().st_size for x in files.values())


def model_bytes(folder: Path) -> int:
    """What a model would take in a package."""
    return size_bytes(model_files(folder))


def folder_bytes(folder: Path) -> int:
    """What a folder takes."""
    return sum(path.stat().st_size for path in _below(folder, "").values())


def _pinned(name: str) -> str:
    try:
        return f"{name}=={version(name).partition('+')[0]}"  # +cpu is a build of this machine
    except PackageNotFoundError:
        return name


def _below(folder: Path, name: str) -> dict[str, Path]:
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }


def _snapshot(folder: Path) -> dict[str, Path]:
    names = ("train.parquet", "validation.parquet", "manifest.json")
    return {f"{_SNAPSHOT}/{n}": folder / n for n in names if (folder / n).exists()}


def _mark(content: Path | bytes) -> records.FileMark:
    if isinstance(content, Path):
        return records.FileMark(sha256=digest(content), size_bytes=content.stat().st_size)
    return records.FileMark(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
