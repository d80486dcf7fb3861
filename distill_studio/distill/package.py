"""A trained student as files to take away, with a card that says what it is. Torch-free."""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import new_id
from distill_studio.core.records import Run
from distill_studio.distill.card import PackageKind
from distill_studio.distill.model_names import short_id

ADAPTER_SETTINGS = "adapter_config.json"
_NAMED_BASE = re.compile(r"\A---\n(?:.*\n)*?base_model: '?([^'\n]+)")  # in a card's front matter
_NONE: Mapping[str, bytes] = {}
_FOLDERS: dict[PackageKind, str] = {"merged": "model", "adapter": "adapter"}


def pack(
    run_folder: Path,
    run: Run,
    kind: PackageKind,
    target: Path,
    card: str,
    beside: Mapping[str, bytes] = _NONE,
) -> Path:
    """Zip `model/` or `adapter/` of a run into the folder `target`; returns the file.

    Args:
        run_folder: Of the run.
        run: Its record.
        kind: Which of the two.
        target: Where the file goes.
        card: Its README.md; an adapter's settings name the base that it names.
        beside: What the card shows, by name.

    Raises:
        InvalidInput: The run trained full weights, so there is no adapter.
    """
    files = model_files(run_folder, run, kind)
    path = target / f"{run.name}-{kind}.zip"
    target.mkdir(parents=True, exist_ok=True)
    unfinished = target / f".{path.name}.{new_id()}.part"  # of this call alone
    stem = f"{run.name}-{kind}"
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            for name, file in files.items():
                if name == ADAPTER_SETTINGS:
                    archive.writestr(f"{stem}/{name}", public_adapter_settings(file, _base(card)))
                else:
                    archive.write(file, f"{stem}/{name}")
            texts: dict[str, str | bytes] = {"README.md": card, **beside}
            for name, content in texts.items():
                archive.writestr(f"{stem}/{name}", content)
            archive.writestr(f"{stem}/run.json", public_settings(run_folder))
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def model_files(run_folder: Path, run: Run, kind: PackageKind) -> dict[str, Path]:
    """The files of a student by their name in its folder, without its card.

    Raises:
        InvalidInput: The run trained full weights, so there is no adapter.
    """
    source = run_folder / _FOLDERS[kind]
    if not source.exists():
        raise InvalidInput(
            f"The run '{run.name}' trained the full weights: it has no adapter.",
            "Take the merged model.",
        )
    return {
        file.relative_to(source).as_posix(): file
        for file in sorted(source.rglob("*"))
        if file.is_file() and file.name != "README.md"
    }


def public_settings(run_folder: Path) -> bytes:
    """`run.json` as it may be published: folders of this machine by their names alone."""
    settings = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    return json.dumps(_without_paths(settings), indent=2, ensure_ascii=False).encode() + b"\n"


def public_adapter_settings(file: Path, base_model: str) -> bytes:
    """`adapter_config.json` that names the base by its id on the Hub, not by a folder.

    Args:
        file: The adapter's settings.
        base_model: Id on the Hub; empty: none, the folder's name stays.
    """
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings = _without_paths(settings)
    if base_model:
        settings["base_model_name_or_path"] = base_model
    return json.dumps(settings, indent=2, ensure_ascii=False).encode() + b"\n"


def _base(card: str) -> str:
    """The base's id on the Hub, where the card's front matter has one."""
    found = _NAMED_BASE.match(card.partition("\n---\n")[0])
    return found[1].strip() if found else ""


def _without_paths(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, dict):
        return {key: _without_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_paths(one) for one in value]
    return short_id(value) if isinstance(value, str) and value.startswith(("/", "~")) else value
