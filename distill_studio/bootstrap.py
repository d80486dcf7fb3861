"""The one place that builds things: Settings -> Studio -> FastAPI app."""

import os

from distill_studio.core.settings import Settings
from distill_studio.services.studio import Studio

# Before any vendor import: no telemetry, no silent downloads of progress bars into logs.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def build_studio(settings: Settings | None = None, *, resume_jobs: bool = True) -> Studio:
    """A studio over the data folder of `settings` (default: from the environment)."""
    return Studio(settings or Settings(), resume_jobs=resume_jobs)
