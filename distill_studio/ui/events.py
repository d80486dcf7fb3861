"""How events are wired: the sets of options that nearly all of them take."""

from typing import Any

# Quick, no spinner, not listed in the API (the public endpoints are the operations).
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# The same for what a person presses, and for a handler that calls gr.Info: Gradio shows neither
# the error nor the message of an unqueued event.
SAYING: dict[str, Any] = {**QUIET, "queue": True}
# Of a choice: one that is made while the event of the one before is under way counts as well. By
# default Gradio drops it, and the page goes on showing what the first one asked for.
LATEST: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
