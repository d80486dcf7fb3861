"""Generate: prompts to pairs."""

from distill_studio.services.base import Service


class GenerateService(Service):
    """Generate: prompts to pairs."""

    word = "generate"
