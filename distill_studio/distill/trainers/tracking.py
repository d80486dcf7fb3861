"""Sends what the trainer logs to a tracker as well, through accelerate's own trackers.

Names are those of transformers: `train/loss`, `train/grad_norm`, `eval/kl`; the step is the update.
`events.jsonl` stays what the studio reads. Whatever a tracker raises ends the mirror with a note,
never the run. Keys are a tracker's own business: it finds them in the environment or its own file.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from transformers import TrainerCallback
from transformers.integrations import rewrite_logs  # type: ignore[attr-defined]

from distill_studio.core.ids import content_hash
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.settings_text import settings_of, value_text
from distill_studio.distill.trackers import TRACKERS, install_hint, is_installed, missing_text
from distill_studio.distill.trainers.setup import Setup

logger = logging.getLogger(__name__)
PROJECT = "distill-studio"
FOLDER = "tensorboard"  # in the run's folder
# Of the clock; and a count that begins again when a run goes on.
_NO_CURVES = ("_runtime", "_per_second", "num_tokens")


@contextmanager
def tracked(setup: Setup) -> Iterator[None]:
    """Adds the mirror to the callbacks, where a tracker was chosen, and closes it at the end."""
    if setup.config.tracker == "none" or not setup.ranks.is_first:
        yield
        return
    if not is_installed(setup.config.tracker):
        setup.say(f"{missing_text(setup.config.tracker)} {install_hint(setup.config.tracker)}")
        yield
        return
    mirror = TrackerCallback(setup)
    setup.callbacks.append(mirror)
    try:
        yield
    finally:
        mirror.close()


class TrackerCallback(TrainerCallback):
    """Opens the tracker when training begins, at the update it goes on from; then each log."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._tracker: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Open it; a run that goes on writes on in the same curves."""
        self._guarded(lambda: self._open(int(state.global_step)))

    def on_log(
        self,
        args: Any,  # noqa: ANN401
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        logs: dict[str, Any] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """An update or held-out figures; the summary at the end is none."""
        values = curves_of(logs or {})
        if values and self._tracker is not None:
            self._guarded(lambda: self._tracker.log(values, step=int(state.global_step)))

    def close(self) -> None:
        """Write what is still on its way."""
        if self._tracker is not None:
            self._guarded(self._tracker.finish)

    def _open(self, resumed_from: int) -> None:
        config = self._setup.config
        kind = LOGGER_TYPE_TO_CLASS[config.tracker]
        tracker = kind(**_arguments(self._setup, resumed_from))
        tracker.start()
        if not resumed_from or config.tracker != "tensorboard":  # which would draw one more run
            tracker.store_init_configuration(_told(config.model_dump(mode="json")))
        self._tracker = tracker
        self._setup.say(f"The curves go to {TRACKERS[config.tracker]} as well.")

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as err:
            logger.warning("the tracker failed", exc_info=True)
            name = TRACKERS[self._setup.config.tracker]
            self._setup.say(f"From here on the curves do not go to {name}: {err}"[:500])
            self._tracker = None


def curves_of(logs: Mapping[str, Any]) -> dict[str, float]:
    """What a trainer logs of an update, or of an evaluation, under the names of a tracker."""
    is_eval = "eval_loss" in logs
    if not is_eval and "loss" not in logs:
        return {}
    figures = {
        name: float(value)
        for name, value in logs.items()
        if isinstance(value, int | float) and not name.endswith(_NO_CURVES)
    }
    if is_eval:
        figures = {name: value for name, value in figures.items() if name.startswith("eval_")}
    named: dict[str, float] = rewrite_logs(figures)
    return named


def _arguments(setup: Setup, resumed_from: int) -> dict[str, Any]:
    """What accelerate's tracker is made with."""
    config = setup.config
    if config.tracker == "tensorboard":
        # What an earlier attempt wrote beyond the checkpoint is not shown.
        purge = resumed_from + 1 if resumed_from else 0
        return {"run_name": FOLDER, "logging_dir": str(setup.folder), "purge_step": purge}
    if config.tracker == "trackio":
        return {
            "run_name": os.environ.get("TRACKIO_PROJECT", PROJECT),
            # Its own mark: Trackio would go on in the curves of an earlier run of the same name.
            "name": f"{config.name}-{_run_id(setup)[:6]}",
            "resume": "allow",
            "embed": False,
            "auto_log_cpu": False,
            "auto_log_gpu": False,
        }
    return {
        "run_name": os.environ.get("WANDB_PROJECT", PROJECT),
        "name": config.name,
        "id": _run_id(setup),
        "resume": "allow",
        "dir": str(setup.folder),
        # Curves and settings alone: what is printed may quote rows.
        "settings": {"console": "off", "disable_git": True, "save_code": False},
    }


def _run_id(setup: Setup) -> str:
    """The same for all attempts of a run, another for a later run of the same name."""
    events, _ = read_events(setup.folder / EVENTS_FILE)
    return content_hash(f"{setup.folder}|{events[0].at if events else 0}")[:16]


def _told(config: Mapping[str, Any]) -> dict[str, str | float]:
    """The settings as the model's card tells them: no folder of this machine."""
    return {
        path: value if isinstance(value, int | float) else value_text(path, value)
        for path, value in settings_of(config).items()
    }
