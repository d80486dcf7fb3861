"""Report: one page on the dataset, for the app, as a file, and for the card of a snapshot."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from distill_studio import __version__
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records.base import utc_now
from distill_studio.curate.dataset_report import DatasetReport, report_markdown, report_page
from distill_studio.curate.dataset_report.records import (
    REJECTED,
    CameIn,
    Checked,
    Counted,
    Gone,
    GoneExample,
    Lengths,
    NearSettings,
    ScoreBin,
    Stays,
    Step,
    Teacher,
    TopicLine,
)
from distill_studio.curate.dataset_report.words import reason_label
from distill_studio.curate.filters import FILTERS
from distill_studio.curate.reports import CurateSettings
from distill_studio.curate.topics import by_topic
from distill_studio.services.base import Service
from distill_studio.services.curation_settings import settings_in_force
from distill_studio.services.export import ExportFile
from distill_studio.services.leak_work import RULES
from distill_studio.services.memo import Memo
from distill_studio.store import curation, curation_actions, embeddings
from distill_studio.store import dataset_report as table
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

ReportFormat = Literal["html", "markdown", "json"]
_ENDINGS: dict[ReportFormat, str] = {"html": "html", "markdown": "md", "json": "json"}
_LISTED, _TOPICS, _STEPS, _EXAMPLES = 20, 40, 20, 3
_CUT = 300
_UNSHOWN = ("privacy",)  # what was dropped for a secret is not spread by its example


class ReportService(Service):
    """The report on a dataset."""

    word = "report"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)

    def dataset(self, actor: Actor) -> DatasetReport:
        """What came in, what went and why, what stays, and what it was checked against."""
        actor.require(Role.VIEWER)
        self.workspace.leaks.packs(actor)  # the workspace's own evaluation sets count
        return self._memo.get("report", self._made)

    def text(self, actor: Actor, format: ReportFormat = "markdown") -> str:
        """The report as text: Markdown, one self-contained HTML page, or JSON."""
        actor.require(Role.VIEWER)
        report = self.dataset(actor)
        if format == "html":
            return report_page(report)
        if format == "json":
            return report.model_dump_json(indent=1) + "\n"
        return report_markdown(report)

    def file(self, actor: Actor, format: ReportFormat = "html") -> ExportFile:
        """Write the report as a file among the exports."""
        actor.require(Role.VIEWER)
        text = self.text(actor, format)
        return self.workspace.export.write_text("dataset-report", _ENDINGS[format], text)

    # -- for other services ---------------------------------------------------------------

    def for_card(self, actor_: Actor) -> str:
        """The report as a part of a snapshot's card: without the rows that went."""
        return report_markdown(self.dataset(actor_), level=2, with_examples=False)

    # -- inside ---------------------------------------------------------------------------

    def _made(self) -> DatasetReport:
        db = self.workspace.db
        action = curation_actions.latest_action(db)
        fates = table.topic_fates(db)
        by_fate: Counter[str] = Counter()
        for row in fates:
            by_fate[row["fate"]] += row["count"]
        settings = settings_in_force(self.db)
        topics = _topics(fates)
        checked = [Checked(**row) for row in table.checks(db, RULES)]
        came_in = self._came_in()
        return DatasetReport(
            workspace=self.workspace.name,
            made_at=utc_now(),
            version=__version__,
            came_in=came_in,
            gone=self._gone(by_fate),
            stays=self._stays(),
            topics=topics[:_TOPICS],
            more_topics=max(0, len(topics) - _TOPICS),
            checked=checked,
            near=self._near(settings),
            filters=_filters(settings) if action else [],
            steps=[Step(**row) for row in table.steps(db, _STEPS)],
            warnings=_warnings(came_in, checked, curation.new_rows(db) if action else None),
            examples=[_example(row) for row in table.examples(db, _EXAMPLES, _CUT)],
        )

    def _came_in(self) -> CameIn:
        db = self.workspace.db
        notes = self.workspace.teachers.licence_notes()
        sources, more_sources = table.came_from(db, "source", _LISTED)
        teachers, more_teachers = table.came_from(db, "teacher", _LISTED)
        recipes, _ = table.came_from(db, "recipe", _LISTED)
        return CameIn(
            **table.totals(db),
            seed_sources=[Counted(**row) for row in table.seed_sources(db, 5)],
            recipes=[_counted(row) for row in recipes],
            sources=[_counted(row) for row in sources],
            more_sources=more_sources,
            teachers=[Teacher(**row, licence_note=notes.get(row["name"], "")) for row in teachers],
            more_teachers=more_teachers,
        )

    def _gone(self, by_fate: Counter[str]) -> list[Gone]:
        reasons = table.reject_reasons(self.workspace.db, 6) if by_fate[REJECTED] else {}
        return [
            Gone(
                code=code,
                label=reason_label(code),
                rows=rows,
                details=reasons if code == REJECTED else {},
            )
            for code, rows in by_fate.most_common()
            if code != "kept"
        ]

    def _stays(self) -> Stays:
        db = self.workspace.db
        return Stays(
            **table.stays(db),
            lengths=[Lengths(**row) for row in table.lengths(db)],
            scores=[ScoreBin(**row) for row in table.score_bins(db)],
        )

    def _near(self, settings: CurateSettings) -> NearSettings:
        db = self.workspace.db
        found = embeddings.search_state(db, settings.field, settings.model)
        model = found["model"] if found else ""
        return NearSettings(
            field=settings.field,
            threshold=settings.threshold,
            model=model,
            uncompared=embeddings.unembedded_count(db, model, settings.field) if found else 0,
        )


def _counted(row: Row) -> Counted:
    return Counted(name=row["name"], rows=row["rows"], kept=row["kept"])


def _topics(fates: list[Row]) -> list[TopicLine]:
    """A line for each topic, the largest first; rejections count as a reason like the others."""
    totals: Counter[str] = Counter()
    for row in fates:
        totals[row["topic"]] += row["count"]
    gone = [
        {"topic": row["topic"], "kind": row["fate"], "count": row["count"]}
        for row in fates
        if row["fate"] != "kept"
    ]
    lines = by_topic([{"topic": name, "total": n} for name, n in totals.most_common()], gone)
    found = [TopicLine(**one.model_dump(), kept=one.total - one.removed) for one in lines]
    return sorted(found, key=lambda one: not one.warning)  # those to look at are never cut off


def _filters(settings: CurateSettings) -> list[str]:
    """The filters that drop rows, each with its settings."""
    found = []
    for config in settings.filters:
        if not config.is_on or config.only_warns or not config.limits():
            continue
        fields = type(config).model_fields
        values = [
            f"{fields[name].title}: {_value(value, fields[name].json_schema_extra)}"
            for name, value in config
            if name not in ("kind", "is_on") and fields[name].title
        ]
        label = FILTERS[config.kind].label
        found.append(f"{label} ({'; '.join(values)})" if values else label)
    return found


def _value(value: object, extra: object) -> str:
    """A setting in words; `extra` may name those of its choices."""
    choices = extra.get("choices", {}) if isinstance(extra, dict) else {}
    if isinstance(value, str) and value in choices:
        return str(choices[value])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _warnings(came_in: CameIn, checked: list[Checked], new_rows: int | None) -> list[str]:
    """What to look at first. `new_rows` came since curation was applied; None: it never was."""
    found = []
    kept = [one for one in came_in.teachers if one.kept]
    notes = {one.licence_note.strip() for one in kept} - {""}
    unknown = [one.name or "not named" for one in kept if not one.licence_note.strip()]
    if new_rows:
        found.append(f"{new_rows:,} rows came after curation was applied: apply it again.")
    if came_in.rows and new_rows is None:
        found.append("Curation was never applied: no filter and no comparison took effect.")
    if len(notes) > 1:
        found.append("The teachers have different terms.")
    if unknown:
        found.append(f"No terms are stated for: {', '.join(unknown[:5])}.")
    if came_in.rows and not checked:
        found.append("It was not checked against any benchmark.")
    found += [
        f"Of the rows that stay, {one.kept_hit:,} hold an item of {one.name}."
        for one in checked
        if one.kept_hit
    ]
    late = [one.name for one in checked if one.unchecked]
    if late:
        found.append(f"Not all rows were checked against {', '.join(late[:5])}.")
    return found


def _example(row: Row) -> GoneExample:
    hidden = {"prompt": "", "answer": "", "other": ""} if row["code"] in _UNSHOWN else {}
    return GoneExample(**{**row, **hidden})
