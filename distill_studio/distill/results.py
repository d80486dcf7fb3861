"""Final figures of a run, from its events. Torch-free."""

from collections.abc import Sequence
from typing import Any

from distill_studio.distill.curve import standing


def final_metrics(all_events: Sequence[Any], losses: list[float], steps: int) -> dict[str, Any]:
    """Final figures, the baseline of the first attempt included.

    Args:
        all_events: Of every attempt, oldest first.
        losses: Training losses of this attempt.
        steps: Updates made in all.
    """
    events = standing(all_events)
    evals = [e for e in events if e.kind == "eval"]
    found: dict[str, Any] = {"steps": steps}
    if losses:
        tail = losses[-10:]
        found["train_loss"] = sum(tail) / len(tail)
    seconds = [e.seconds for e in events if e.kind == "step"]
    speeds = [e.tokens_per_s for e in events if e.kind == "step"]
    if seconds:
        found["seconds_per_step"] = sorted(seconds)[len(seconds) // 2]
        found["tokens_per_s"] = sorted(speeds)[len(speeds) // 2]
        found["memory_gib"] = max(e.memory_gib for e in events if e.kind == "step")
    found["seconds"] = sum(e.seconds for e in events if e.kind in ("step", "eval"))
    covered = [e.covered for e in events if e.kind == "note" and e.covered is not None]
    if covered:
        found["covered"] = covered[-1]
    before = next((e for e in evals if e.step == 0), None)
    if before is None or not evals:
        return found
    after = evals[-1]
    found |= {"loss_before": before.loss, "loss_after": after.loss}
    found["loss_fell_percent"] = 100 * (1 - after.loss / before.loss) if before.loss else 0.0
    for name in ("margin", "accuracy", "logp_margin", "ce", "kl", "features"):
        if getattr(after, name) is not None:
            found |= {
                f"{name}_before": getattr(before, name),
                f"{name}_after": getattr(after, name),
            }
    return found
