"""The models this machine holds: resolve a model id, load once, share between jobs and pages."""

from distill_studio.core.settings import Settings


class ModelHost:
    """Local models by id, loaded on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
