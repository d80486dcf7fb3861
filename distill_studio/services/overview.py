"""Overview: counts and the next step."""

from distill_studio.services.base import Service


class OverviewService(Service):
    """Overview: counts and the next step."""

    word = "overview"
