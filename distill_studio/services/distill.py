"""Distill: train the student."""

from distill_studio.services.base import Service


class DistillService(Service):
    """Distill: train the student."""

    word = "distill"
