"""The examples of docs/api.md, run one after the other against a running app with a password."""

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, StartApp, app_environment

PASSWORD = "correct horse"
ADDRESS = "http://127.0.0.1:7860"
PAGE = ROOT / "docs" / "api.md"


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the page's code blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def run(language: str, text: str, url: str, folder: Path, env: dict[str, str]) -> str:
    text = text.replace(ADDRESS, url)
    if language == "python":
        argv = [sys.executable, "-c", text]
    else:
        studio = f'studio() {{ "{sys.executable}" -m distill_studio "$@"; }}\n'
        argv = ["bash", "-euo", "pipefail", "-c", studio + text]
    done = subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_examples_do_what_they_say(start_app: StartApp, tmp_path: Path) -> None:
    app = start_app(tmp_path / "home", {"DISTILL_STUDIO_PASSWORD": PASSWORD})
    folder = tmp_path / "here"
    folder.mkdir()
    env = app_environment(tmp_path / "home", 0) | {"PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    for name in list(env):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            del env[name]

    found = blocks()
    assert [language for language, _ in found] == ["python", "sh", "python", "sh"]
    by_http, by_curl, by_gradio, by_command = (
        run(language, text, app.url, folder, env) for language, text in found
    )
    assert by_http.splitlines() == [
        "Store a typed prompt, or one prompt a line.",
        "120 answers",
        "120 accepted",
        "120 rows",
    ]
    with zipfile.ZipFile(folder / "sums.zip") as archive:
        assert archive.testzip() is None
        assert "sums-llama-factory/dataset_info.json" in archive.namelist()

    assert [s["messages"][-1]["content"] for s in json.loads(by_curl)] == ["What is 7 + 7?"] + [
        f"What is 7{n} + 7{n}?" for n in range(4)
    ]
    first, counts, *prompts = by_gradio.splitlines()
    assert re.match(r"\d{3} endpoints; Snapshots, newest first", first)
    assert ast.literal_eval(counts)["seeds"] == 120
    assert prompts == ["What is 11 + 11?"] + [f"What is 11{n} + 11{n}?" for n in range(4)]

    assert by_command.splitlines()[0] == "120"
    assert '"name": "sums"' in by_command
    with zipfile.ZipFile(folder / "sums-axolotl.zip") as archive:
        config = archive.read("sums-axolotl/axolotl.yaml").decode()
    assert "base_model: Qwen/Qwen3-0.6B\n" in config
    sevens = (folder / "sevens.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(sevens) == 11
    assert PASSWORD not in app.log.read_text(errors="replace")


def test_the_examples_name_operations_that_there_are() -> None:
    from distill_studio.services.operations import operations

    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r'call\("(\w+)"', text)) | set(re.findall(r'api_name="/(\w+)"', text))
    named |= set(re.findall(r"/api/main/(\w+)", text)) | {"jobs_get", "jobs_cancel"}
    assert len(named) >= 8
    assert named <= set(operations())
