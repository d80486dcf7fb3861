"""Export: files to take away."""

from distill_studio.services.base import Service


class ExportService(Service):
    """Export: files to take away."""

    word = "export"
