"""The README.md of a snapshot: front matter that `datasets` and the Hub read, and plain words."""

import json
from typing import Any


def dataset_card(manifest: dict[str, Any]) -> str:
    """The card of a snapshot from its manifest."""
    splits = manifest["splits"]
    files = "".join(
        f"  - split: {name}\n    path: {split['file']}\n" for name, split in splits.items()
    )
    rows = "".join(f"| {name} | {split['rows']:,} |\n" for name, split in splits.items())
    return (
        "---\n"
        f"pretty_name: {json.dumps(manifest['name'])}\n"
        "license: other\n"
        "tags:\n- distill-studio\n- distillation\n"
        f"configs:\n- config_name: default\n  data_files:\n{files}"
        "---\n\n"
        f"# {manifest['name']}\n\n"
        f"Frozen {manifest['created_at'][:10]} from the workspace `{manifest['workspace']}`"
        f" with Distill Studio, in the format `{manifest['format']}`.\n\n"
        f"| split | rows |\n|---|---|\n{rows}\n"
        f"Content hash: `{manifest['content_hash']}`\n\n"
        f"## Teachers and their terms\n\n{_teachers(manifest['teachers'])}\n"
        f"## What was left out\n\n{_left_out(manifest['counts']['left_out'])}\n"
        f"## Benchmarks\n\n{_benchmarks(manifest.get('benchmarks', []))}\n"
        "Rows with the same prompt, the same seed or near-duplicate text are all on one side of"
        " the split. `manifest.json` names every row.\n"
    )


def _teachers(teachers: dict[str, Any]) -> str:
    lines = [
        f"| {_cell(name or 'not named')} | {facts['rows']:,} |"
        f" {_cell(facts['licence_note'] or 'not stated')} |\n"
        for name, facts in teachers.items()
    ]
    return "| teacher | rows | terms |\n|---|---|---|\n" + "".join(lines)


def _left_out(reasons: dict[str, int]) -> str:
    lines = [f"- {_cell(reason)}: {count:,}\n" for reason, count in reasons.items()]
    return "".join(lines) or "Nothing.\n"


def _benchmarks(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Not checked against any benchmark.\n"
    lines = [
        f"| {_cell(one['name'])} | {_cell(one['source'])} | {one['items']:,} | {one['leaked']:,} |"
        f" {one['unchecked']:,} |\n"
        for one in found
    ]
    return (
        "Rows were checked against these test sets: 13 words in a row, more than half of an item"
        " in runs of 8 words, short items whole.\n\n"
        "| benchmark | source | items | rows that hold one | rows not checked |\n"
        "|---|---|---|---|---|\n" + "".join(lines)
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
