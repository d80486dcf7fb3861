"""What the page says of another machine: prices are true, foreign text is text."""

from distill_studio.core.records import Run, RunState
from distill_studio.distill.curve import Curve
from distill_studio.distill.findings import Finding
from distill_studio.hub.jobs import Flavor
from distill_studio.services.remote import RemoteStatus
from distill_studio.services.remote_estimate import RemoteQuote
from distill_studio.ui.panels import distill_html, remote_html

EVIL = "<img src=x onerror=alert(1)>"
A10G = Flavor(
    name="a10g-small", label="Nvidia A10G", cpus=4, memory_gb=15, gpu="A10G", gpus=1,
    gpu_memory_gb=24, usd_per_minute=0.0166667,
)  # fmt: skip


def status(**fields: object) -> RemoteStatus:
    known = {
        "kind": "job", "flavor": "a10g-small", "stage": "RUNNING", "running_s": 125.0, "usd": 0.05,
        "usd_per_minute": 0.0166667, "limit_minutes": 30, "limit_usd": 0.5, "attempt": 1,
        "may_run": True, "is_paid_again": False,
        "job_url": "https://huggingface.co/jobs/ann/1", "repo": "ann/r",
        "repo_url": "https://huggingface.co/ann/r", "command": "sh",
    }  # fmt: skip
    return RemoteStatus(**(known | fields))


def test_machines_with_their_prices() -> None:
    assert remote_html.flavor_choices([A10G]) == [
        ("Nvidia A10G (4 cores, 1 x 24 GB): $1.00 an hour, $0.0167 a minute", "a10g-small")
    ]
    assert remote_html.usd(0.000167) == "$0.0002"
    assert remote_html.usd(0.0) == "$0.00"


def test_a_quote_says_the_most_it_can_cost() -> None:
    finding = Finding(level="warning", code="memory", message=EVIL)
    quote = RemoteQuote(
        flavor=A10G, findings=[finding], minutes=(4, 12), usd=(0.07, 0.2), is_measured=False,
        limit_minutes=30, limit_usd=0.5, sent_bytes=2_000_000,
    )  # fmt: skip
    html = remote_html.quote_html(quote)
    assert "About 4 to 12 minutes" in html
    assert "$0.07 to $0.20 (a guess" in html
    assert "After 30 minutes the Hub ends it: $0.50" in html
    assert "<img" not in html
    error = finding.model_copy(update={"level": "error"})
    refused = remote_html.quote_html(quote.model_copy(update={"findings": [error]}))
    assert "About" not in refused


def test_how_a_job_stands() -> None:
    html = remote_html.status_html(status())
    assert "a10g-small, running · 3 minutes · $0.05 so far · ends after 30 minutes at $0.50" in html
    assert 'href="https://huggingface.co/jobs/ann/1"' in html
    evil = status(stage=EVIL, flavor=EVIL, job_url="javascript:alert(1)", command=EVIL)
    assert "<img" not in remote_html.status_html(evil)
    assert "javascript:" not in remote_html.status_html(evil)


def test_what_a_resume_pays_is_asked_before_and_said_after() -> None:
    over, goes_on = status(is_paid_again=True, flavor='a"b'), status()
    asked = remote_html.status_html(over)
    assert "data-again=" not in remote_html.status_html(goes_on)
    assert (
        'data-again="Start this run again as a Job on a&quot;b, for 30 minutes and $0.50' in asked
    )
    again = status(attempt=2, limit_usd=0.75)
    assert remote_html.said_again(over, again).endswith("for $0.75 at most.")
    assert "nothing is ordered anew" in remote_html.said_again(goes_on, goes_on)
    assert not remote_html.said_again(status(kind="machine"), status(kind="machine"))


def test_another_machine_is_told_its_command() -> None:
    waiting = status(kind="machine", command=f"hf download {EVIL}")
    html = remote_html.status_html(waiting)
    assert "hf download &lt;img" in html
    assert "Sending the run" in remote_html.status_html(status(kind="machine", command=""))


def test_a_run_elsewhere_does_not_wait_for_its_turn_here() -> None:
    run = Run(name="r", method="sft", snapshot_id="s", state=RunState.QUEUED)
    here = distill_html.run_html(run, Curve(), [])
    there = distill_html.run_html(run, Curve(), [], remote_html.status_html(status(stage="")))
    assert "Waiting for its turn" in here
    assert "Waiting for its turn" not in there
    assert "the run is being sent" in there
