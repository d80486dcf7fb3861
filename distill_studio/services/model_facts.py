"""What is known of a trained model, for its card and for the check before it is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor
from distill_studio.core.errors import NotFound
from distill_studio.core.estimate import Estimate
from distill_studio.core.records import Run
from distill_studio.distill.card import ModelFacts, Training
from distill_studio.distill.model_names import short_id
from distill_studio.distill.students import RUN_PREFIX
from distill_studio.evaluate.standings import Standing
from distill_studio.freeze.folder import read_manifest
from distill_studio.hub.checks import notices
from distill_studio.hub.licences import family_of
from distill_studio.services import origins
from distill_studio.services.lineage import ModelStep
from distill_studio.teachers.models import hub_id

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


def model_facts(workspace: Workspace, actor: Actor, run: Run) -> ModelFacts:
    """Everything known of a run's student beyond its own record.

    Raises:
        NotFound: No such run.
    """
    steps = workspace.lineage.model(actor, run.name).steps
    manifests = list(_manifests(workspace, steps))
    bases = bases_of(steps)
    family = family_of(bases)
    teachers = _teachers(steps, manifests)
    return ModelFacts(
        base_model=hub_id(steps[0].base) if steps else "",
        has_own_base=origins.has_own_base(workspace, run),
        licence=family.licence if family else "other",
        licence_name=family.licence_name if family else "",
        licence_link=family.link if family else "",
        notices=notices(teachers, bases),
        trainings=tuple(
            Training(**one.model_dump(include=set(Training.model_fields))) for one in steps
        ),
        teachers=teachers,
        sources=_added(step.facts.get("sources", {}) for step in steps),
        recipes=_added(step.facts.get("recipes", {}) for step in steps),
        benchmarks=_benchmarks(manifests),
        measured=_suites(workspace, actor, f"student:{run.name}", run.created_at)
        | workspace.benchmarks.card_rows(f"student:{run.name}", since=run.created_at),
        curve=workspace.distill.curve(actor, run.name),
        notes=tuple(one.text for one in workspace.runs.notes(actor, run.name) if one.in_card),
    )


def bases_of(steps: Sequence[ModelStep]) -> list[str]:
    """Ids of the model that a student comes from, as the Hub and as this machine call it."""
    root = steps[0].base if steps else ""
    return [one for one in dict.fromkeys((hub_id(root), short_id(root))) if one]


def _manifests(workspace: Workspace, steps: Iterable[ModelStep]) -> Iterable[dict[str, Any]]:
    for name in dict.fromkeys(step.snapshot for step in steps if step.snapshot):
        try:
            yield read_manifest(workspace.folder / "snapshots" / name)
        except NotFound:
            continue  # deleted since; what the store knows stands in the steps


def _teachers(
    steps: Sequence[ModelStep], manifests: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Who wrote the data, then whose probabilities were followed."""
    found: dict[str, dict[str, Any]] = {}
    for manifest in manifests:
        for name, facts in manifest["teachers"].items():
            known = found.setdefault(name, {"rows": 0, "models": [], "licence_note": ""})
            known["rows"] += facts["rows"]
            known["models"] = sorted({*known["models"], *map(short_id, facts.get("models", ()))})
            known["licence_note"] = known["licence_note"] or facts["licence_note"]
    named = {model for facts in found.values() for model in facts["models"]} | found.keys()
    for followed in (one for step in steps for one in step.teachers):
        if short_id(followed) not in named and not followed.startswith(RUN_PREFIX):
            found[short_id(followed)] = {
                "rows": 0,
                "models": [hub_id(followed) or short_id(followed)],
                "licence_note": "",
            }
    return found


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total.most_common())


def _benchmarks(manifests: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Each test set once, as the snapshot says of which it is worst."""
    found: dict[str, dict[str, Any]] = {}
    for one in (one for manifest in manifests for one in manifest.get("benchmarks", [])):
        known = found.get(one["name"])
        if known is None or (one["leaked"], one["unchecked"]) > (
            known["leaked"],
            known["unchecked"],
        ):
            found[one["name"]] = one
    return tuple(found.values())


def _suites(workspace: Workspace, actor: Actor, model_id: str, since: datetime) -> dict[str, str]:
    """The newest figure of each suite that the model was scored on.

    Before `since` the name was another model's.
    """
    rows: dict[str, str] = {}
    for suite in workspace.suites.page(actor):
        for trial in workspace.suites.trials(actor, suite.name):
            if trial.created_at < since or all(card.id != model_id for card in trial.models):
                continue
            found = workspace.suites.standings(actor, trial.id)
            mine = next((row for row in found.rows if row.card.id == model_id), None)
            if mine is None:
                continue
            how = suite.scorer.value.replace("_", " ")
            rows[f"Suite {suite.name} ({how}, n = {mine.items})"] = _figures(mine)
            break
    return rows


def _figures(row: Standing) -> str:
    named = (
        ("", row.score),
        ("KL to the teacher ", row.kl),
        ("loss ", row.loss),
        ("share of the teacher's quality ", row.retained),
    )
    return "; ".join(
        f"{name}{_interval(one)}"
        for name, one in named
        if one is not None and one.value is not None
    )


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
