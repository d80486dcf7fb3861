"""The README.md of a snapshot: front matter that `datasets` and the Hub read, and plain words.

Everything in it comes from the manifest and the report made at the freezing. Older manifests know
less: what they do not hold is left out, never guessed.
"""

from collections.abc import Mapping
from typing import Any

from distill_studio.core.cards import (
    card_table,
    counted,
    front_matter,
    licence_fields,
    plain,
    size_category,
)

_TAGS = {
    "preference": ["preference", "dpo"],
    "unpaired": ["preference", "kto"],
    "messages": ["sft"],
    "prompt_completion": ["sft"],
}
TERMS = "terms-of-the-teachers"  # the name of a licence that nobody chose yet


def dataset_card(manifest: dict[str, Any], report: str = "") -> str:
    """The card of a snapshot from its manifest.

    Args:
        manifest: The snapshot's.
        report: Markdown on the whole dataset at that time, its headings from level 2 on.
    """
    splits = manifest["splits"]
    parts = [
        f"# {plain(manifest['name'])}",
        f"Frozen {manifest['created_at'][:10]} from the workspace `{manifest['workspace']}`"
        f" with Distill Studio, in the format `{manifest['format']}`. The answers were written by"
        " language models, and may be wrong or biased as theirs are.",
        card_table(("split", "rows"), [[n, f"{one['rows']:,}"] for n, one in splits.items()]),
        f"Content hash: `{manifest['content_hash']}`",
        *_origins(manifest),
        "## Teachers and their terms",
        teachers_table(manifest["teachers"]),
        "## What was left out",
        _left_out(manifest["counts"]["left_out"]),
        *_filters(manifest.get("filters") or {}),
        "## Benchmarks",
        _benchmarks(manifest.get("benchmarks", [])),
        *_people(manifest.get("people"), manifest.get("agreement")),
        _split_words(manifest.get("near_checked")),
    ]
    if report:
        parts += [
            report.strip(),
            "The report is about the whole workspace at that time; the snapshot holds the rows"
            " named above.",
        ]
    body = "\n\n".join(part.strip() for part in parts if part)
    return f"{front_matter(_front(manifest))}\n{body}\n"


def _split_words(checked: dict[str, int] | None) -> str:
    """What may not be on both sides; of near-duplicates as far as a search has looked."""
    names = "`manifest.json` names every row."
    if checked is None:  # frozen before it was counted
        return (
            "Rows with the same prompt, the same seed or a near-duplicate text that was found are"
            f" all on one side of the split. {names}"
        )
    if not checked["rows"]:
        return (
            "Rows with the same prompt or the same seed are all on one side of the split. No search"
            f" for near-duplicates had looked at them, so reworded ones may be on both. {names}"
        )
    rest = checked["of"] - checked["rows"]
    told = f" {rest:,} of the {checked['of']:,} answers were not compared." if rest else ""
    return (
        "Rows with the same prompt, the same seed or near-duplicate text are all on one side of"
        f" the split.{told} {names}"
    )


def _front(manifest: dict[str, Any]) -> dict[str, Any]:
    splits = manifest["splits"]
    rows = sum(split["rows"] for split in splits.values())
    files = [{"split": name, "path": split["file"]} for name, split in splits.items()]
    return {
        "pretty_name": manifest["name"],
        **licence_fields("other", TERMS),
        "task_categories": ["text-generation"],
        "size_categories": [size_category(rows)],
        "tags": [
            "distill-studio",
            "distillation",
            "synthetic",
            *_TAGS.get(manifest["format"], []),
        ],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _origins(manifest: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for title, column, key in (
        ("Where the rows come from", "source", "sources"),
        ("How they were made", "recipe", "recipes"),
    ):
        if rows := manifest.get(key):
            found += [f"## {title}", card_table((column, "rows"), counted(rows))]
    return found


def teachers_table(teachers: dict[str, Any]) -> str:
    """A manifest's teachers with their models, rows and terms, as a Markdown table."""
    return card_table(
        ("teacher", "model", "rows", "terms"),
        [
            [
                name or "not named",
                ", ".join(facts.get("models", [])) or "not recorded",
                f"{facts['rows']:,}",
                facts["licence_note"] or "not stated",
            ]
            for name, facts in teachers.items()
        ],
    )


def _left_out(reasons: dict[str, int]) -> str:
    lines = [f"- {plain(reason)}: {count:,}\n" for reason, count in reasons.items()]
    return "".join(lines) or "Nothing.\n"


def _filters(filters: dict[str, Any]) -> list[str]:
    if not filters:
        return []
    rows = card_table(("reason", "rows of the workspace"), counted(filters.get("gone", {})))
    in_force = "".join(f"- {plain(one)}\n" for one in filters.get("in_force", []))
    return [
        "## Filters",
        f"In force at the freezing:\n\n{in_force}" if in_force else "None was in force.",
        rows and f"What they and the other steps removed:\n\n{rows}",
    ]


def _benchmarks(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Not checked against any benchmark.\n"
    columns = ("benchmark", "source", "items", "rows that hold one", "rows not checked")
    rows = [
        [
            one["name"],
            one["source"],
            f"{one['items']:,}",
            f"{one['leaked']:,}",
            f"{one['unchecked']:,}",
        ]
        for one in found
    ]
    return (
        "Rows were checked against these test sets: 13 words in a row, more than half of an item"
        " in runs of 8 words, short items whole.\n\n" + card_table(columns, rows)
    )


def _people(people: int | None, agreement: Mapping[str, Any] | None) -> list[str]:
    if people is None:
        return []
    who = "one person" if people == 1 else f"{people} people"
    said = f"{who[0].upper()}{who[1:]} decided on these rows." if people else (
        "No person looked at these rows."
    )  # fmt: skip
    if agreement:
        said += (
            f" Where two or more decided on the same row of the workspace ({agreement['items']:,}"
            f" rows), they agreed on {agreement['percent']:.0%}"
            + (
                f"; Krippendorff's alpha is {agreement['alpha']:.2f}"
                if "alpha" in agreement
                else ""
            )
            + (
                f" (95% interval {agreement['low']:.2f} to {agreement['high']:.2f})"
                if "low" in agreement
                else ""
            )
            + "."
        )
    return ["## People", said]
