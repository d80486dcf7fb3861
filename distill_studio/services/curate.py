"""Curate: keep what is good."""

from distill_studio.services.base import Service


class CurateService(Service):
    """Curate: keep what is good."""

    word = "curate"
