"""Teachers: who is asked."""

from distill_studio.services.base import Service


class TeachersService(Service):
    """Teachers: who is asked."""

    word = "teachers"
