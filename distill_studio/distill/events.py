"""The lines of a run's `events.jsonl`: what the worker says, what the app reads. Torch-free.

The worker appends with `EventWriter`; the app reads from a byte offset with `read_events`.
"""

import os
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from distill_studio.core.records.base import Record

EVENTS_FILE = "events.jsonl"


class _Event(Record):
    at: float = Field(default_factory=time.time, description="Epoch seconds.")


class Started(_Event):
    """The worker begins, or goes on from a checkpoint."""

    kind: Literal["started"] = Field(default="started", description="Tag.")
    total: int = Field(description="Updates in all.")
    resumed_from: int = Field(default=0, description="Update of the checkpoint; 0 = from anew.")
    train_rows: int = Field(description="Rows that can be learned.")
    validation_rows: int = Field(description="Held-out rows that are measured.")
    left_out: int = Field(default=0, description="Rows with nothing to learn or too long.")
    device: str = Field(description="Where.")
    dtype: str = Field(description="In which numbers.")
    parameters: int = Field(description="Weights of the student.")
    trainable: int = Field(description="Weights that change.")


class Note(_Event):
    """What happens now, in words."""

    kind: Literal["note"] = Field(default="note", description="Tag.")
    message: str = Field(description="One line.")
    covered: float | None = Field(
        default=None, description="Of a stored signal: the teacher's probability in the kept ids."
    )


class Pruned(_Event):
    """Layers were dropped from the student, or made narrower."""

    kind: Literal["pruned"] = Field(default="pruned", description="Tag.")
    kept: list[int] = Field(description="Layers that stay, numbered from 0.")
    of: int = Field(description="Layers before.")
    influence: list[float] = Field(
        description="Block influence of each layer; none where all stay."
    )
    neurons: int = Field(default=0, description="Of each MLP that stay; 0 = not said.")
    groups: int = Field(default=0, description="Key/value heads of each layer that stay.")
    channels: int = Field(default=0, description="Of the hidden states that stay.")
    parameters: int = Field(default=0, description="Weights of the pruned student.")


class Step(_Event):
    """One update."""

    kind: Literal["step"] = Field(default="step", description="Tag.")
    step: int = Field(description="Number of the update.")
    total: int = Field(description="Updates in all.")
    loss: float = Field(description="Training loss.")
    ce: float | None = Field(default=None, description="Logit: cross-entropy per token.")
    kl: float | None = Field(default=None, description="Logit: T^2 times the divergence.")
    features: float | None = Field(default=None, description="Distance of hidden states.")
    answer_tokens: float | None = Field(
        default=None, description="On-policy: mean length of the student's answers."
    )
    lr: float = Field(description="Learning rate.")
    grad_norm: float = Field(default=0.0, description="Before clipping.")
    tokens_per_s: float = Field(default=0.0, description="Read by the model.")
    seconds: float = Field(default=0.0, description="This update took.")
    memory_gib: float = Field(default=0.0, description="Of the process, or of the GPU.")


class Eval(_Event):
    """Held-out figures at an update; step 0 is before any training."""

    kind: Literal["eval"] = Field(default="eval", description="Tag.")
    step: int = Field(description="After so many updates.")
    loss: float = Field(description="Mean over held-out tokens (SFT) or pairs (DPO).")
    tokens: int = Field(default=0, description="Held-out tokens measured (not DPO).")
    ce: float | None = Field(default=None, description="Logit: cross-entropy per token.")
    kl: float | None = Field(default=None, description="Logit: T^2 times the divergence.")
    features: float | None = Field(default=None, description="Distance of hidden states.")
    margin: float | None = Field(default=None, description="DPO, KTO: reward chosen - rejected.")
    accuracy: float | None = Field(default=None, description="DPO: share with a margin > 0.")
    logp_margin: float | None = Field(
        default=None, description="DPO, KTO: log-probability chosen - rejected of the student."
    )
    seconds: float = Field(default=0.0, description="It took.")


class Checkpoint(_Event):
    """A checkpoint is whole on disk."""

    kind: Literal["checkpoint"] = Field(default="checkpoint", description="Tag.")
    step: int = Field(description="After so many updates.")


class Sample(_Event):
    """What the student answers to a held-out prompt now."""

    kind: Literal["sample"] = Field(default="sample", description="Tag.")
    step: int = Field(description="After so many updates.")
    prompt: str = Field(description="Last user turn.")
    answer: str = Field(description="Greedy, cut short.")


class Done(_Event):
    """The student is trained and saved."""

    kind: Literal["done"] = Field(default="done", description="Tag.")
    metrics: dict[str, Any] = Field(description="Final figures.")


class Failed(_Event):
    """The training could not go on."""

    kind: Literal["failed"] = Field(default="failed", description="Tag.")
    message: str = Field(description="What happened.")
    hint: str = Field(default="", description="What to do.")


class Stopped(_Event):
    """Stopped on request; can be resumed from the checkpoint."""

    kind: Literal["stopped"] = Field(default="stopped", description="Tag.")
    step: int = Field(description="After so many updates.")


Event = Annotated[
    Started | Note | Pruned | Step | Eval | Checkpoint | Sample | Done | Failed | Stopped,
    Field(discriminator="kind"),
]
FINAL_KINDS = ("done", "failed", "stopped")
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Event)


def parse_event(line: bytes) -> Any:  # noqa: ANN401  (one of `Event`)
    """An event from its line.

    Raises:
        ValidationError: It is none.
    """
    return _ADAPTER.validate_json(line)


class EventWriter:
    """Appends events to a file; each line is on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        is_torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        if is_torn:  # the last worker was killed in the middle of a line
            self._file.write("\n")

    def write(self, event: _Event) -> None:
        """Append one event."""
        self._file.write(event.model_dump_json() + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SilentWriter(EventWriter):
    """Says nothing: for all processes of a training but the first."""

    def __init__(self) -> None:
        """There is no file."""

    def write(self, event: _Event) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_events(path: Path, offset: int = 0) -> tuple[list[Any], int]:
    """Events from byte `offset` on, and the offset after the last whole line.

    A line that a killed worker left half written is passed over.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    events = []
    for line in data[:end].splitlines():
        try:
            events.append(parse_event(line))
        except ValidationError:
            continue  # torn by a kill, see EventWriter
    return events, offset + end


def last_final(events: list[Any]) -> Done | Failed | Stopped | None:
    """The event that ended the newest attempt; None while it runs or when it was killed."""
    if not events or events[-1].kind not in FINAL_KINDS:
        return None
    final: Done | Failed | Stopped = events[-1]
    return final
