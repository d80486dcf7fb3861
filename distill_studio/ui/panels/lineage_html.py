"""A model's lineage as safe HTML: from the base through every training, and the same as JSON."""

from distill_studio.services.lineage import ModelLineage, ModelStep
from distill_studio.ui.html import chip, esc, number

_FACTS = {
    "teachers": "answers of",
    "recipes": "made by",
    "sources": "from",
    "people": "decided by",
}
_MOST = 6  # names of one kind


def lineage_html(found: ModelLineage) -> str:
    """Base, then data and training of each step, then what goes on from the model."""
    first = found.steps[0]
    boxes = [_box("base", esc(first.base.removeprefix("run:")), "")]
    for step in found.steps:
        boxes.append(_data(step))
        boxes.append(_training(step))
    if found.children:
        boxes.append(_box("goes on as", esc(", ".join(found.children)), ""))
    if found.pupils:
        boxes.append(_box("taught", esc(", ".join(found.pupils)), ""))
    text = esc(found.model_dump_json(indent=2))
    return (
        f'<ol class="ds-lineage" aria-label="Where this model comes from">{"".join(boxes)}</ol>'
        f'<details><summary>As JSON</summary><pre class="ds-log">{text}</pre></details>'
    )


def _data(step: ModelStep) -> str:
    if not step.snapshot:
        return _box("data", "a snapshot that is gone", "")
    facts = "".join(
        f"<li>{word} {_names(step.facts.get(kind, {}))}</li>"
        for kind, word in _FACTS.items()
        if step.facts.get(kind)
    )
    head = f"{esc(step.snapshot)} {chip(f'{number(step.rows)} rows')}"
    return _box("data", head, f"<ul>{facts}</ul><code>{esc(step.content_hash[:16])}</code>")


def _training(step: ModelStep) -> str:
    taught = f"<ul><li>following {esc(', '.join(step.teachers))}</li></ul>" if step.teachers else ""
    head = f"{esc(step.run)} {chip(step.method.upper(), 'info')}"
    return _box("training", head + ("" if step.state == "done" else chip(step.state)), taught)


def _names(counts: dict[str, int]) -> str:
    shown = [f"{esc(name)} ({number(n)})" for name, n in list(counts.items())[:_MOST]]
    more = len(counts) - _MOST
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _box(kind: str, head: str, body: str) -> str:
    return f'<li class="ds-lineage-{kind.split()[0]}"><b>{kind}</b> <span>{head}</span>{body}</li>'
