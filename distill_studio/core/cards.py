"""What the cards of datasets and models share: front matter as YAML, tables, text made harmless."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~!$&])")
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)


def front_matter(data: Mapping[str, Any]) -> str:
    """The head of a card between two `---` lines; fields that are empty are left out."""
    kept = {name: value for name, value in data.items() if value not in (None, "", [], {})}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{text}---\n"


def size_category(rows: int) -> str:
    """The Hub's word for so many rows."""
    return next((name for below, name in _SIZES if rows < below), "n>1T")


def licence_fields(licence: str, name: str = "", link: str = "") -> dict[str, str]:
    """`license` of a front matter, and for one that is not on the Hub's list its name and link.

    Args:
        licence: An identifier of the Hub's list, or "other".
        name: Of another licence, in small letters with dashes.
        link: To its text.
    """
    if licence != "other":
        return {"license": licence}
    return {"license": licence, "license_name": name or "see-the-card", "license_link": link}


def plain(text: Any) -> str:  # noqa: ANN401  (anything printable)
    """Outside text on one line, with every sign that Markdown or HTML would act on disarmed."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return _SIGNS.sub(r"\\\1", flat)


def card_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; '' without rows. Cells are outside text, columns are ours."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def counted(rows: Mapping[str, int], most: int = 30) -> list[list[str]]:
    """Name -> rows as cells of a table, the rest of a long list on one line."""
    listed = sorted(rows.items(), key=lambda one: (-one[1], one[0]))
    cells = [[name or "not named", f"{n:,}"] for name, n in listed[:most]]
    if len(listed) > most:
        rest = sum(n for _, n in listed[most:])
        cells.append([f"and {len(listed) - most} more", f"{rest:,}"])
    return cells
