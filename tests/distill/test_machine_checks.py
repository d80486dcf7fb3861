"""What pre-flight says of the machine, before a worker would."""

from collections.abc import Callable
from typing import Any

import pytest

from distill_studio.core.errors import StudioError
from distill_studio.distill import machine_checks
from distill_studio.distill.config import RunConfig
from distill_studio.distill.device import check_sharding, quantisation
from distill_studio.distill.machine_checks import machine_findings
from distill_studio.distill.preflight import check

MakeConfig = Callable[..., RunConfig]


def said(config: RunConfig, gpus: int | None) -> list[tuple[str, str]]:
    return [(f.level, f.code) for f in machine_findings(config, gpus)]


@pytest.mark.parametrize(
    ("fields", "gpus", "expected"),
    [
        ({}, 0, []),
        ({"quantise": "nf4"}, 0, [("error", "quantise")]),
        ({"quantise": "nf4"}, None, []),  # another machine has them
        ({"quantise": "nf4", "lora": None}, None, [("error", "quantise")]),
        ({"sharding": "fsdp", "devices": 2}, 2, []),
        ({"sharding": "fsdp"}, 1, [("warning", "sharding")]),
        ({"devices": 2}, 0, [("warning", "devices")]),
        ({"devices": 2}, 1, [("error", "devices")]),
        ({"devices": 2}, None, []),
    ],
)
def test_what_the_machine_cannot_do(
    make_config: MakeConfig, fields: dict[str, Any], gpus: int | None, expected: list[Any]
) -> None:
    assert said(make_config(**fields), gpus) == expected


def test_what_pre_flight_refuses_the_worker_refuses_in_the_same_words(
    make_config: MakeConfig,
) -> None:
    with pytest.raises(StudioError) as packed:
        quantisation("nf4", "cpu", has_lora=True)
    with pytest.raises(StudioError) as spread:
        check_sharding("fsdp", "cpu")
    config = make_config(quantise="nf4", sharding="fsdp", devices=2)
    report = check(config, gpus=0)
    errors = [f for f in report.findings if f.level == "error"]
    assert [f.message for f in errors] == [packed.value.user_message, spread.value.user_message]
    assert all(f.hint for f in errors)
    assert not report.is_ok


def test_four_bits_want_their_package(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(quantise="nf4")
    for is_there, expected in ((True, []), (False, [("error", "quantise")])):
        found = object() if is_there else None
        monkeypatch.setattr(machine_checks.importlib.util, "find_spec", lambda _, f=found: f)
        assert said(config, 1) == expected


def test_bf16_on_a_cpu_without_it_is_slow(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(dtype="bf16")
    monkeypatch.setattr(machine_checks.sys, "platform", "linux")
    for has_it, expected in ((True, []), (False, [("warning", "dtype")])):
        monkeypatch.setattr(machine_checks, "cpu_has_bf16", lambda has=has_it: has)
        assert said(config, 0) == expected
    assert said(config, 1) == []
