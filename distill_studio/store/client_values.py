"""A check of a value that browsers send: their clock."""

from datetime import UTC, datetime, timedelta

from distill_studio.core.records.base import utc_now

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK_SLACK = timedelta(minutes=5)


def plausible_time(made_at: datetime) -> datetime:
    """The client's time, or ours when its clock is clearly wrong."""
    now = utc_now()
    aware = made_at if made_at.tzinfo else made_at.replace(tzinfo=UTC)
    return aware if _EARLIEST < aware < now + _CLOCK_SLACK else now
