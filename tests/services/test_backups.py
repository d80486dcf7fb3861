"""Backups of a real studio into a folder: parts, whole copies, restores, leases."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill_studio.backup import BackupError
from distill_studio.backup.records import parts_of, wholes_of
from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor
from distill_studio.core.records import Decision, DecisionKind, Outcome, Run, RunState, Vote
from distill_studio.core.records.base import utc_now
from distill_studio.core.settings import Settings
from distill_studio.services.backup_restore import restore_by_command
from distill_studio.services.studio import Studio
from distill_studio.store import decisions as decision_store
from distill_studio.store import pairs, people_rows, runs
from distill_studio.store.curation import set_verdict
from tests.browser.bench_data import make_pairs

ROWS = "\n".join(f'{{"prompt": "What is {n}?", "completion": "It is {n}."}}' for n in range(12))


@pytest.fixture
def backed_up(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backup": str(tmp_path / "backup"), "backup_every_s": 0.1})


@pytest.fixture
def open_studio() -> Iterator[Callable[[Settings], Studio]]:
    opened: list[Studio] = []

    def start(settings: Settings) -> Studio:
        studio = build_studio(settings)
        opened.append(studio)
        studio.open_all()
        return studio

    yield start
    for studio in opened:
        studio.close()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def all_there(studio: Studio) -> None:
    """Wait until everything that was said before this call is in the backup."""
    point = studio.backups.point()
    assert point is not None
    until(lambda: studio.backups.point().covered >= point.now, str(studio.backups.state()))


def whole_copy(studio: Studio) -> None:
    asked = utc_now()
    studio.backups.soon()
    until(lambda: (at := studio.backups.state().whole_at) and at > asked, "a whole copy")


def rows_file(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text(ROWS, encoding="utf-8")
    return file


def add_pairs(studio: Studio, owner: Actor, tmp_path: Path) -> list[str]:
    workspace = studio.workspace("main")
    workspace.seeds.import_file(owner, upload_id=studio.uploads.add(rows_file(tmp_path)))
    return [row["id"] for row in workspace.db.rows("SELECT id FROM pairs ORDER BY id")]


def decide(studio: Studio, actor: Actor, pair_ids: list[str], name: str, **more: object) -> None:
    studio.workspace("main").review.decide(
        actor,
        [
            Decision(id=f"decision-{name}-{n}", pair_id=p, **({"kind": DecisionKind.ACCEPT} | more))
            for n, p in enumerate(pair_ids)
        ],
    )


def crash(studio: Studio) -> None:
    """Leave without a last word: threads end, the lease stays as it was, the folder goes."""
    backups = studio.backups
    backups._stop.set()
    for thread in backups._threads:
        thread.join()
    place, lease = backups.place, backups._lease
    backups._lease = None
    studio.close()
    shutil.rmtree(studio.home)
    gone = lease.model_copy(update={"pid": 2**22 + 1})  # as if that process were no more
    place.write({}, [], gone, "test")


def said(studio: Studio) -> list[dict[str, object]]:
    db = studio.workspace("main").db
    return db.rows("SELECT * EXCLUDE (stored_at) FROM decisions ORDER BY seq")


def test_what_was_said_comes_back_after_the_folder_is_gone(backed_up, open_studio, owner, tmp_path):
    studio = open_studio(backed_up)
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    decide(studio, owner, pair_ids[:3], "first")
    all_there(studio)
    decide(
        studio, owner, pair_ids[3:5], "second", kind=DecisionKind.REJECT, reason="ends ' \n \0 é"
    )
    decide(studio, owner, pair_ids[5:6], "noted", kind=DecisionKind.NOTE, note="n", tags=("a", "b"))
    workspace = studio.workspace("main")
    set_verdict(workspace.db, "owner", *sorted(pair_ids[:2]), "keep_both")
    workspace.review.set_reasons(owner, ["Wrong", "Too long"])
    all_there(studio)
    before, verdicts = said(studio), workspace.db.rows("SELECT * FROM near_verdicts")
    status = workspace.db.rows("SELECT id, status, reject_reason FROM pairs ORDER BY id")
    crash(studio)

    again = open_studio(backed_up)
    db = again.workspace("main").db
    assert said(again) == before
    assert db.rows("SELECT * FROM near_verdicts") == verdicts
    assert again.workspace("main").review.reasons(owner) == ["Wrong", "Too long"]
    assert db.rows("SELECT id, status, reject_reason FROM pairs ORDER BY id") == status
    assert decision_store.out_of_step(db) == []
    assert [r["tags"] for r in db.rows("SELECT tags FROM pair_notes")] == [["a", "b"]]
    # what is said now is newer than what came back
    decide(again, owner, pair_ids[:1], "third", kind=DecisionKind.REJECT)
    assert db.value("SELECT status FROM pairs WHERE id = ?", [pair_ids[0]]) == "rejected"
    assert "5 decisions" not in again.backups.state().restored
    assert "6 decisions and votes in 1 workspaces" in again.backups.state().restored


def test_pairs_that_are_newer_than_the_whole_copy_come_with_what_was_said_of_them(
    backed_up, open_studio, owner, tmp_path
):
    settings = backed_up.model_copy(update={"backup_whole_every_s": 10_000})
    studio = open_studio(settings)
    until(lambda: studio.backups.state().whole_at, "the first whole copy, of an empty workspace")
    pair_ids = add_pairs(studio, owner, tmp_path)
    decide(studio, owner, pair_ids[:2], "d")
    all_there(studio)
    crash(studio)
    again = open_studio(settings)
    kept = again.workspace("main").db.rows("SELECT id, status FROM pairs ORDER BY id")
    assert kept == [{"id": i, "status": "accepted"} for i in pair_ids[:2]]


def test_a_part_is_replayed_once(backed_up, open_studio, owner, tmp_path):
    studio = open_studio(backed_up)
    pair_ids = add_pairs(studio, owner, tmp_path)
    decide(studio, owner, pair_ids, "d")
    db = studio.workspace("main").db
    got = people_rows.gather(db, people_rows.Known())
    before = people_rows.counts(db)
    assert set(people_rows.replay(db, got.rows).values()) == {0}
    assert people_rows.counts(db) == before
    assert people_rows.gather(db, got.known).is_empty


def test_two_apps_on_one_backup_refuse_each_other(backed_up, open_studio, owner, tmp_path):
    first = open_studio(backed_up)
    until(lambda: first.backups.state().whole_at, "a whole copy")
    other = backed_up.model_copy(update={"home": tmp_path / "elsewhere"})
    with pytest.raises(BackupError, match=r"backs up to .* and was seen there lately"):
        build_studio(other)
    # a folder with data of its own is served, and says that it is not backed up
    (tmp_path / "third").mkdir()
    third = backed_up.model_copy(update={"home": tmp_path / "third", "backup": ""})
    open_studio(third).close()
    studio = open_studio(third.model_copy(update={"backup": backed_up.backup}))
    state = studio.backups.state()
    assert (state.status, state.code) == ("refused", "other_chain")
    assert first.backups.state().status == "ok"


def test_an_app_whose_backup_was_taken_stops_writing(backed_up, open_studio, owner, tmp_path):
    first = open_studio(backed_up)
    pair_ids = add_pairs(first, owner, tmp_path)
    whole_copy(first)
    place = first.backups.place
    lease = place.lease()
    place.take(lease.model_copy(update={"token": "other", "epoch": lease.epoch + 1}), lease)
    decide(first, owner, pair_ids[:1], "d")
    until(lambda: first.backups.state().status == "refused", "it notices")
    assert first.backups.state().code in {"held", "other_chain"}
    written = parts_of(place.paths())
    assert not any(p.epoch == lease.epoch and p.number > 1 for p in written)
    decide(first, owner, pair_ids[1:2], "e")  # labelling goes on
    assert len(said(first)) == 2


def test_a_broken_blob_falls_back_to_the_whole_copy_before(backed_up, open_studio, owner, tmp_path):
    studio = open_studio(backed_up)
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    decide(studio, owner, pair_ids[:4], "d")
    all_there(studio)
    whole_copy(studio)
    before = said(studio)
    place = studio.backups.place
    newest = studio.backups._wholes[wholes_of(place.paths())[-1].path]
    store = next(f for f in newest.files if f.path.endswith("studio.duckdb"))
    blob = Path(backed_up.backup) / "blobs" / store.sha256
    crash(studio)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    again = open_studio(backed_up)
    assert said(again) == before
    assert any("hash differs" in p for p in again.backups.state().problems)


def test_a_missing_part_is_told(backed_up, open_studio, owner, tmp_path):
    studio = open_studio(backed_up)
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    for n in range(3):
        decide(studio, owner, pair_ids[n : n + 1], f"d{n}")
        all_there(studio)
    place = studio.backups.place
    crash(studio)
    middle = parts_of(place.paths())[-2]
    (Path(backed_up.backup) / middle.path).unlink()
    again = open_studio(backed_up)
    assert len(said(again)) == 2
    assert any("is missing in the backup" in p for p in again.backups.state().problems)


def test_a_command_restores_and_the_app_goes_on(backed_up, open_studio, owner, tmp_path):
    studio = open_studio(backed_up)
    decide(studio, owner, add_pairs(studio, owner, tmp_path)[:2], "d")
    studio.close()  # the last parts go with it
    other = backed_up.model_copy(update={"home": tmp_path / "elsewhere"})
    found = restore_by_command(other)
    assert found.counts["main"]["decisions"] == 2
    again = open_studio(other)
    assert again.backups.state().status == "ok"
    # the folder it came from is behind now, and is not backed up over it
    again.close()
    old = open_studio(backed_up)
    assert old.backups.state().code == "other_chain"


def test_snapshots_and_finished_models_come_back(backed_up, open_studio, owner, tmp_path):
    settings = backed_up.model_copy(update={"backup_model_mib": 1})
    studio = open_studio(settings)
    workspace = studio.workspace("main")
    workspace.seeds.import_file(
        owner, upload_id=studio.uploads.add(rows_file(tmp_path)), mark_accepted=True
    )
    workspace.freeze.create(owner, name="first", validation_share=0.2)
    sizes = {"small": 300_000, "big": 2_000_000, "running": 10}
    for name, size in sizes.items():
        state = RunState.RUNNING if name == "running" else RunState.DONE
        runs.insert(workspace.db, Run(name=name, method="sft", snapshot_id="x", state=state))
        folder = workspace.folder / "runs" / name
        (folder / "model").mkdir(parents=True)
        (folder / "checkpoint-1").mkdir()
        (folder / "checkpoint-1" / "weights.bin").write_bytes(b"c" * 10)
        (folder / "run.json").write_text(f'{{"name": "{name}"}}')
        (folder / "model" / "weights.bin").write_bytes(os.urandom(size))

    def files() -> dict[str, bytes]:
        found = [*workspace.folder.glob("snapshots/**/*"), *workspace.folder.glob("runs/**/*")]
        return {str(f.relative_to(workspace.folder)): f.read_bytes() for f in found if f.is_file()}

    before = files()
    whole_copy(studio)
    assert "big (2 MiB)" in studio.backups.state().left_out[0]
    crash(studio)
    open_studio(settings)
    expected = {
        path: content
        for path, content in before.items()
        if "checkpoint" not in path
        and "running" not in path
        and path != "runs/big/model/weights.bin"
    }
    assert files() == expected
    assert any(path.startswith("snapshots/first/") for path in expected)
    assert "runs/small/model/weights.bin" in expected


def test_accounts_come_back(backed_up, open_studio):
    studio = open_studio(backed_up)
    studio.accounts.add("Ann", "owner", by="test", password="correct horse battery")
    studio.accounts.add("Bob", "reviewer", by="test")
    studio.accounts.set_disabled("Bob", True)
    whole_copy(studio)
    crash(studio)
    again = open_studio(backed_up)
    assert again.accounts.check_password("ann", "correct horse battery")
    assert again.accounts.get("bob").is_disabled


def test_the_drill_says_what_would_come_back(backed_up, open_studio, owner, tmp_path):
    studio = open_studio(backed_up)
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    decide(studio, owner, pair_ids[:5], "d")
    all_there(studio)
    workspace = studio.workspace("main")
    job = workspace.backup.drill(owner)
    workspace.jobs.wait(owner, job.id, timeout_s=60)
    drill = workspace.backup.last_drill(owner)
    assert drill is not None
    assert drill.is_well
    back = {row.table: (row.here, row.back) for row in drill.rows}
    assert back["decisions"] == (5, 5)
    assert back["pairs"] == (12, 12)
    assert drill.parts >= 1
    assert not any(p.name.startswith("drill-") for p in studio.backups.work_folder.iterdir())


def test_without_a_place_nothing_is_told_to_browsers(studio, owner, tmp_path):
    studio.open_all()
    pair_ids = add_pairs(studio, owner, tmp_path)
    result = studio.workspace("main").review.decide(
        owner, [Decision(id="decision-d", pair_id=pair_ids[0], kind=DecisionKind.ACCEPT)]
    )
    assert result.backup is None
    assert studio.backups.state().status == "off"


def test_a_full_or_missing_disk_is_told_and_labelling_goes_on(
    backed_up, open_studio, owner, tmp_path
):
    studio = open_studio(backed_up)
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    folder = Path(backed_up.backup)
    folder.rename(tmp_path / "unmounted")
    decide(studio, owner, pair_ids[:1], "d")
    until(lambda: studio.backups.state().status == "behind", "it notices")
    state = studio.backups.state()
    assert state.code == "gone"
    assert "is not there" in state.message
    assert state.since is not None
    (tmp_path / "unmounted").rename(folder)
    all_there(studio)
    until(lambda: studio.backups.state().status == "ok", "it recovers by itself")


def test_a_vote_brings_its_comparison_along(backed_up, open_studio, owner, tmp_path):
    """Shown and voted on in the last moment: the vote that comes again would find nothing."""
    settings = backed_up.model_copy(update={"backup_every_s": 10_000.0})
    studio = open_studio(settings)
    database = studio.workspace("main").db
    pairs.insert(database, make_pairs(3, 2))
    whole_copy(studio)
    prefer = studio.workspace("main").prefer
    task, other = prefer.queue(owner, limit=2)
    vote = Vote(id="vote-0001", task_id=task.id, outcome=Outcome.LEFT)
    told = prefer.vote(owner, [vote])
    kept = database.rows("SELECT * FROM comparison_tasks WHERE id = ?", [task.id])
    crash(studio)

    again = open_studio(settings)
    prefer, db = again.workspace("main").prefer, again.workspace("main").db
    assert db.value("SELECT count(*) FROM comparison_tasks") == 0
    assert prefer.vote(owner, [vote]).refused
    receipt = told.receipts[vote.id]
    for forged in (receipt.replace(task.id, other.id), "x" + receipt[1:], f"{receipt} "):
        sent = vote.model_copy(update={"receipt": forged})
        assert prefer.vote(owner, [sent]).refused
    stranger = owner.model_copy(update={"user": "bob"})
    with_it = vote.model_copy(update={"receipt": receipt})
    assert prefer.vote(stranger, [with_it]).refused  # it was not shown to Bob
    assert prefer.vote(owner, [with_it]).stored == (vote.id,)
    assert db.rows("SELECT * FROM comparison_tasks WHERE id = ?", [task.id]) == kept
    assert db.value("SELECT count(*) FROM preferences") == 1
    assert prefer.vote(owner, [with_it]).stored == (vote.id,)  # once
    assert db.value("SELECT count(*) FROM votes") == 1


def test_a_whole_copy_begun_under_an_older_lease_is_made_anew(
    backed_up, open_studio, owner, tmp_path
):
    """Parts are numbered anew: the copy would say that it has some which it lacks."""
    studio = open_studio(backed_up.model_copy(update={"backup_whole_every_s": 10_000}))
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    backups = studio.backups
    for n in range(3):
        decide(studio, owner, pair_ids[n : n + 1], f"before-{n}")
        all_there(studio)
    stage, staged = backups._copies.stage, []

    def stage_slowly(*args: object) -> object:
        found = stage(*args)
        if not staged:
            staged.append(backups._lease.epoch)
            backups._lease = None  # lost, and taken again by the other thread
            until(lambda: backups._lease is not None, "the lease is taken again")
            decide(studio, owner, pair_ids[3:5], "after")
            all_there(studio)
        return found

    backups._copies.stage = stage_slowly
    whole_copy(studio)
    newest = backups._wholes[wholes_of(backups.place.paths())[-1].path]
    assert newest.epoch > staged[0]
    assert newest.workspaces["main"].counts["decisions"] == 5
    before = said(studio)
    crash(studio)
    assert said(open_studio(backed_up)) == before
