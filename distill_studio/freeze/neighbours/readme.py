"""The README.md of an export for a neighbour: the one command, and where the rows come from."""

from typing import Any

from distill_studio.freeze.card import teachers_table
from distill_studio.freeze.neighbours import Neighbour
from distill_studio.freeze.neighbours.settings import Bundle

_METHODS = {
    "sft": "supervised fine-tuning on the answers",
    "dpo": "DPO on chosen and rejected answers",
    "kto": "KTO on accepted and rejected answers",
}


def readme(
    bundle: Bundle, neighbour: Neighbour, manifest: dict[str, Any], left_out: dict[str, int]
) -> str:
    """The text.

    Args:
        bundle: What was written.
        neighbour: For which tool.
        manifest: The snapshot's.
        left_out: Rows that the tool would not take, by reason.
    """
    chosen = bundle.settings
    rows = "".join(
        f"| {split} | `{split}.jsonl` | {count:,} |\n" for split, count in bundle.rows.items()
    )
    learned = "the last answer of each conversation" if chosen.last_turn_only else "every answer"
    what = f"{_METHODS[chosen.method]}, LoRA of rank {chosen.lora_r}"
    if chosen.method == "sft":
        what += f", {learned} learned"
    thoughts = (
        "Answers hold their reasoning in `<think>`."
        if bundle.has_reasoning
        else "No answer holds reasoning in `<think>`."
    )
    return (
        f"# {bundle.name} for {neighbour.label}\n\n"
        f"In this folder, on a machine with a GPU and {neighbour.label}"
        f" (how to install it: <{neighbour.home}>):\n\n"
        f"```sh\n{neighbour.command}\n```\n\n"
        f"It trains `{_code(chosen.model)}`: {what}. The result lies in `{neighbour.result}`."
        f" Written for {neighbour.label} {neighbour.version}.\n\n"
        "The settings are Distill Studio's own for students of some hundred million weights; larger"
        " models want a lower learning rate (with LoRA near 7B: 1e-4 to 2e-4 for SFT, 5e-6 for DPO"
        f" and KTO). Rows are cut at {chosen.max_length:,} tokens.\n\n"
        f"| split | file | rows |\n|---|---|---|\n{rows}\n"
        f"{thoughts}{_left_out(left_out)}\n\n"
        f"Snapshot `{bundle.name}`, frozen {manifest['created_at'][:10]} from the workspace"
        f" `{manifest['workspace']}` in the format `{manifest['format']}`; content hash"
        f" `{bundle.content_hash}`.\n\n"
        f"## Teachers and their terms\n\n{teachers_table(manifest['teachers'])}"
    )


def _left_out(reasons: dict[str, int]) -> str:
    if not reasons:
        return ""
    lines = "".join(f"\n- {reason}: {count:,}" for reason, count in reasons.items())
    return f"\n\nRows that are not here, because the tool would not take them:\n{lines}"


def _code(text: str) -> str:
    return text.replace("`", "'")
