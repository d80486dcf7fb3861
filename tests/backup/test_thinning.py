"""Which whole copies stay."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from distill_studio.backup.thinning import kept

NOW = datetime(2026, 6, 17, 12, tzinfo=UTC)


def test_newest_then_daily_then_weekly():
    every_five_minutes = [NOW - timedelta(minutes=5 * n) for n in range(12 * 24 * 60)]  # two months
    stay = {every_five_minutes[i] for i in kept(every_five_minutes, NOW)}
    assert {NOW, NOW - timedelta(minutes=5), NOW - timedelta(minutes=10)} <= stay
    assert len({t.date() for t in stay if NOW - t <= timedelta(days=7)}) == 8
    assert 10 <= len(stay) <= 3 + 8 + 5
    assert min(stay) < NOW - timedelta(days=20)


@given(st.lists(st.integers(0, 100_000), max_size=60))
def test_thinning_twice_changes_nothing_and_the_newest_stays(minutes: list[int]):
    times = [NOW - timedelta(minutes=m) for m in minutes]
    once = [times[i] for i in sorted(kept(times, NOW))]
    again = [once[i] for i in sorted(kept(once, NOW))]
    assert set(again) == set(once)
    assert not times or max(times) in once
