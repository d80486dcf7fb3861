"""The comparison with other datasets as safe HTML. Pure; every outside text passes `esc`."""

from collections.abc import Sequence

from distill_studio.curate.dedup.reports import ReferenceAdded, ReferencePair, ReferenceSet
from distill_studio.ui.html import chip, esc, marked, note, number, table

_PROBLEMS = 5
_FIELDS = {"both": "prompt and answer", "prompt": "prompt", "answer": "answer"}


def sets_html(sets: Sequence[ReferenceSet]) -> str:
    """The other datasets, and how much of each is in the rows."""
    rows = [
        [
            f"<strong>{esc(one.name, 60)}</strong> <span class='ds-note'>{esc(one.source)}</span>",
            number(one.items),
            number(one.rows),
            number(one.exact),
            _compared(one.uncompared),
        ]
        for one in sets
    ]
    if not rows:
        return note("Nothing to compare with yet: add a file, or another workspace.")
    line = f"Rows count where the {_FIELDS[sets[0].field]} is at least {sets[0].threshold:g} alike."
    heads = ["Dataset", "Its rows", "Rows here near to it", "Of them the same text", "Compared"]
    return table(heads, rows) + note(line)


def added_html(added: ReferenceAdded) -> str:
    """What was read of a dataset."""
    one = added.reference
    said = f"Added “{esc(one.name)}”: {number(one.items)} rows, none of which becomes a row here."
    text = f"<p class='ds-note'>{said}</p>"
    if added.problem_count:
        shown = "; ".join(added.problems[:_PROBLEMS])
        text += note(f"{number(added.problem_count)} rows could not be read. {shown}", "warn")
    return text


def pair_html(name: str, pair: ReferencePair) -> str:
    """A row beside the row of the other dataset, differences marked."""
    alike = "the same text" if pair.is_exact else f"{pair.similarity:.3f} alike"
    status = chip(pair.row.status, "good" if pair.row.status == "accepted" else "")
    titles = (("left", f"Row here {status}"), ("right", f"{esc(name)}, row {pair.item + 1}"))
    sides = "".join(
        f"<section class='ds-card'><header>{title}</header>"
        f"<div class='ds-txt ds-curate-prompt'>{marked(pair.prompt_diff, side)}</div>"
        f"<div class='ds-txt'>{marked(pair.answer_diff, side)}</div></section>"
        for side, title in titles
    )
    top = f"<div class='ds-curate-top'>{chip(alike, 'info')}</div>"
    return f"{top}<div class='ds-curate-pair'>{sides}</div>"


def _compared(uncompared: int | None) -> str:
    if uncompared is None:
        return chip("equal texts only", "warn")
    return chip(f"{number(uncompared)} texts left", "warn") if uncompared else chip("all", "good")
