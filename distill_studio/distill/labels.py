"""Accepted and rejected answers of a KTO run: how many, and what each class weighs. Torch-free."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from distill_studio.core.errors import StudioError
from distill_studio.distill.data import split_path
from distill_studio.distill.findings import Finding

if TYPE_CHECKING:
    from distill_studio.distill.config import KtoRun, RunConfig

LEAST_KTO_BATCH = 2  # TRL compares each row with another one's answer


@dataclass(frozen=True)
class Balance:
    """Weights of both classes."""

    accepted: int
    rejected: int
    desirable: float
    undesirable: float
    is_chosen: bool  # a person has set a weight

    @property
    def text(self) -> str:
        """In words."""
        reason = "as you set it" if self.is_chosen else "so that both classes count alike"
        return (
            f"{self.accepted} accepted and {self.rejected} rejected answers: an accepted one weighs"
            f" {self.desirable:.3g}, a rejected one {self.undesirable:.3g}, {reason}."
        )


def balance(config: "KtoRun", accepted: int, rejected: int) -> Balance:
    """What each class weighs: as configured, else the rarer class as much more as it is rarer.

    (KTO, Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8: desirable * accepted should be 1 to 4/3
    of undesirable * rejected.)
    """
    desirable, undesirable = config.desirable_weight, config.undesirable_weight
    is_chosen = desirable is not None or undesirable is not None
    if not is_chosen and accepted and rejected:
        desirable = max(1.0, rejected / accepted)
        undesirable = max(1.0, accepted / rejected)
    return Balance(
        accepted,
        rejected,
        1.0 if desirable is None else desirable,
        1.0 if undesirable is None else undesirable,
        is_chosen,
    )


def label_findings(config: "RunConfig") -> list[Finding]:
    """What the labels of a KTO run mean."""
    if config.method != "kto" or config.data.format != "unpaired":
        return []
    if config.batch_size < LEAST_KTO_BATCH:
        message = "KTO needs at least 2 rows at a time: each is compared with another's answer."
        return [
            Finding(
                level="error",
                code="batch",
                message=message,
                hint="Set the batch size to 2 or more.",
            )
        ]
    try:
        table = pq.read_table(split_path(Path(config.data.folder), "train"), columns=["label"])
    except (OSError, StudioError):
        return []  # pre-flight says elsewhere that there are no rows
    accepted = sum(table["label"].to_pylist())
    found = balance(config, accepted, table.num_rows - accepted)
    if found.accepted and found.rejected:
        return [Finding(level="info", code="balance", message=found.text)]
    missing = "rejected" if found.accepted else "accepted"
    return [
        Finding(
            level="error",
            code="one_class",
            message=f"KTO learns from accepted and rejected answers; none is {missing} here.",
            hint="Decide on more answers in Review and freeze again"
            + (", or learn the accepted ones with SFT." if found.accepted else "."),
        )
    ]
