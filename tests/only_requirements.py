"""A Python in which only requirements.txt is installed: other distributions cannot be imported.

`environment(folder)` gives the variables that make a child such a Python: a sitecustomize of ours
hides the top-level modules that belong to no required distribution, test tools and the two starter
models among them.
"""

import json
import os
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
_HIDE = """
import importlib.machinery

_hidden = set({hidden})
_find = importlib.machinery.PathFinder.find_spec


def _find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in _hidden else _find(name, path, target)


importlib.machinery.PathFinder.find_spec = staticmethod(_find_spec)
"""


def required(requirements: Path) -> set[str]:
    """The distributions that pip installs for a requirements file, by name."""
    found: dict[str, set[str]] = {}

    def visit(requirement: Requirement) -> None:
        name = _canonical(requirement.name)
        extras = {"", *requirement.extras}
        if name in found and extras <= found[name]:
            return
        found.setdefault(name, set()).update(extras)
        try:
            needs = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            found.pop(name)
            return
        for need in map(Requirement, needs):
            marker = need.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in found[name]):
                visit(need)

    for line in requirements.read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            visit(Requirement(text))
    return set(found)


def hidden(requirements: Path) -> list[str]:
    """Top-level modules that are installed here and would not be by that file."""
    kept = required(requirements)
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if not kept & {_canonical(owner) for owner in owners}
    )


def environment(folder: Path, requirements: Path = ROOT / "requirements.txt") -> dict[str, str]:
    """Variables of such a Python; `folder` holds its sitecustomize."""
    folder.mkdir(parents=True, exist_ok=True)
    names = json.dumps(hidden(requirements))
    (folder / "sitecustomize.py").write_text(_HIDE.format(hidden=names), encoding="utf-8")
    return {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
