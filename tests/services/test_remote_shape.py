"""Which earlier run a quote may be measured by."""

from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill.config import DpoRun, LogitRun, RunConfig, TeacherConfig
from distill_studio.services.remote_estimate import _reads_first, _shape
from tests.remote.test_package import a_run


def shape(config: RunConfig) -> list[object]:
    return _shape(config.model_dump(mode="json"))


@pytest.mark.parametrize(
    "fields",
    [
        {"signal": "cache"},
        {"features": {"weight": 1.0}},
        {"more_teachers": (TeacherConfig(folder="b", id="b"),)},
        {"eval_every": 1},
        {"eval_rows": 1000},
        {"learn": "last"},
    ],
)
def test_what_makes_an_update_slower_is_compared(tmp_path: Path, fields: dict[str, Any]) -> None:
    run = a_run(tmp_path)
    alike = LogitRun.model_validate(run.model_dump() | {"name": "other", "max_steps": 9})
    assert shape(alike) == shape(run)
    assert shape(LogitRun.model_validate(run.model_dump() | fields)) != shape(run)


def test_other_rows_are_another_shape(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    rows = run.data.model_copy(update={"content_hash": "0"})
    assert shape(run.model_copy(update={"data": rows})) != shape(run)


def test_what_reads_all_rows_first_is_never_measured(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert not _reads_first(run)
    assert _reads_first(run.model_copy(update={"signal": "cache"}))
    fields = run.model_dump(include={"name", "student", "data", "lora", "learning_rate"})
    dpo = DpoRun.model_validate(fields)
    assert _reads_first(dpo)
    assert not _reads_first(dpo.model_copy(update={"reference": "adapter_off"}))
