"""One open workspace: its folder, its store, its jobs and its services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.services.agreement import AgreementService
from distill_studio.services.arena import ArenaService
from distill_studio.services.backup import BackupService
from distill_studio.services.benchmarks import BenchmarksService
from distill_studio.services.curate import CurateService
from distill_studio.services.demo import DemoService
from distill_studio.services.distill import DistillService
from distill_studio.services.diversity import DiversityService
from distill_studio.services.evaluate import EvaluateService
from distill_studio.services.export import ExportService
from distill_studio.services.feedback import FeedbackService
from distill_studio.services.freeze import FreezeService
from distill_studio.services.generate import GenerateService
from distill_studio.services.hub import HubService
from distill_studio.services.jobs import JobsService
from distill_studio.services.labelling import LabellingService
from distill_studio.services.leaks import LeaksService
from distill_studio.services.lineage import LineageService
from distill_studio.services.overview import OverviewService
from distill_studio.services.pipelines import PipelinesService
from distill_studio.services.plans import PlansService
from distill_studio.services.prefer import PreferService
from distill_studio.services.quality import QualityService
from distill_studio.services.recipes import RecipesService
from distill_studio.services.references import ReferencesService
from distill_studio.services.remote import RemoteService
from distill_studio.services.report import ReportService
from distill_studio.services.review import ReviewService
from distill_studio.services.runs import RunsService
from distill_studio.services.seeds import SeedsService
from distill_studio.services.servers import ServersService
from distill_studio.services.suites import SuitesService
from distill_studio.services.teachers import TeachersService
from distill_studio.services.users import UsersService
from distill_studio.store.database import STORE_FILE, Database

if TYPE_CHECKING:
    from distill_studio.services.studio import Studio

FOLDERS = ("snapshots", "runs", "exports")


class Workspace:
    """A dataset project in `<home>/workspaces/<name>/`."""

    # One attribute per service; `operations.py` reads these annotations.
    jobs: JobsService
    overview: OverviewService
    users: UsersService
    teachers: TeachersService
    servers: ServersService
    seeds: SeedsService
    recipes: RecipesService
    generate: GenerateService
    curate: CurateService
    pipelines: PipelinesService
    leaks: LeaksService
    references: ReferencesService
    diversity: DiversityService
    quality: QualityService
    labelling: LabellingService
    review: ReviewService
    prefer: PreferService
    agreement: AgreementService
    freeze: FreezeService
    export: ExportService
    report: ReportService
    distill: DistillService
    runs: RunsService
    remote: RemoteService
    plans: PlansService
    evaluate: EvaluateService
    arena: ArenaService
    suites: SuitesService
    benchmarks: BenchmarksService
    feedback: FeedbackService
    lineage: LineageService
    hub: HubService
    demo: DemoService
    backup: BackupService

    def __init__(self, studio: Studio, name: str, folder: Path) -> None:
        self.studio = studio
        self.name = name
        self.folder = folder
        for sub in FOLDERS:
            (folder / sub).mkdir(parents=True, exist_ok=True)
        self.db = Database(folder / STORE_FILE, studio.settings.store_memory_mib)
        self.jobs = JobsService(self)
        self.overview = OverviewService(self)
        self.users = UsersService(self)
        self.teachers = TeachersService(self)
        self.servers = ServersService(self)
        self.seeds = SeedsService(self)
        self.recipes = RecipesService(self)
        self.generate = GenerateService(self)
        self.curate = CurateService(self)
        self.pipelines = PipelinesService(self)
        self.leaks = LeaksService(self)
        self.references = ReferencesService(self)
        self.diversity = DiversityService(self)
        self.quality = QualityService(self)
        self.labelling = LabellingService(self)
        self.review = ReviewService(self)
        self.prefer = PreferService(self)
        self.agreement = AgreementService(self)
        self.freeze = FreezeService(self)
        self.export = ExportService(self)
        self.report = ReportService(self)
        self.distill = DistillService(self)
        self.runs = RunsService(self)
        self.remote = RemoteService(self)
        self.plans = PlansService(self)
        self.evaluate = EvaluateService(self)
        self.arena = ArenaService(self)
        self.suites = SuitesService(self)
        self.benchmarks = BenchmarksService(self)
        self.feedback = FeedbackService(self)
        self.lineage = LineageService(self)
        self.hub = HubService(self)
        self.demo = DemoService(self)
        self.backup = BackupService(self)

    def close(self) -> None:
        """Leave running jobs for the next start and close the store."""
        self.jobs.shut_down()
        self.servers.close()
        self.db.close()
