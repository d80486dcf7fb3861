"""What to look at before a dataset or a model goes to the Hub. Pure; start at `dataset_warnings`.

A warning of level `warn` needs an explicit yes ("push all the same"); `info` is only shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.records.base import Record
from distill_studio.hub.licences import Family, family_of, is_limiting

_SECRET = "secret"
_CUT = 200


class PushWarning(Record):
    """Something to look at before publishing."""

    code: str = Field(description="terms, unknown_terms, naming, personal, secrets, public, ...")
    level: Literal["warn", "info"] = Field(description="warn needs an explicit yes.")
    message: str = Field(description="What it is.")
    hint: str = Field(default="", description="What to do about it; may be empty.")


def dataset_warnings(
    manifest: Mapping[str, Any], finds: Mapping[str, int], unread: int = 0, *, private: bool
) -> list[PushWarning]:
    """Of a snapshot.

    Args:
        manifest: The snapshot's.
        finds: Rows by kind of personal data found in them, in words; of keys as `secret`.
        unread: Rows that nobody looked through for these.
        private: Whether it goes to a private repository.
    """
    return [
        *_found(finds),
        *_unread(unread),
        *teacher_warnings(manifest["teachers"]),
        *_named(_families(manifest["teachers"]), ""),
        *_leaks(manifest.get("benchmarks", [])),
        *_public(private),
    ]


def model_warnings(
    teachers: Mapping[str, Mapping[str, Any]],
    bases: Sequence[str],
    repo_name: str,
    *,
    private: bool,
    leaks: Sequence[Mapping[str, Any]] = (),
) -> list[PushWarning]:
    """Of a trained model.

    Args:
        teachers: Who wrote its data or whose probabilities it followed, with `rows`, `models` and
            `licence_note`.
        bases: Ids of the models that it was made from.
        repo_name: The name it is to have, without whose it is.
        private: Whether it goes to a private repository.
        leaks: Test sets that its data was checked against.
    """
    made_from = _families(teachers)
    base = family_of(bases)
    if base is not None and base not in made_from:
        made_from.append(base)
    return [
        *teacher_warnings(teachers),
        *_base(base),
        *_named(made_from, repo_name),
        *_leaks(leaks),
        *_public(private),
    ]


def teacher_warnings(teachers: Mapping[str, Mapping[str, Any]]) -> list[PushWarning]:
    """Teachers whose terms forbid or limit training on their answers, or are not known."""
    found: list[PushWarning] = []
    unknown: list[str] = []
    for name, facts in teachers.items():
        shown = name or "a teacher without a name"
        note = str(facts.get("licence_note") or "").strip()
        family = family_of([*facts.get("models", ()), name])
        if family is not None and family.outputs in ("forbidden", "noncommercial", "passed_on"):
            found.append(_terms(shown, facts, f"{family.says} ({family.source})"))
        elif note and is_limiting(note):
            found.append(_terms(shown, facts, f"Noted of its terms: {note[:_CUT]}"))
        elif not note and family is None:
            unknown.append(shown)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        found.append(
            PushWarning(
                code="unknown_terms",
                level="warn",
                message=f"No terms are stated for: {', '.join(unknown[:5])}{more}.",
                hint="Read what they say of training on answers and of sharing them, and note it"
                " with the teacher.",
            )
        )
    return found


def notices(teachers: Mapping[str, Mapping[str, Any]], bases: Sequence[str]) -> tuple[str, ...]:
    """What the licences of teachers and base want shown with a model, each once."""
    made_from = [*_families(teachers), *([base] if (base := family_of(bases)) else [])]
    return tuple(dict.fromkeys(family.notice for family in made_from if family.notice))


def _terms(name: str, facts: Mapping[str, Any], says: str) -> PushWarning:
    rows = facts.get("rows")
    return PushWarning(
        code="terms",
        level="warn",
        message=f"{name}{f' ({rows:,} rows)' if rows else ''}: {says}",
        hint="Leave its rows out, or make sure that you may.",
    )


def _base(base: Family | None) -> list[PushWarning]:
    if base is None or base.outputs == "free":
        return []
    return [
        PushWarning(
            code="base_terms",
            level="info",
            message=f"It is made from {base.name}, whose licence goes with it: {base.says}",
            hint=base.source,
        )
    ]


def _named(made_from: Iterable[Family], repo_name: str) -> list[PushWarning]:
    """Licences that want a name or a line; of a dataset (no name) only told."""
    found = []
    for family in made_from:
        if family.outputs == "free" or not (family.begins or family.notice):
            continue
        is_wrong = bool(repo_name and family.begins and not family.is_named_by(repo_name))
        if not is_wrong and repo_name:
            continue  # the card shows the line by itself
        found.append(
            PushWarning(
                code="naming",
                level="warn" if is_wrong else "info",
                message=f"{family.name}: {family.says}",
                hint=f'Begin the name with "{family.begins}".' if is_wrong else family.source,
            )
        )
    return found


def _found(finds: Mapping[str, int]) -> list[PushWarning]:
    found = []
    people = {kind: rows for kind, rows in finds.items() if kind != _SECRET and rows}
    if secrets := finds.get(_SECRET, 0):
        found.append(
            PushWarning(
                code="secrets",
                level="warn",
                message=f"{secrets:,} rows hold what looks like a key or a password.",
                hint="Look at them on the Curate tab, drop or edit them, and freeze again.",
            )
        )
    if people:
        kinds = ", ".join(f"{kind} in {rows:,} rows" for kind, rows in people.items())
        found.append(
            PushWarning(
                code="personal",
                level="warn",
                message=f"Rows hold what looks like personal data: {kinds}.",
                hint="Look at them on the Curate tab, drop or edit them, and freeze again.",
            )
        )
    return found


def _unread(rows: int) -> list[PushWarning]:
    if not rows:
        return []
    return [
        PushWarning(
            code="unread",
            level="warn",
            message=f"{rows:,} rows were not looked through for personal data and secrets.",
            hint="Apply the filters on the Curate tab: they look at every row.",
        )
    ]


def _leaks(benchmarks: Sequence[Mapping[str, Any]]) -> list[PushWarning]:
    leaked = [f"{one['name']} ({one['leaked']:,} rows)" for one in benchmarks if one["leaked"]]
    if not leaked:
        return []
    return [
        PushWarning(
            code="leaks",
            level="warn",
            message=f"Rows hold items of test sets: {', '.join(leaked)}.",
            hint="Whoever trains on it and measures there is misled.",
        )
    ]


def _public(private: bool) -> list[PushWarning]:
    if private:
        return []
    return [
        PushWarning(
            code="public",
            level="warn",
            message="It will be public: everybody can read and copy it, also after it is deleted.",
            hint="Keep it private first, look at it on the Hub, and open it there.",
        )
    ]


def _families(teachers: Mapping[str, Mapping[str, Any]]) -> list[Family]:
    found: list[Family] = []
    for name, facts in teachers.items():
        family = family_of([*facts.get("models", ()), name])
        if family is not None and family not in found:
            found.append(family)
    return found
