"""One training in several processes, one per device, as `accelerate launch` starts them.

`Ranks.from_environment()` says which of them this is. The first one speaks for all: it holds the
run's lock, writes events, prunes the student, stores the teacher's signal and saves the model.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

_PATIENCE = timedelta(days=7)  # the others wait while the first stores a teacher's signal
T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the training."""

    rank: int = 0
    local_rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> "Ranks":
        """As torchrun, and so accelerate, tells it."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        return cls(int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0")), world)

    @property
    def is_first(self) -> bool:
        """True for the one that speaks for all."""
        return self.rank == 0

    @property
    def is_many(self) -> bool:
        """True when there are others."""
        return self.world > 1

    def device(self, chosen: str) -> str:
        """`cuda` becomes this process's own GPU."""
        return f"cuda:{self.local_rank}" if self.is_many and chosen == "cuda" else chosen

    def join(self, device: str) -> None:
        """Meet the others; gloo on CPUs, NCCL on GPUs."""
        if not self.is_many:
            return
        import torch
        from accelerate import PartialState

        if device.startswith("cuda"):
            torch.cuda.set_device(device)
        PartialState(cpu=device == "cpu", timeout=_PATIENCE)

    def wait(self) -> None:
        """Until all are here."""
        if self.is_many:
            import torch.distributed

            torch.distributed.barrier()

    def first_then_others(self, work: Callable[[], T]) -> T:
        """`work` by the first alone, then by the others, who find what it made."""
        if self.is_first:
            made = work()
            self.wait()
            return made
        self.wait()
        return work()

    def is_any(self, flag: bool, device: str) -> bool:
        """True in all processes when `flag` is true in one of them."""
        if not self.is_many:
            return flag
        import torch
        import torch.distributed

        told = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        return bool(told)


def even_share(rows: int, batch: int, world: int) -> tuple[int, int]:
    """(rows that `world` processes can share without a row counting twice, rows of a batch).

    The library fills the last round up with rows from the start, which would weigh them double in
    held-out figures. Fewer rows than processes cannot be shared: they stay as they are.
    """
    if world == 1 or rows < world:
        return rows, batch
    each = min(batch, rows // world)
    return rows - rows % (each * world), each
