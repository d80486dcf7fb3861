"""One open workspace: its folder, its store, its jobs and its services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.services.curate import CurateService
from distill_studio.services.demo import DemoService
from distill_studio.services.distill import DistillService
from distill_studio.services.evaluate import EvaluateService
from distill_studio.services.export import ExportService
from distill_studio.services.freeze import FreezeService
from distill_studio.services.generate import GenerateService
from distill_studio.services.jobs import JobsService
from distill_studio.services.leaks import LeaksService
from distill_studio.services.overview import OverviewService
from distill_studio.services.prefer import PreferService
from distill_studio.services.recipes import RecipesService
from distill_studio.services.review import ReviewService
from distill_studio.services.seeds import SeedsService
from distill_studio.services.servers import ServersService
from distill_studio.services.teachers import TeachersService
from distill_studio.store.database import Database

if TYPE_CHECKING:
    from distill_studio.services.studio import Studio

STORE_FILE = "studio.duckdb"
FOLDERS = ("snapshots", "runs", "exports")


class Workspace:
    """A dataset project in `<home>/workspaces/<name>/`."""

    # One attribute per service; `operations.py` reads these annotations.
    jobs: JobsService
    overview: OverviewService
    teachers: TeachersService
    servers: ServersService
    seeds: SeedsService
    recipes: RecipesService
    generate: GenerateService
    curate: CurateService
    leaks: LeaksService
    review: ReviewService
    prefer: PreferService
    freeze: FreezeService
    export: ExportService
    distill: DistillService
    evaluate: EvaluateService
    demo: DemoService

    def __init__(self, studio: Studio, name: str, folder: Path) -> None:
        self.studio = studio
        self.name = name
        self.folder = folder
        for sub in FOLDERS:
            (folder / sub).mkdir(parents=True, exist_ok=True)
        self.db = Database(folder / STORE_FILE)
        self.jobs = JobsService(self)
        self.overview = OverviewService(self)
        self.teachers = TeachersService(self)
        self.servers = ServersService(self)
        self.seeds = SeedsService(self)
        self.recipes = RecipesService(self)
        self.generate = GenerateService(self)
        self.curate = CurateService(self)
        self.leaks = LeaksService(self)
        self.review = ReviewService(self)
        self.prefer = PreferService(self)
        self.freeze = FreezeService(self)
        self.export = ExportService(self)
        self.distill = DistillService(self)
        self.evaluate = EvaluateService(self)
        self.demo = DemoService(self)

    def close(self) -> None:
        """Leave running jobs for the next start and close the store."""
        self.jobs.shut_down()
        self.servers.close()
        self.db.close()
