"""What goes to the Hub for a snapshot or a model, and what to look at before."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow.parquet as pq

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Run, RunState, Snapshot
from distill_studio.curate.filters.privacy import KINDS, finds
from distill_studio.distill.card import (
    ModelFacts,
    PackageKind,
    card_files,
    model_card,
)
from distill_studio.distill.model_names import short_id
from distill_studio.distill.package import (
    ADAPTER_SETTINGS,
    public_adapter_settings,
    public_settings,
)
from distill_studio.distill.pruning import pruning_text
from distill_studio.freeze.folder import CARD, MANIFEST, read_manifest
from distill_studio.hub.checks import PushWarning, dataset_warnings, model_warnings
from distill_studio.hub.licences import family_of
from distill_studio.hub.published_card import published_card
from distill_studio.hub.repository import Upload
from distill_studio.services.model_facts import model_facts
from distill_studio.store import runs
from distill_studio.store.filter_scores import privacy_flags

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

What = Literal["snapshot", "model"]
_BATCH_ROWS = 2000
_MOST_READ = 20_000  # rows; some seconds
_MOST_RUNS = 500


class HubUploads:
    """Makes uploads and their warnings for one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._finds: dict[str, dict[str, int]] = {}  # content hash -> rows by kind
        self._reading = threading.Lock()

    def name_for(self, actor: Actor, what: What, name: str) -> str:
        """A name for the repository, without whose it is."""
        if what == "snapshot":
            return f"{self._workspace.name}-{name}"
        facts = model_facts(self._workspace, actor, self._workspace.distill.get(actor, name))
        made_from = [family_of([*one["models"], key]) for key, one in facts.teachers.items()]
        made_from.append(family_of([facts.base_model]))
        begins = next((one.begins for one in made_from if one and one.begins), "")
        return f"{begins.replace(' ', '-')}-{name}" if begins else name

    def warnings(
        self, actor: Actor, what: What, name: str, repo: str, form: PackageKind, *, private: bool
    ) -> list[PushWarning]:
        """What to look at before publishing it."""
        if what == "snapshot":
            folder = self._workspace.freeze.folder(name)
            kinds, unread = self.rows_with_finds(folder)
            return dataset_warnings(read_manifest(folder), kinds, unread, private=private)
        run, _, _ = self._workspace.distill.finished(name, form)
        facts = model_facts(self._workspace, actor, run)
        bases = [facts.base_model, *(one.base for one in facts.trainings[:1])]
        found = model_warnings(
            facts.teachers,
            [base for base in bases if base],
            repo.rsplit("/", 1)[-1],
            private=private,
            leaks=facts.benchmarks,
        )
        return found + _of_adapter(run, form, facts)

    def upload(
        self,
        actor: Actor,
        what: What,
        name: str,
        repo_id: str,
        form: PackageKind,
        *,
        private: bool,
        tag: str,
        licence: str,
        datasets: tuple[str, ...] = (),
    ) -> Upload:
        """The files, the card and the marks of what is to be in the repository.

        Raises:
            NotFound: No such snapshot or run.
            Conflict: The snapshot's files were changed, or the run has not finished.
            InvalidInput: It has no adapter.
        """
        if what == "snapshot":
            snapshot = self._workspace.freeze.get(actor, name)
            folder = self._workspace.freeze.folder(name)
            return Upload(
                repo_id=repo_id,
                kind="dataset",
                files={one.name: one for one in _data_files(folder)},
                card=self.dataset_card(snapshot, folder, licence),
                marks={"kind": what, "name": name, "content_hash": snapshot.content_hash},
                private=private,
                tag=tag,
                message=f"Snapshot {name} ({snapshot.content_hash[:12]})",
            )
        run, folder, files = self._workspace.distill.finished(name, form)
        facts = self.facts(actor, run, repo_id, licence, datasets)
        contents: dict[str, Path | bytes] = {
            **files,
            **card_files(run, facts),
            "run.json": public_settings(folder),
        }
        if ADAPTER_SETTINGS in files:
            base = "" if facts.has_own_base else facts.base_model
            contents[ADAPTER_SETTINGS] = public_adapter_settings(files[ADAPTER_SETTINGS], base)
        data = run.config.get("data", {})
        return Upload(
            repo_id=repo_id,
            kind="model",
            files=contents,
            card=model_card(run, form, facts),
            marks={
                "kind": what,
                "name": name,
                "form": form,
                "content_hash": str(data.get("content_hash", "")),
            },
            private=private,
            tag=tag,
            message=f"{run.method.upper()} run {name}",
        )

    def facts(
        self, actor: Actor, run: Run, repo_id: str, licence: str, datasets: tuple[str, ...]
    ) -> ModelFacts:
        """What the card of a model says, with the licence chosen."""
        facts = model_facts(self._workspace, actor, run)
        changed: dict[str, Any] = {"repo": repo_id, "datasets": datasets}
        if licence and licence != "other":
            changed |= {"licence": licence, "licence_name": "", "licence_link": ""}
        return facts.model_copy(update=changed)

    def dataset_card(self, snapshot: Snapshot, folder: Path, licence: str) -> str:
        """The card of the freezing, with the licence chosen and the models made since."""
        made = [
            (one.name, one.method.upper(), _losses(one))
            for one in runs.page(self._workspace.db, limit=_MOST_RUNS)
            if one.snapshot_id == snapshot.id and one.state is RunState.DONE
        ]
        return published_card((folder / CARD).read_text(encoding="utf-8"), licence, made)

    def rows_with_finds(self, folder: Path) -> tuple[dict[str, int], int]:
        """How many of a snapshot's rows hold each kind of personal data or secret, and how many
        rows nobody looked through. The first 20,000 are read here, once; of the others counts what
        the filters measured."""
        manifest = read_manifest(folder)
        key = str(manifest["content_hash"])
        with self._reading:
            if key not in self._finds:
                self._finds[key] = _rows_with_finds(folder, manifest)
            found = self._finds[key]
        ids = [one for split in manifest["splits"].values() for one in split["row_ids"]]
        rest = ids[_MOST_READ:]
        compared = manifest.get("pair_ids", {})
        flagged, unread = privacy_flags(
            self._workspace.db, [pair for one in rest for pair in compared.get(one, [one])]
        )
        total = Counter(found) + Counter(flagged)
        return {_word(kind): n for kind, n in total.most_common()}, unread


def _rows_with_finds(folder: Path, manifest: dict[str, Any]) -> dict[str, int]:
    rows: Counter[str] = Counter()
    left = _MOST_READ
    for split in manifest["splits"].values():
        with pq.ParquetFile(folder / split["file"]) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist()[:left]:
                    texts = (
                        text for key, one in row.items() if key != "id" for text in _texts(one)
                    )
                    rows.update({kind for text in texts for kind, _ in finds(text)})
                left = max(0, left - batch.num_rows)
                if not left:
                    return dict(rows)
    return dict(rows)


def _word(kind: str) -> str:
    """The kind in words; `secret` stays, as it is told apart."""
    name = KINDS[kind]
    return kind if kind == "secret" else name[0].lower() + name[1:]


def _texts(value: Any) -> list[str]:  # noqa: ANN401  (any cell)
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    return [text for one in value for text in _texts(one)] if isinstance(value, list) else []


def _data_files(folder: Path) -> list[Path]:
    splits = read_manifest(folder)["splits"].values()
    return [*(folder / split["file"] for split in splits), folder / MANIFEST]


def _of_adapter(run: Run, form: PackageKind, facts: ModelFacts) -> list[PushWarning]:
    """An adapter that nobody else can put on its base."""
    if form != "adapter":
        return []
    kept = pruning_text(run.config.get("student", {}))
    base = short_id(facts.trainings[-1].base)
    if facts.base_model and not facts.has_own_base:
        return []
    return [
        PushWarning(
            code="base_missing",
            level="warn",
            message=f"The adapter belongs on {base}"
            + (f" with {kept} kept" if kept else "")
            + ", which is on this machine only: nobody else can use it.",
            hint="Push the whole model instead.",
        )
    ]


def _losses(run: Run) -> str:
    before, after = run.metrics.get("loss_before"), run.metrics.get("loss_after")
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return "not measured"
    return f"{before:.4f} to {after:.4f}"


def checked_form(what: What, form: str) -> PackageKind:
    """The form of a model.

    Raises:
        InvalidInput: There is no such form.
    """
    if what == "model" and form not in ("merged", "adapter"):
        raise InvalidInput(f"A model has no form '{form}'.", "Use merged or adapter.")
    return "adapter" if form == "adapter" else "merged"
