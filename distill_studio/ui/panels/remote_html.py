"""What a training on another machine would cost, and how one stands. Pure."""

from distill_studio.hub.jobs import Flavor
from distill_studio.services.remote import RemoteStatus
from distill_studio.services.remote_estimate import RemoteQuote
from distill_studio.ui.html import esc, note, size, usd
from distill_studio.ui.panels.distill_html import findings_html

_STAGES = {
    "": "not started yet: the run is being sent",
    "SCHEDULING": "waiting for a machine",
    "RUNNING": "running",
    "COMPLETED": "ended",
    "CANCELED": "cancelled",
    "ERROR": "ended with an error",
    "DELETED": "deleted",
}


def flavor_choices(flavors: list[Flavor]) -> list[tuple[str, str]]:
    """(label, name) of each machine, with its price."""
    return [
        (
            f"{_machine(one)}: {usd(60 * one.usd_per_minute)} an hour,"
            f" ${one.usd_per_minute:.4f} a minute",
            one.name,
        )
        for one in flavors
    ]


def quote_html(quote: RemoteQuote) -> str:
    """What a run would take and cost, and what pre-flight says of it."""
    if quote.is_refused:
        return findings_html(quote.findings)
    basis = (
        "from an earlier run there" if quote.is_measured else "a guess, nothing was measured yet"
    )
    minutes = f"{quote.minutes[0]:.0f} to {quote.minutes[1]:.0f} minutes"
    price = f"{usd(quote.usd[0])} to {usd(quote.usd[1])}"
    limit = f"After {quote.limit_minutes} minutes the Hub ends it: {usd(quote.limit_usd)}"
    told = (
        f"About {minutes} with setting up, {price} ({basis}). {limit} at most, and the minutes in"
        f" which the machine starts. {size(quote.sent_bytes)} are sent to a private repository"
        " before anything is paid."
    )
    return f"{note(told)}{findings_html(quote.findings)}"


def status_html(status: RemoteStatus) -> str:
    """Where a run trains, since when, and what it has cost so far."""
    if status.kind == "machine":
        told = (
            "Waiting for what the other machine says. It needs Python 3.11 or newer and HF_TOKEN, a"
            " token that may write to your repositories; in an empty virtual environment run:"
        )
        lines = f'<pre class="ds-log">{esc(status.command)}</pre>' if status.command else ""
        return note(told if lines else "Sending the run to the Hub.") + lines + _links(status)
    minutes = -(-status.running_s // 60)
    stage = _STAGES.get(status.stage, status.stage.lower())
    parts = [
        f"{status.flavor}, {stage}",
        f"{minutes:.0f} minutes",
        f"{usd(status.usd)} so far",
        f"ends after {status.limit_minutes:.0f} minutes at {usd(status.limit_usd)}",
    ]
    if status.attempt > 1:
        parts.append(f"start {status.attempt}")
    asked = f' data-again="{esc(_question(status))}"' if status.is_paid_again else ""
    told = note(" · ".join(parts))
    return f'<div data-remote="{esc(status.stage)}"{asked}>{told}</div>{_links(status)}'


def said_again(before: RemoteStatus, after: RemoteStatus) -> str:
    """What a resume has led to.

    Args:
        before: How it stood, which decides whether a Job is ordered.
        after: How it stands, with machine and limit.
    """
    if after.kind == "machine":
        return ""
    if not before.is_paid_again:
        return "It goes on with the Job that it has: nothing is ordered anew."
    return f"It starts as a Job again, for {usd(after.limit_usd)} at most."


def _question(status: RemoteStatus) -> str:
    return (
        f"Start this run again as a Job on {status.flavor}, for {status.limit_minutes:.0f} minutes"
        f" and {usd(status.limit_usd)} at most? Each begun minute is paid on the Hub."
    )


def _machine(one: Flavor) -> str:
    gpus = f", {one.gpus} x {one.gpu_memory_gb:.0f} GB" if one.gpus else ""
    return f"{one.label} ({one.cpus} cores{gpus})"


def _links(status: RemoteStatus) -> str:
    links = [("The Job", status.job_url), ("Its repository, the model in model/", status.repo_url)]
    shown = [
        f'<a class="ds-link" href="{esc(url)}" target="_blank" rel="noopener">{esc(text)}</a>'
        for text, url in links
        if url.startswith(("https://", "http://"))
    ]
    return f'<p class="ds-note">{" · ".join(shown)}</p>' if shown else ""
