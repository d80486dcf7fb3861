"""Export: files to take away, in `<workspace>/exports/`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Job, Pair, Preference, Record, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill.llama_cpp.number_formats import GgufType
from distill_studio.freeze.folder import read_manifest
from distill_studio.freeze.formats import STYLES, preference
from distill_studio.freeze.options import FreezeOptions
from distill_studio.services.base import Service
from distill_studio.services.gguf_export import GgufChoice, GgufExports
from distill_studio.services.neighbour_export import NeighbourExport
from distill_studio.store import pairs as pair_table
from distill_studio.store import preferences as preference_table
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

FileFormat = Literal["jsonl", "parquet"]
PairStyle = Literal["messages", "prompt_completion", "alpaca", "sharegpt"]
SnapshotFormat = Literal["zip", "jsonl", "parquet"]
StudentKind = Literal["merged", "adapter"]
Tool = Literal["llama_factory", "axolotl", "unsloth"]
_PAGE_ROWS = 1000
_FIRST_ROWS = 3  # of a preview
_PAIR_FACTS = (
    "seed_id", "reasoning", "topic", "source", "teacher", "model", "recipe", "status",
    "curation", "reject_reason", "decided_by",
)  # fmt: skip
_PREFERENCE_FACTS = (
    "seed_id", "topic", "chosen_teacher", "rejected_teacher", "outcome", "source", "user",
    "chosen_pair_id", "rejected_pair_id",
)  # fmt: skip

Rows = list[dict[str, Any]]


class ExportFile(Record):
    """A file in the exports folder."""

    name: str = Field(description="File name.")
    size_bytes: int = Field(description="Its size.")
    rows: int | None = Field(default=None, description="Rows, known when it was just made.")
    created_at: datetime = Field(description="UTC.")
    left_out: dict[str, int] = Field(
        default_factory=dict, description="Rows that are not in it, by reason; just made."
    )


class ExportPreview(Record):
    """What an export would hold."""

    rows: int = Field(description="Rows that match.")
    first: list[dict[str, Any]] = Field(description="The first few as they would be written.")


class ExportService(Service):
    """Export: pairs, preferences and snapshots as files."""

    word = "export"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._gguf = GgufExports(workspace)

    def pairs(
        self,
        actor: Actor,
        format: FileFormat = "jsonl",
        query: PairQuery | None = None,
        style: PairStyle = "messages",
        ids: list[str] | None = None,
        include_reasoning: bool = False,
    ) -> ExportFile:
        """Write all pairs that match a query (or exactly the given ids), oldest first."""
        actor.require(Role.VIEWER)
        wanted = self.workspace.labelling.visible_pairs(actor, query or PairQuery())
        pages = (
            _pair_rows(page, style, include_reasoning) for page in self._pair_pages(wanted, ids)
        )
        return self._write(f"pairs-{style}", format, _pair_schema(style), pages)

    def preview_pairs(
        self,
        actor: Actor,
        query: PairQuery | None = None,
        style: PairStyle = "messages",
        include_reasoning: bool = False,
    ) -> ExportPreview:
        """How many rows `pairs` would write, and the first of them; writes nothing."""
        actor.require(Role.VIEWER)
        wanted = self.workspace.labelling.visible_pairs(actor, query or PairQuery())
        page = next(self._pair_pages(wanted, None, _FIRST_ROWS), [])
        rows = _pair_rows(page, style, include_reasoning)
        return ExportPreview(
            rows=pair_table.count(self.db, wanted), first=_ordered(_pair_schema(style), rows)
        )

    def preferences(
        self, actor: Actor, format: FileFormat = "jsonl", query: PreferenceQuery | None = None
    ) -> ExportFile:
        """Write all preferences that match a query; ties say so in `outcome`.

        A reviewer from whom others' are kept gets their own alone.
        """
        actor.require(Role.VIEWER)
        wanted = self.workspace.labelling.visible(actor, query or PreferenceQuery())
        pages = self._preference_pages(wanted)
        return self._write("preferences", format, _PREFERENCE_SCHEMA, pages)

    def preview_preferences(
        self, actor: Actor, query: PreferenceQuery | None = None
    ) -> ExportPreview:
        """How many rows `preferences` would write, and the first of them; writes nothing."""
        actor.require(Role.VIEWER)
        wanted = self.workspace.labelling.visible(actor, query or PreferenceQuery())
        rows = next(self._preference_pages(wanted, _FIRST_ROWS), [])
        return ExportPreview(
            rows=preference_table.count(self.db, wanted), first=_ordered(_PREFERENCE_SCHEMA, rows)
        )

    def snapshot(self, actor: Actor, name: str, format: SnapshotFormat = "zip") -> ExportFile:
        """Write a snapshot: the whole folder as a ZIP, or its rows with their split."""
        actor.require(Role.VIEWER)
        folder = self.workspace.freeze.folder(name)
        if format == "zip":
            return self._zip(folder)
        schema = pa.schema([("split", pa.string())])
        splits = read_manifest(folder)["splits"]
        for split in splits.values():
            schema = pa.unify_schemas([schema, pq.read_schema(folder / split["file"])])
        return self._write(f"snapshot-{name}", format, schema, _split_pages(folder, splits))

    def neighbour(self, actor: Actor, name: str, tool: Tool, model: str = "") -> ExportFile:
        """Write a snapshot as a ZIP that LLaMA-Factory, Axolotl or Unsloth trains on as it is.

        Rows in the tool's form, a configuration with the studio's own settings, and a README with
        the one command. `model` is who is to learn: an id on the Hub or a folder where the tool
        runs; '' = the starter model. Rows that the tool would not take are left out and counted.
        """
        actor.require(Role.VIEWER)
        made = NeighbourExport(self.workspace.freeze.folder(name), tool, model)
        path = self._new_path(f"{tool.replace('_', '-')}-{name}", "zip")
        part = path.with_name(f".{path.name}.part")
        try:
            made.write(part)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        update = {"rows": made.rows.total(), "left_out": dict(made.left_out)}
        return _described(path).model_copy(update=update)

    def student(self, actor: Actor, run: str, kind: StudentKind = "merged") -> ExportFile:
        """Pack a trained student: `merged` (a folder that transformers loads) or `adapter`."""
        actor.require(Role.VIEWER)
        name = self.workspace.distill.package(actor, run, kind)
        return _described(self._folder / name)

    def gguf_types(self, actor: Actor, run: str) -> list[GgufChoice]:
        """The number formats a student can be written in as GGUF, each with its size."""
        actor.require(Role.VIEWER)
        return self._gguf.choices(run)

    def gguf(self, actor: Actor, run: str, type: GgufType = "f16") -> Job:
        """Write a student as a GGUF file, for llama.cpp, Ollama and LM Studio.

        A job; its result names the file among the exports.
        """
        actor.require(Role.REVIEWER)
        return self._gguf.submit(actor, run, type)

    def students(self, actor: Actor) -> list[str]:
        """Names of the runs that have a student, newest first."""
        actor.require(Role.VIEWER)
        runs = self.workspace.distill.page(actor, limit=500)
        return [run.name for run in runs if run.state is RunState.DONE]

    def page(self, actor: Actor, limit: int = 100) -> list[ExportFile]:
        """The files made so far, newest first."""
        actor.require(Role.VIEWER)
        found = [_described(p) for p in self._folder.iterdir() if _is_export(p)]
        return sorted(found, key=lambda f: (f.created_at, f.name), reverse=True)[:limit]

    def delete(self, actor: Actor, name: str) -> None:
        """Delete an exported file."""
        actor.require(Role.REVIEWER)
        path = self._folder / Path(name).name
        if not _is_export(path):
            raise NotFound(f"There is no export '{name}'.")
        path.unlink()

    # -- for other services ---------------------------------------------------------------

    def write_text(self, stem: str, ending: str, text: str) -> ExportFile:
        """Put a text among the exports, under a new name."""
        path = self._new_path(stem, ending)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.rename(path)
        return _described(path)

    # -- inside ---------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return self.workspace.folder / "exports"

    def _pair_pages(
        self, query: PairQuery, ids: list[str] | None, page_rows: int = _PAGE_ROWS
    ) -> Iterator[list[Pair]]:
        if ids is not None:
            for start in range(0, len(ids), _PAGE_ROWS):
                yield pair_table.get(self.db, ids[start : start + _PAGE_ROWS])
            return
        after = ""
        while True:
            where = {"after": after, "limit": page_rows, "newest_first": False}
            page = pair_table.page(self.db, query.model_copy(update=where))
            if page:
                yield page
            if len(page) < page_rows:
                return
            after = page[-1].id

    def _preference_pages(
        self, query: PreferenceQuery, page_rows: int = _PAGE_ROWS
    ) -> Iterator[Rows]:
        after = ""
        while True:
            where = {"after": after, "limit": page_rows, "newest_first": False}
            page = preference_table.page(self.db, query.model_copy(update=where))
            wanted = [i for p in page for i in (p.chosen_pair_id, p.rejected_pair_id)]
            found = {pair.id: pair for pair in pair_table.get(self.db, wanted)}
            yield [
                _preference_row(p, found[p.chosen_pair_id], found[p.rejected_pair_id])
                for p in page
                if p.chosen_pair_id in found and p.rejected_pair_id in found
            ]
            if len(page) < page_rows:
                return
            after = page[-1].id

    def _write(
        self, stem: str, format_: FileFormat, schema: pa.Schema, pages: Iterator[Rows]
    ) -> ExportFile:
        path = self._new_path(stem, format_)
        part = path.with_name(f".{path.name}.part")
        try:
            rows = (_write_jsonl if format_ == "jsonl" else _write_parquet)(part, schema, pages)
            if not rows:
                raise InvalidInput("There is nothing to export: no row matches.")
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return _described(path).model_copy(update={"rows": rows})

    def _zip(self, folder: Path) -> ExportFile:
        path = self._new_path(f"snapshot-{folder.name}", "zip")
        part = path.with_name(f".{path.name}.part")
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed
                for file in sorted(folder.iterdir()):
                    archive.write(file, f"{folder.name}/{file.name}")
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        rows = sum(split["rows"] for split in read_manifest(folder)["splits"].values())
        return _described(path).model_copy(update={"rows": rows})

    def _new_path(self, stem: str, ending: str) -> Path:
        return self._folder / f"{stem}-{utc_now():%Y%m%d-%H%M%S-%f}.{ending}"


def json_line(row: dict[str, Any]) -> str:
    """A row as a line of a JSON Lines file."""
    return json.dumps(row, ensure_ascii=False)


def _ordered(schema: pa.Schema, rows: Rows) -> Rows:
    """The rows with all columns, in the order of the file."""
    return [{name: row.get(name) for name in schema.names} for row in rows]


def _write_jsonl(path: Path, schema: pa.Schema, pages: Iterator[Rows]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for page in pages:
            file.writelines(json_line(row) + "\n" for row in _ordered(schema, page))
            count += len(page)
    return count


def _write_parquet(path: Path, schema: pa.Schema, pages: Iterator[Rows]) -> int:
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for page in pages:
            if page:
                writer.write_table(pa.Table.from_pylist(page, schema=schema))
            count += len(page)
    return count


def _split_pages(folder: Path, splits: dict[str, Any]) -> Iterator[Rows]:
    for split, facts in splits.items():
        with pq.ParquetFile(folder / facts["file"]) as file:
            for batch in file.iter_batches(batch_size=_PAGE_ROWS):
                yield [{"split": split} | row for row in batch.to_pylist()]


def _with_facts(schema: pa.Schema, facts: tuple[str, ...]) -> pa.Schema:
    return pa.schema([*schema, *(pa.field(name, pa.string()) for name in facts)])


_PREFERENCE_SCHEMA = _with_facts(preference.SCHEMA, _PREFERENCE_FACTS)


def _pair_schema(style: PairStyle) -> pa.Schema:
    return _with_facts(STYLES[style].schema, _PAIR_FACTS)


def _pair_rows(page: list[Pair], style: PairStyle, include_reasoning: bool) -> Rows:
    options, shape = FreezeOptions(include_reasoning=include_reasoning), STYLES[style]
    return [
        shape.to_row(pair, options) | {name: str(getattr(pair, name)) for name in _PAIR_FACTS}
        for pair in page
    ]


def _preference_row(made: Preference, chosen: Pair, rejected: Pair) -> dict[str, Any]:
    return preference.to_row(made.id, chosen, rejected, FreezeOptions()) | {
        "seed_id": made.seed_id,
        "topic": chosen.topic,
        "chosen_teacher": chosen.teacher,
        "rejected_teacher": rejected.teacher,
        "outcome": made.outcome,
        "source": made.source,
        "user": made.user,
        "chosen_pair_id": chosen.id,
        "rejected_pair_id": rejected.id,
    }


def _is_export(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _described(path: Path) -> ExportFile:
    facts = path.stat()
    made = datetime.fromtimestamp(facts.st_mtime, UTC)
    return ExportFile(name=path.name, size_bytes=facts.st_size, created_at=made)
