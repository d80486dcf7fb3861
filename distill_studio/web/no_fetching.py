"""Gradio fetches no URL for anybody: the app takes files, never addresses of files.

Gradio reads `http...` in the place of a file's path, in `/gradio_api/file=` and in the arguments of
an event, by way of safehttpx. That refuses most private addresses, not all (the carriers' range,
for one, where a cloud keeps its metadata), and asks a third party's name server.
"""

import safehttpx
from gradio import processing_utils


def stop_fetching() -> None:
    """Refuse every such URL from here on, in this process."""
    safehttpx.async_validate_url = _refuse
    processing_utils.PUBLIC_HOSTNAME_WHITELIST.clear()


async def _refuse(hostname: str) -> str:
    raise ValueError(f"This studio fetches no files by URL ({hostname[:100]}): upload the file.")
