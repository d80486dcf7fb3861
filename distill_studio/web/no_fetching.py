"""Gradio fetches no URL and takes no path for anybody: the app takes files, never their addresses.

Gradio reads `http...` in the place of a file's path, in `/gradio_api/file=` and in the arguments of
an event, by way of safehttpx. That refuses most private addresses, not all (the carriers' range,
for one, where a cloud keeps its metadata), and asks a third party's name server.
"""

import gradio as gr
import safehttpx
from gradio import processing_utils


def stop_fetching() -> None:
    """Refuse every such URL from here on, in this process."""
    safehttpx.async_validate_url = _refuse
    processing_utils.PUBLIC_HOSTNAME_WHITELIST.clear()


def take_sent_files_only(demo: gr.Blocks) -> None:
    """Have an event's arguments name no file but those in Gradio's own folder.

    Gradio copies what an argument of any event names as a file (`{"path": ..., "meta": ...}`) to
    its folder, where it can be fetched. It looks whether that file was sent only in an app that
    `launch` has started; one that is mounted would copy any file of this machine, `server.json`
    with the owner's token among them.
    """
    demo.has_launched = True


async def _refuse(hostname: str) -> str:
    raise ValueError(f"This studio fetches no files by URL ({hostname[:100]}): upload the file.")
