"""One adapter per method around TRL's trainers, the only code that imports `trl`.

`TRAINERS[method](setup)` builds a trainer. The registry holds module names, so that importing
it loads neither torch nor trl; a test compares its keys with the tags of `RunConfig`.
"""

import importlib
from typing import Any

from distill_studio.distill.trainers.setup import Setup

TRAINERS: dict[str, str] = {
    "sft": "distill_studio.distill.trainers.sft",
    "dpo": "distill_studio.distill.trainers.dpo",
    "kto": "distill_studio.distill.trainers.kto",
    "logit": "distill_studio.distill.trainers.logit",
    "on_policy": "distill_studio.distill.trainers.on_policy",
}


def build_trainer(setup: Setup) -> Any:  # noqa: ANN401  (a transformers Trainer)
    """The trainer for `setup.config.method`, its data encoded, ready to evaluate and train.

    Raises:
        InvalidInput: No row of the snapshot can be learned.
    """
    return importlib.import_module(TRAINERS[setup.config.method]).build(setup)
