"""What may be said of a model's id outside of this machine. Torch-free."""

import re


def short_id(model_id: str) -> str:
    """What may be published of a model's id: of a folder of this machine its name alone."""
    text = str(model_id)
    is_path = text.startswith(("/", "~", ".")) or "\\" in text or text[1:2] == ":"
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1] if is_path else text
