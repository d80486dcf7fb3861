"""A store larger than the memory it may use: every step of Curate gives the same as with plenty."""

import shutil

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.settings import Settings
from distill_studio.curate.reports import NearChoices
from distill_studio.services import operations
from tests.benchmarks import big_store

ROWS = 60_000
SMALL_MIB, PLENTY_MIB = 96, 4096
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("big") / "home"
    big_store.build(home, ROWS)
    return home


def all_steps(home, owner, memory_mib):
    """What each step gives, times and places of history apart."""
    settings = Settings(home=home, port=0, store_memory_mib=memory_mib)
    studio = build_studio(settings, resume_jobs=False)
    found = {}

    def ask(name, **arguments):
        found[len(found), name] = operations.call(opened, owner, name, arguments)

    try:
        opened = studio.workspace("main")
        ask("curate_state")
        ask("curate_preview")
        ask("curate_dedup_preview", threshold=0.87)
        ask("curate_plan_report", threshold=0.87)
        longest = NearChoices(priority="longest", within_topic=True).model_dump()
        ask("curate_dedup_preview", threshold=0.85, near=longest)
        ask("curate_apply", threshold=0.85)
        ask("curate_apply", threshold=0.95)
        ask("curate_undo")
        found["kept"] = opened.db.value("SELECT count(*) FROM pairs WHERE curation = 'kept'")
        found["sum"] = opened.db.value(
            "SELECT bit_xor(hash(id, curation, curation_reason)) FROM pairs"
        )
    finally:
        studio.close()
    return found


def test_a_store_larger_than_its_memory_gives_the_same(made, owner, tmp_path):
    file = made / "workspaces" / "main" / "studio.duckdb"
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    small = all_steps(copy, owner, SMALL_MIB)
    assert file.stat().st_size > 0.5 * SMALL_MIB * 2**20, "the store is no small one"
    assert small == all_steps(made, owner, PLENTY_MIB)
    assert 0 < small["kept"] < ROWS
