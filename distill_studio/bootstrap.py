"""The one place that builds things: environment -> Settings -> Studio -> web app."""

import os
import sys

# Before any vendor import: no telemetry.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")  # jobs report their progress themselves

from distill_studio.core.errors import StudioError
from distill_studio.core.settings import Settings
from distill_studio.services.studio import Studio


def build_studio(settings: Settings | None = None, *, resume_jobs: bool = True) -> Studio:
    """A studio over the data folder of `settings` (default: from the environment)."""
    return Studio(settings or Settings(), resume_jobs=resume_jobs)


def run_app(settings: Settings | None = None) -> int:
    """Serve the app until it is stopped; returns the exit status."""
    from distill_studio.web.server import serve  # noqa: PLC0415  (Gradio loads only for the app)

    try:
        serve(settings or Settings())
    except StudioError as err:
        print(err, file=sys.stderr)  # noqa: T201
        return 1
    return 0
