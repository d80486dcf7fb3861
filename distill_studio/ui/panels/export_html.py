"""Files to take away as links."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from distill_studio.services.export import ExportFile, json_line
from distill_studio.ui.html import empty_state, esc, note, number, size

_LONGEST = 3000  # characters of a row in a preview


def file_url(workspace: str, name: str) -> str:
    """Where the web layer serves an export."""
    return f"/files/{quote(workspace)}/exports/{quote(name)}"


def file_link(workspace: str, file: ExportFile) -> str:
    """One file as a download link with its size and rows."""
    rows = f", {number(file.rows)} rows" if file.rows is not None else ""
    return (
        f'<p class="ds-note good">Ready: <a class="ds-download" download'
        f' href="{esc(file_url(workspace, file.name))}">{esc(file.name)}</a>'
        f" ({size(file.size_bytes)}{rows})</p>{_left_out(file)}"
    )


def preview_html(rows: Sequence[dict[str, Any]]) -> str:
    """The first rows of a file, a line each."""
    if not rows:
        return note("Nothing: no row matches.")
    lines = "".join(f"<li>{esc(json_line(row), _LONGEST)}</li>" for row in rows)
    return f'<ol class="ds-file-rows">{lines}</ol>'


def _left_out(file: ExportFile) -> str:
    """Rows that the tool would not take, by reason."""
    if not file.left_out:
        return ""
    reasons = "; ".join(f"{number(count)}: {why}" for why, count in file.left_out.items())
    return note(f"Rows left out: {reasons}.", "warn")


def files_html(workspace: str, files: Sequence[ExportFile]) -> str:
    """All files made so far."""
    if not files:
        return empty_state("No files yet", "Choose above what to take away and press Export.")
    body = "".join(
        f'<tr><td><a download href="{esc(file_url(workspace, file.name))}">'
        f"{esc(file.name)}</a></td><td>{size(file.size_bytes)}</td>"
        f"<td>{file.created_at:%Y-%m-%d %H:%M}</td>"
        f'<td><button type="button" class="ds-plain-link" data-delete="{esc(file.name)}"'
        f' aria-label="Delete {esc(file.name)}">Delete</button></td></tr>'
        for file in files
    )
    return (
        '<div class="ds-table-wrap"><table class="ds-table"><thead><tr><th scope="col">File</th>'
        '<th scope="col">Size</th><th scope="col">Made</th><th></th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
