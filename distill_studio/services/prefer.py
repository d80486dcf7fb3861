"""Prefer: which of two answers is better."""

from distill_studio.services.base import Service


class PreferService(Service):
    """Prefer: which of two answers is better."""

    word = "prefer"
