"""A user's own tasks: YAML files of lm-evaluation-harness with their rows beside them.

They are data here, no programs: what would import Python, read elsewhere, or run code is refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from distill_studio.core.errors import InvalidInput

DATA_ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
TASK_ENDINGS = (".yaml", ".yml")
_BUILDERS = {"json", "csv", "parquet"}
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
_TEXTS = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix")
_ALLOWED = {
    "task", "task_alias", "tag", "dataset_path", "dataset_name", "dataset_kwargs",
    "training_split", "validation_split", "test_split", "fewshot_split", "fewshot_config",
    "output_type", *_TEXTS, "target_delimiter", "fewshot_delimiter", "num_fewshot",
    "generation_kwargs", "metric_list", "filter_list", "repeats", "metadata",
    "should_decontaminate", "doc_to_decontamination_query",
}  # fmt: skip


def read_task(path: Path, data: set[str]) -> str:
    """The name of a file's task.

    Args:
        path: A YAML file.
        data: Names of the data files that lie beside it, or come with it.

    Raises:
        InvalidInput: It is no task, or would do more than ask questions; says what it has.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        where = " ".join(str(err).split())[:200]
        raise InvalidInput(
            f"{path.name} cannot be read: {where}",
            "Tags such as !function are not read: a task's Python would run in this app.",
        ) from err
    if not isinstance(found, dict) or not isinstance(found.get("task"), str):
        raise InvalidInput(f"{path.name} names no task.", "It needs a line such as `task: mine`.")
    name: str = found["task"]
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{path.name}: '{name[:80]}' cannot name a task.",
            "Use letters, digits, dot, - and _, beginning with a letter or digit.",
        )
    unknown = sorted(set(map(str, found)) - _ALLOWED)
    if unknown:
        raise InvalidInput(
            f"{path.name} has the key '{unknown[0]}', which is not taken here.",
            "A task file may say where its rows lie, how they are asked and how they are scored.",
        )
    _check_data(path.name, found, data)
    return name


def _check_data(file: str, task: Mapping[str, Any], data: set[str]) -> None:
    """Rows come from files beside the task, or from a data set on the Hub."""
    source, options = str(task.get("dataset_path", "")), task.get("dataset_kwargs") or {}
    if source not in _BUILDERS:
        if not _HUB_ID.fullmatch(source) or options:
            raise InvalidInput(
                f"{file}: dataset_path must be json, csv, parquet, or owner/name on the Hub"
                " (then without dataset_kwargs).",
                "For rows of your own: dataset_path: json, and their file under data_files.",
            )
        return
    if not isinstance(options, dict) or set(options) != {"data_files"}:
        raise InvalidInput(f"{file}: dataset_kwargs must hold data_files, and nothing else.")
    named = options["data_files"]
    files = list(named.values()) if isinstance(named, dict) else [named]
    for one in files:
        if not isinstance(one, str) or one not in data:
            raise InvalidInput(
                f"{file} reads '{str(one)[:80]}', which is not among the files.",
                "Add that file together with it; names without folders.",
            )
