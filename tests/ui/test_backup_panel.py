"""What Home says of the backup."""

from datetime import UTC, datetime, timedelta

from distill_studio.core.records.backup import BackupState
from distill_studio.services.backup import Drill, DrillRow
from distill_studio.ui.panels.backup_panel import backup_html, drill_html

NOW = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)


def test_on_a_space_without_a_disk_it_warns_in_red():
    state = BackupState(is_on=False, status="off", disk="container", is_space=True)
    html = backup_html(state, NOW)
    assert 'class="ds-note bad"' in html
    assert "Nothing here outlives a restart" in html
    assert "DISTILL_STUDIO_BACKUP" in html


def test_nothing_is_said_where_nothing_is_at_risk():
    on_disk = BackupState(is_on=False, status="off", disk="mount", is_space=True)
    at_home = BackupState(is_on=False, status="off", disk="container", is_space=False)
    assert backup_html(on_disk, NOW) == backup_html(at_home, NOW) == ""


def test_how_old_it_is_and_what_went_wrong_since_when():
    state = BackupState(
        is_on=True,
        place="hf://datasets/ann/<b>x",
        status="behind",
        message="No rights to write.",
        hint="Check HF_TOKEN.",
        since=NOW - timedelta(minutes=28),
        backed_up_at=NOW - timedelta(minutes=29),
        whole_at=NOW - timedelta(hours=1),
        problems=("<script>",),
    )
    html = backup_html(state, NOW)
    assert "as of 29 min 0 s ago" in html
    assert "Since 14:02 UTC: No rights to write. Check HF_TOKEN." in html
    assert "<script>" not in html
    assert "<b>" not in html


def test_a_drill_tells_its_counts():
    drill = Drill(
        place="x", made_at="2026-06-01T14:00:00+00:00", whole_made_at="", files=3, size=2_000_000,
        parts=4, seconds=1.25, missing=2, problems=("blobs/x is torn <i>",),
        rows=(DrillRow(workspace="main", table="decisions", here=12, back=10),),
    )  # fmt: skip
    html = drill_html(drill)
    assert "2 decisions and votes are not in the backup" in html
    assert 'class="ds-note bad"' in html
    assert "<i>" not in html
    assert "10" in html
    assert "every hash was right" in drill_html(
        drill.model_copy(update={"missing": 0, "problems": ()})
    )
