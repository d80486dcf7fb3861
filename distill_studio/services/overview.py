"""Where a workspace stands: counts per stage and the next sensible step."""

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Job, Record
from distill_studio.services.base import Service
from distill_studio.store import overview as table


class NextStep(Record):
    """What to do next, and on which tab."""

    tab: str = Field(description="Word of the tab.")
    title: str = Field(description="What to do, a few words.")
    text: str = Field(description="Why, one sentence.")


_Counts = dict[str, int]


class OverviewService(Service):
    """Counts and the next step."""

    word = "overview"

    def counts(self, actor: Actor) -> _Counts:
        """Numbers per stage, see `store/overview.py`."""
        actor.require(Role.VIEWER)
        return {name: int(value or 0) for name, value in table.counts(self.db).items()}

    def next_step(self, actor: Actor) -> NextStep:
        """The step that brings this workspace on."""
        actor.require(Role.VIEWER)
        active = self.workspace.jobs.page(actor, kinds=["train"], active=True, limit=1)
        return _watch(active[0]) if active else next_step(self.counts(actor))


def _watch(training: Job) -> NextStep:
    return NextStep(
        tab="distill",
        title="Watch the training",
        text=f"{training.title} is at work. It goes on when you close the page.",
    )


def _said(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _waiting(c: _Counts) -> str:
    return _said(c["waiting"], "pair waits", "pairs wait") + " for a decision."


def next_step(c: _Counts) -> NextStep:
    """The first step of the flow that still has work."""
    if c["seeds"] == 0 or (c["total"] == 0 and c["unanswered"] == 0):
        return NextStep(
            tab="seeds",
            title="Bring in prompts",
            text="Upload a file of prompts or conversations, or type a few by hand.",
        )
    if c["total"] == 0:
        return NextStep(
            tab="generate",
            title="Let a teacher answer",
            text=_said(c["unanswered"], "seed has", "seeds have") + " no answer yet.",
        )
    if c["accepted"] == 0 and c["waiting"] == 0:
        return NextStep(
            tab="curate",
            title="Look at what was set aside",
            text="No answer waits for a decision: all were set aside or rejected.",
        )
    if c["accepted"] == 0:
        return NextStep(
            tab="review",
            title="Review the answers",
            text=_waiting(c) + " Only accepted ones are trained on.",
        )
    if c["snapshots"] == 0:
        return NextStep(
            tab="freeze",
            title="Freeze a dataset",
            text=_said(c["usable"], "accepted pair is", "accepted pairs are")
            + " ready. Training reads only frozen data.",
        )
    if c["students"] == 0:
        return NextStep(
            tab="distill",
            title="Train a student",
            text="A snapshot is ready to train on.",
        )
    if c["comparisons"] == 0:
        return NextStep(
            tab="evaluate",
            title="Compare student and teacher",
            text="A student is trained. Put it beside its teacher.",
        )
    if c["waiting"]:
        return NextStep(
            tab="review",
            title="Go on reviewing",
            text=_waiting(c),
        )
    return NextStep(
        tab="evaluate",
        title="Compare and vote",
        text="Votes on the comparison page become preferences for the next round.",
    )
