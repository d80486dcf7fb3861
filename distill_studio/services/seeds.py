"""Seeds: where prompts come from."""

from distill_studio.services.base import Service


class SeedsService(Service):
    """Seeds: where prompts come from."""

    word = "seeds"
