"""The layers of the package: imports point down, vendors stay in their rooms, start-up is light."""

import ast
import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from distill_studio.services import operations

PACKAGE = Path(__file__).parents[1] / "distill_studio"
STAGES = {"seeds", "generate", "curate", "review", "prefer", "freeze", "distill", "evaluate"}
BELOW_SERVICES = {
    "core",
    "store",
    "teachers",
    "sandbox",
    "verify",
    "judge",
    "agreement",
    "backup",
    "hub",
    "remote",
} | STAGES

# Room -> the rooms of this package that it may import, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "store": {"core"},
    "teachers": {"core"},
    "sandbox": {"core"},
    "verify": {"core", "sandbox"},
    "judge": {"core"},
    "agreement": {"core"},
    "hub": {"core"},
    "backup": {"core"},
    "remote": {"core", "hub", "distill"},
    **{stage: {"core"} for stage in STAGES},
    "services": BELOW_SERVICES,
    "ui": BELOW_SERVICES | {"services"},
    "web": BELOW_SERVICES | {"services", "ui"},
    "cli": {"core", "services", "web", "bootstrap"},
    "bootstrap": {"core", "services", "web"},
    "__main__": {"cli"},
}
# The training child is a program of its own: it finds and reads models as the app does.
# Verified recipes keep the answers that hold, judged ones those that a judge prefers.
EXTRA: dict[str, set[str]] = {
    "distill": {"teachers"},
    "generate": {"verify", "judge"},
}
VENDORS_ONLY_IN: dict[str, set[str]] = {
    "duckdb": {"store"},
    "gradio": {"ui", "web"},
    "argon2": {"services"},
    "sqlite3": {"store"},
    "fastapi": {"web"},
    "uvicorn": {"web"},
    "typer": {"cli"},
    "openai": {"teachers"},
    "json_repair": {"core"},
    "trl": {"distill"},
    "peft": {"distill", "teachers"},
}
HEAVY = ("torch", "transformers", "trl", "peft", "sentence_transformers", "datasets")


@dataclass(frozen=True)
class Import:
    """One import statement of the package."""

    file: str
    room: str
    target: str
    is_for_types: bool

    def __str__(self) -> str:
        return f"{self.file} imports {self.target}"


def imports() -> Iterator[Import]:
    """All imports, also those inside functions."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        room = inside.parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {
            id(child)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            is_for_types = id(node) in for_types
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield Import(str(inside), room, name.name, is_for_types)
            elif isinstance(node, ast.ImportFrom):
                yield Import(str(inside), room, node.module or "", is_for_types)


def test_imports_point_down():
    wrong = []
    for found in imports():
        parts = found.target.split(".")
        if parts[0] != "distill_studio" or len(parts) == 1 or found.room == "__init__":
            continue
        allowed = MAY_IMPORT[found.room] | EXTRA.get(found.room, set()) | {found.room}
        if parts[1] not in allowed:
            wrong.append(str(found))
    assert wrong == []


def test_the_command_line_takes_only_server_json_from_the_web():
    taken = {i.target for i in imports() if i.room == "cli" and ".web" in i.target}
    assert taken <= {"distill_studio.web", "distill_studio.web.server_file"}


def test_vendors_stay_in_their_rooms():
    wrong = [
        str(found)
        for found in imports()
        if found.room not in VENDORS_ONLY_IN.get(found.target.split(".")[0], {found.room})
    ]
    assert wrong == []


def test_every_room_is_known():
    rooms = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix in ("", ".py")}
    assert rooms - {"__pycache__", "__init__"} == set(MAY_IMPORT)


def test_one_word_per_stage():
    for stage in sorted(STAGES):
        assert (PACKAGE / stage / "__init__.py").is_file(), stage
        assert (PACKAGE / "services" / f"{stage}.py").is_file(), stage
        assert (PACKAGE / "ui" / "tabs" / f"{stage}.py").is_file(), stage
        assert any((PACKAGE.parent / "tests" / stage).rglob("test_*.py")), stage


def test_no_drawer_for_odds_and_ends():
    names = {p.name for p in PACKAGE.rglob("*.py")}
    assert names.isdisjoint({"utils.py", "common.py", "helpers.py", "misc.py"})


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("distill_studio.ui.build", HEAVY),
        ("distill_studio.services.studio", (*HEAVY, "gradio", "openai", "scipy.stats", "sklearn")),
        ("distill_studio.cli.app", (*HEAVY, "gradio", "openai", "duckdb", "fastapi", "rich.table")),
    ],
)
def test_start_up_is_light(module, unwanted):
    program = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert loaded.isdisjoint(unwanted), loaded & set(unwanted)


def service_methods() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every public method of a service that takes `actor` first."""
    for operation in operations.operations().values():
        for service in operations._service_classes():
            if service.word == operation.word:
                source = inspect.getsource(getattr(service, operation.method))
                tree = ast.parse(textwrap.dedent(source))
                node = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
                yield operation.name, node


def test_every_operation_checks_the_actor_first():
    unchecked = []
    for name, node in service_methods():
        docstring, *rest = node.body
        assert isinstance(docstring, ast.Expr), name
        if not rest or not ast.unparse(rest[0]).startswith("actor.require("):
            unchecked.append(name)
    assert unchecked == []


def test_operations_take_and_give_json():
    assert len(operations.operations()) > 50
    for name, operation in operations.operations().items():
        assert operation.summary, name
        arguments = json.dumps(operation.arguments.model_json_schema())
        json.dumps(operation.result.json_schema(mode="serialization"))
        assert '"format": "path"' not in arguments, f"{name} takes a path of the server"
