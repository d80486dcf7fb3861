"""Demo: the whole pass by itself."""

from distill_studio.services.base import Service


class DemoService(Service):
    """Demo: the whole pass by itself."""

    word = "demo"
