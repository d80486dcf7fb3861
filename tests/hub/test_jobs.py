"""Machines, Jobs and foreign text, as the client tells them."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import close_session
from huggingface_hub.utils import get_session

from distill_studio.core.errors import NotAllowed, NotFound, Unavailable
from distill_studio.hub.jobs import HubJobs, JobOrder, plain
from tests.fake_hub import FakeHub, online


@pytest.fixture
def jobs(hub: FakeHub) -> HubJobs:
    hub.runs_jobs = False
    return HubJobs("hf_ann")


def order(**fields: object) -> JobOrder:
    known = {
        "namespace": "ann", "label": "r-1", "image": "python:3.11", "command": ["true"],
        "flavor": "cpu-basic", "timeout_s": 600, "secrets": {"HF_TOKEN": "s"}, "environment": {},
    }  # fmt: skip
    return JobOrder(**(known | fields))


def machine(**fields: object) -> SimpleNamespace:
    known = {
        "name": "x", "pretty_name": "X", "cpu": "N/A", "ram": "1.5 GB", "accelerator": None,
        "ephemeral_storage": "1.5 TB",
        "unit_cost_micro_usd": 600_000, "unit_label": "hour",
    }  # fmt: skip
    return SimpleNamespace(**(known | fields))


def test_prices_are_by_the_minute(jobs: HubJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(model="L4", quantity="4", vram="96 GB")
    told = [machine(accelerator=gpu), machine(name="y", unit_label="fortnight")]
    monkeypatch.setattr(jobs._api, "list_jobs_hardware", lambda: told)
    (one,) = jobs.flavors()
    assert one.usd_per_minute == pytest.approx(0.01)
    assert one.disk_gb == 1500.0
    assert (one.cpus, one.memory_gb, one.gpus, one.gpu_memory_gb) == (0, 1.5, 4, 24.0)


def test_one_label_one_job(jobs: HubJobs, hub: FakeHub) -> None:
    first = jobs.start(order())
    assert jobs.start(order()).id == first.id
    assert jobs.start(order(label="r-2")).id != first.id
    assert len(hub.jobs) == 2
    jobs.cancel("ann", first.id)
    view = jobs.look("ann", first.id)
    assert (view.stage, view.is_over, view.url) == (
        "CANCELED",
        True,
        f"{hub.url}/jobs/ann/{first.id}",
    )
    jobs.cancel("ann", first.id)
    hub.fail("/cancel", 409)
    jobs.cancel("ann", first.id)


def test_refusals_in_words(jobs: HubJobs, hub: FakeHub) -> None:
    with pytest.raises(NotFound, match="does not know the Job 9"):
        jobs.look("ann", "9")
    with pytest.raises(NotAllowed, match="may not run Jobs"):
        jobs.start(order(namespace="bob"))
    hub.has_billing = False
    with pytest.raises(NotAllowed, match="wants credit"):
        jobs.start(order())
    with pytest.raises(NotAllowed, match="does not know this token"):
        HubJobs("hf_nobody").flavors()
    hub.fail("/api/jobs/hardware", 429, times=-1)
    with pytest.raises(Unavailable, match="slow down"):
        jobs.flavors()
    assert jobs.log_tail("ann", "9") == ""


def test_foreign_text_is_plain_and_short() -> None:
    assert plain("a\x1b[31mb\x1b[0m\r\nc\x00\x07\td") == "ab\nc\td"
    assert len(plain("x" * 100_000)) == 20_000


def test_a_line_that_went_dead_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    close_session()
    waits = get_session().timeout
    assert (waits.connect, waits.read) == (10.0, 60.0)
    monkeypatch.setattr("distill_studio.hub.client.READ_S", 0.2)
    close_session()
    with socket.create_server(("127.0.0.1", 0)) as dead, online():  # takes calls, answers none
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{dead.getsockname()[1]}")
        with pytest.raises(Unavailable, match="cannot be reached"):
            HubJobs("hf_ann").look("ann", "1")
    close_session()


@pytest.mark.parametrize(
    "failure", [httpx2.ConnectError("no way"), httpx2.ReadError("cut"), KeyError("data")]
)
def test_a_log_that_cannot_be_read_hides_no_end(
    jobs: HubJobs, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def told(**_: object) -> Iterator[str]:
        yield "a line"
        raise failure

    monkeypatch.setattr(jobs._api, "fetch_job_logs", told)
    assert jobs.log_tail("ann", "9") == ""
