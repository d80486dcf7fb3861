"""What an open store may hold in memory."""

import pytest

from distill_studio.store import memory
from distill_studio.store.database import Database


@pytest.mark.parametrize(
    ("machine", "limit"),
    [(1024, 512), (4096, 1024), (16_384, 1024), (65_536, 3276), (1_048_576, 8192)],
)
def test_a_share_of_the_machine_within_bounds(monkeypatch, machine, limit):
    monkeypatch.setattr(memory, "machine_memory_mib", lambda: machine)
    assert memory.default_memory_mib() == limit


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    whole = memory.machine_memory_mib()
    limit, none = tmp_path / "memory.max", tmp_path / "other"
    limit.write_text(f"{300 * 2**20}\n")
    none.write_text("max\n")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (tmp_path / "missing", none))
    assert memory.machine_memory_mib() >= whole
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (none, limit))
    assert memory.machine_memory_mib() == 300


def test_what_is_larger_than_the_limit_goes_through_disk(tmp_path):
    db = Database(tmp_path / "studio.duckdb", memory_mib=64)
    try:
        assert db.value("SELECT current_setting('memory_limit')") == "64.0 MiB"
        found = db.row(
            """WITH many AS (SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS text, i
                FROM range(1000000) t(i)),
            ordered AS (SELECT i, lag(text) OVER (ORDER BY text) <= text AS fits FROM many)
            SELECT count(*) AS rows, count(*) FILTER (NOT fits) AS misplaced FROM ordered"""
        )
        assert found == {"rows": 1_000_000, "misplaced": 0}
    finally:
        db.close()
