"""Freeze: a dataset that never changes."""

from distill_studio.services.base import Service


class FreezeService(Service):
    """Freeze: a dataset that never changes."""

    word = "freeze"
