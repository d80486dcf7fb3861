"""A whole HTML file around a report: its own colours, light and dark, no request to anybody."""

from pathlib import Path

from distill_studio.core.markup import esc

_ASSETS = Path(__file__).resolve().parents[2] / "assets"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLES = ("report_file.txt", "report.css")


def standalone_page(title: str, body: str) -> str:
    """The file.

    Args:
        title: Plain text.
        body: Safe HTML, in `assets/report.css`'s classes.
    """
    css = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in _STYLES)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{esc(title)}</title><style>\n{css}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
