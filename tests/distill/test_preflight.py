"""What pre-flight refuses, warns of and estimates, and the token view."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig
from distill_studio.distill.data import split_path
from distill_studio.distill.estimate import Estimate, model_facts
from distill_studio.distill.preflight import Report, check, refuse
from distill_studio.distill.token_view import token_view
from tests.tiny_model import assistant, completions, preferences, user, write_snapshot

MakeConfig = Callable[..., RunConfig]


def codes(report: Report, level: str = "") -> list[str]:
    return [f.code for f in report.findings if not level or f.level == level]


def test_a_good_run_has_only_an_estimate(make_config: MakeConfig, tmp_path: Path) -> None:
    report = check(make_config(), memory_total_gib=64, disk_folder=tmp_path)
    assert codes(report) == ["estimate"]
    assert report.is_ok
    assert report.estimate
    assert report.estimate.steps == 4
    refuse(report)


def test_an_earlier_run_makes_the_estimate_measured(make_config: MakeConfig) -> None:
    slow = check(make_config(), measured_tokens_per_s=1.0).estimate
    fast = check(make_config(), measured_tokens_per_s=1000.0).estimate
    assert slow
    assert fast
    assert slow.is_measured
    assert slow.seconds > 50 * (fast.seconds - 20) > 0


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_all_rows_over_length_are_refused(make_config: MakeConfig, method: str) -> None:
    report = check(make_config(method, max_length=12))
    assert codes(report) == ["all_over_length"]
    with pytest.raises(InvalidInput, match="longer than 12 tokens"):
        refuse(report)


def test_some_rows_over_length_are_told(make_config: MakeConfig, tmp_path: Path) -> None:
    rows = completions(8)
    rows[0]["completion"] = [assistant("sun " * 80)]
    rows[1]["prompt"] = [user("moon " * 80)]
    data = write_snapshot(tmp_path / "mixed", rows, [])
    config = make_config(data={"folder": str(data), "name": "mixed", "format": "prompt_completion"})
    report = check(config)
    assert codes(report, "warning") == ["no_validation", "over_length", "some_nothing_to_learn"]
    assert "2 of 8 rows" in next(f.message for f in report.findings if f.code == "over_length")
    dropped = check(config.model_copy(update={"over_length": "drop"}))
    assert "left out" in next(f.message for f in dropped.findings if f.code == "over_length")


def test_rows_without_an_answer_are_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    rows = [{"id": "a", "messages": [user("sun")]}]
    data = write_snapshot(tmp_path / "bare", rows, rows)
    config = make_config(data={"folder": str(data), "name": "bare", "format": "messages"})
    assert codes(check(config), "error") == ["nothing_to_learn"]


def test_the_format_must_fit_the_method(make_config: MakeConfig) -> None:
    config = make_config("dpo")
    wrong = config.model_copy(
        update={"data": config.data.model_copy(update={"format": "messages"})}
    )
    report = check(wrong)
    assert codes(report) == ["wrong_format"]
    assert "Choose SFT" in report.findings[0].hint


def test_an_empty_snapshot_is_refused(make_config: MakeConfig) -> None:
    config = make_config()
    split_path(Path(config.data.folder), "train").unlink()
    assert "no_rows" in codes(check(config), "error")


def test_the_student_must_fit(make_config: MakeConfig, tiny_model: Path, tmp_path: Path) -> None:
    student = {"base_folder": str(tiny_model), "base_id": "t"}
    assert "too_many_layers" in codes(check(make_config(student={**student, "keep_layers": 9})))
    assert "pruned" in codes(check(make_config(student={**student, "keep_layers": 2})), "info")
    assert "over_context" in codes(check(make_config(max_length=512)), "error")
    bare = tmp_path / "bare-model"
    shutil.copytree(tiny_model, bare)
    (bare / "chat_template.jinja").unlink()
    without = make_config(student={"base_folder": str(bare), "base_id": "t"})
    assert codes(check(without), "error") == ["no_template"]


def test_too_little_memory_warns(make_config: MakeConfig) -> None:
    assert "memory" in codes(check(make_config(), memory_total_gib=0.1), "warning")


def test_a_template_that_never_ends_a_turn_warns(
    make_config: MakeConfig, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "endless"
    shutil.copytree(tiny_model, folder)
    template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    config = make_config(student={"base_folder": str(folder), "base_id": "t"})
    assert codes(check(config), "warning") == ["no_end_of_turn"]


def test_the_token_view_shows_both_sides_of_a_pair(
    make_config: MakeConfig, chat: ChatTokenizer
) -> None:
    rows = token_view(chat, make_config("dpo"), preferences(1)[0])
    assert [row.title for row in rows] == ["chosen", "rejected"]
    learned = ["".join(p.text for p in row.pieces if p.learned) for row in rows]
    assert learned == ["sun sun sun<|im_end|>", "moon dog moon<|im_end|>"]
    cut = token_view(chat, make_config("sft", max_length=20), completions(1)[0])[0]
    assert cut.is_cut
    assert len(cut.pieces) == 20


def test_preflight_needs_no_torch() -> None:
    import subprocess

    code = "import sys; import distill_studio.distill.preflight, distill_studio.distill.package;"
    code += "import distill_studio.distill.students; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=".")
    assert found.stdout.strip() == "False", found.stderr


def test_memory_and_disk_are_of_what_is_loaded_and_written(make_config: MakeConfig) -> None:
    def took(method: str = "sft", **fields: Any) -> Estimate:
        found = check(make_config(method, **fields)).estimate
        assert found
        return found

    facts = model_facts(Path(make_config().student.base_folder))
    gib = facts.parameters / 2**30
    halves, whole = took(dtype="bf16").memory_gib, took(dtype="fp32").memory_gib
    assert whole - halves == pytest.approx(2 * gib)
    online, stored = (took("logit", signal=signal, top_k=8) for signal in ("online", "cache"))
    assert stored.disk_gib > online.disk_gib
    assert online.disk_gib >= 3 * 0.04 * 12 * gib  # two checkpoints and the one being written
    kept = took("logit", signal="online", keep_checkpoints=9).disk_gib - online.disk_gib
    assert kept == pytest.approx(7 * (online.disk_gib - facts.parameters * 2 / 2**30) / 3)
