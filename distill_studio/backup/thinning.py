"""Which whole copies are kept: the newest few, then one a day, then one a week."""

from collections.abc import Sequence
from datetime import datetime, timedelta

NEWEST = 3
DAYS = 7
WEEKS = 4


def kept(made_at: Sequence[datetime], now: datetime) -> set[int]:
    """Indexes of the copies to keep, of copies made at these times.

    The newest three; the newest of each of the last seven days; of each of the last four weeks.
    """
    order = sorted(range(len(made_at)), key=lambda i: made_at[i], reverse=True)
    keep = set(order[:NEWEST])
    days: dict[object, int] = {}
    weeks: dict[object, int] = {}
    for i in order:
        age = now - made_at[i]
        if age <= timedelta(days=DAYS):
            days.setdefault(made_at[i].date(), i)
        if age <= timedelta(weeks=WEEKS):
            weeks.setdefault(made_at[i].isocalendar()[:2], i)
    return keep | set(days.values()) | set(weeks.values())
