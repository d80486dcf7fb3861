"""Which runs a quote for a rented machine may not be measured by."""

from pathlib import Path

from distill_studio.distill.config import DpoRun
from distill_studio.services.remote_estimate import _reads_first
from tests.remote.test_package import a_run


def test_what_reads_all_rows_first_is_never_measured(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert not _reads_first(run)
    assert _reads_first(run.model_copy(update={"signal": "cache"}))
    fields = run.model_dump(include={"name", "student", "data", "lora", "learning_rate"})
    dpo = DpoRun.model_validate(fields)
    assert _reads_first(dpo)
    assert not _reads_first(dpo.model_copy(update={"reference": "adapter_off"}))
