"""Evaluate: student beside teacher."""

from distill_studio.services.base import Service


class EvaluateService(Service):
    """Evaluate: student beside teacher."""

    word = "evaluate"
