"""Where else a run's curves go: TensorBoard, Trackio, Weights & Biases. Torch-free.

None of their packages is required. `trainers/tracking.py` writes to them while the run trains.
"""

import importlib.util
import sys

from distill_studio.distill.config import RunConfig
from distill_studio.distill.findings import Finding

TRACKERS = {"tensorboard": "TensorBoard", "trackio": "Trackio", "wandb": "Weights & Biases"}


def is_installed(tracker: str) -> bool:
    """True where its package, which has its name, can be imported by this Python."""
    return importlib.util.find_spec(tracker) is not None


def install_hint(tracker: str) -> str:
    """What to type for it."""
    return f"To have them there: {sys.executable} -m pip install {tracker}"


def missing_text(tracker: str) -> str:
    """That the curves stay here, and why."""
    return f"The curves do not go to {TRACKERS[tracker]}: its package is not installed."


def tracker_findings(config: RunConfig, is_elsewhere: bool) -> list[Finding]:
    """What keeps the curves from the chosen tracker; never more than a warning.

    Args:
        config: The run.
        is_elsewhere: It will train on another machine.
    """
    if config.tracker == "none":
        return []
    if is_elsewhere:
        name = TRACKERS[config.tracker]
        message = f"A run on another machine sends its curves to {name} only if it is there too."
        hint = "They come to the run's page in any case."
        return [Finding(level="warning", code="tracker", message=message, hint=hint)]
    if not is_installed(config.tracker):
        message, hint = missing_text(config.tracker), install_hint(config.tracker)
        return [Finding(level="warning", code="tracker", message=message, hint=hint)]
    return []
