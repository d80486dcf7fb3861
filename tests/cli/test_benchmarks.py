"""`benchmarks`, with the app stopped and with it running; what is shown of results."""

import json

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.cli.app import main
from distill_studio.core.settings import Settings
from tests.harness_tasks import write_choice
from tests.store.test_benchmarks import run, score


def test_tasks_are_listed_and_added_and_code_is_refused(studio, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILL_STUDIO_LM_EVAL_PYTHON", "/bin/sh")
    assert "openai/gsm8k" in studio("benchmarks", "tasks").out
    write_choice(tmp_path / "mine")
    assert "Added: capital_choice." in studio("benchmarks", "add", str(tmp_path / "mine")).out
    assert studio("benchmarks", "tasks", "--json").json[0]["name"] == "capital_choice"
    (tmp_path / "none").mkdir()
    assert "no task file" in studio("benchmarks", "add", str(tmp_path / "none"), code=1).err
    assert "No run yet" in studio("benchmarks", "list").out
    assert "Nothing was scored yet" in studio("benchmarks", "show").out
    assert "There is no benchmark run" in studio("benchmarks", "show", "x", code=1).err


def test_code_is_refused_and_results_are_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DISTILL_STUDIO_LM_EVAL_PYTHON", "/bin/sh")
    home = tmp_path / "home"
    studio = build_studio(Settings(home=home))
    db = studio.workspace("main").db
    run(db, "teacher", [score("arc", 0.80)])
    run(db, "base", [score("arc", 0.79)])
    student = run(db, "student", [score("arc", 0.5), score("arc", 0.55, metric="acc_norm")])
    run(db, "student", [score("gsm8k", 0.5, n=5)], limit=5)
    rows = studio.workspace("main").benchmarks.card_rows("student:m")
    studio.close()
    assert rows == {"arc (acc, lm-eval 0.4.13)": "0.5000 ± 0.0100, n = 100, 0 examples"}

    def said(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["--home", str(home), "benchmarks", *words])
        printed = capsys.readouterr()
        assert int(left.value.code or 0) == code, printed
        return printed.out + printed.err

    assert "5 of 100 (smoke)" in said("show")
    one = json.loads(said("show", student.id, "--json"))
    assert [figure["metric"] for figure in one["scores"]] == ["acc", "acc_norm"]
    assert "0.4.13" in said("show", student.id)
    assert "my student" in said("list")
    refused = said("run", "smollm2-135m-instruct", "--task", "humaneval", code=1)
    assert "suite scored by unit tests" in refused
    # the newest way of asking was a smoke test; without it the three stand together
    studio = build_studio(Settings(home=home))
    bench = studio.workspace("main").benchmarks
    board = bench.table(_owner(), bench.ways(_owner())[-1].key)
    studio.close()
    words = [row.cells["arc"].teacher for row in board.rows]
    assert [one.verdict if one else "" for one in words] == ["", "overlap", "worse"]


def _owner():
    from distill_studio.core.actor import Actor, Role

    return Actor(user="owner", role=Role.OWNER)
