"""How events are wired: the two sets of options that nearly all of them take."""

from typing import Any

# Quick, no spinner, not listed in the API (the public endpoints are the operations).
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# The same for what a person presses, and for a handler that calls gr.Info: Gradio shows neither
# the error nor the message of an unqueued event.
SAYING: dict[str, Any] = {**QUIET, "queue": True}
