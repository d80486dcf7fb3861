"""Which earlier run's measured time speaks for another run."""

from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill.alike import NOT_OF_TIME, speed_shape, update_shape
from distill_studio.distill.config import RUN_CONFIGS, LogitRun, RunConfig, TeacherConfig
from distill_studio.distill.settings_text import SETTINGS
from tests.distill.test_settings_text import changes
from tests.remote.test_package import a_run


def dumped(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")


@pytest.mark.parametrize(
    "fields",
    [
        {"signal": "cache"},
        {"features": {"weight": 1.0}},
        {"teacher": TeacherConfig(folder="big", id="big")},
        {"more_teachers": (TeacherConfig(folder="b", id="b"),)},
        {"dtype": "fp32"},
        {"packing": True},
        {"device": "cpu"},
    ],
)
def test_what_changes_the_speed_is_compared(tmp_path: Path, fields: dict[str, Any]) -> None:
    run = a_run(tmp_path)
    other = LogitRun.model_validate(run.model_dump() | fields)
    assert speed_shape(dumped(other)) != speed_shape(dumped(run))
    assert update_shape(dumped(other)) != update_shape(dumped(run))


@pytest.mark.parametrize("fields", [{"eval_every": 1}, {"eval_rows": 1000}, {"learn": "last"}])
def test_what_makes_an_update_alone_slower_leaves_the_speed(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    run = a_run(tmp_path)
    other = LogitRun.model_validate(run.model_dump() | fields)
    assert speed_shape(dumped(other)) == speed_shape(dumped(run))
    assert update_shape(dumped(other)) != update_shape(dumped(run))


def test_a_name_and_more_updates_are_the_same_work(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    alike = LogitRun.model_validate(run.model_dump() | {"name": "other", "max_steps": 9})
    assert update_shape(dumped(alike)) == update_shape(dumped(run))


def test_other_rows_are_another_update_at_the_same_speed(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    other = run.model_copy(update={"data": run.data.model_copy(update={"content_hash": "0"})})
    assert speed_shape(dumped(other)) == speed_shape(dumped(run))
    assert update_shape(dumped(other)) != update_shape(dumped(run))


def test_a_run_from_before_a_setting_had_its_default(tmp_path: Path) -> None:
    now = dumped(a_run(tmp_path))
    before = {key: value for key, value in now.items() if key not in ("packing", "sharding")}
    assert update_shape(before) == update_shape(now)


@pytest.mark.parametrize("method", list(RUN_CONFIGS))
def test_every_setting_is_compared_or_named_as_of_no_time(method: str) -> None:
    for path, before, after in changes(method):
        is_alike = update_shape(after) == update_shape(before)
        assert is_alike == (path in NOT_OF_TIME), path
    assert set(SETTINGS) >= NOT_OF_TIME
