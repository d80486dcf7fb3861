"""Review: people decide."""

from distill_studio.services.base import Service


class ReviewService(Service):
    """Review: people decide."""

    word = "review"
