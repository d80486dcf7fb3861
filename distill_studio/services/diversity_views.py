"""Topics, the map and parts of it as the records that pages and the API show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_studio.curate.diversity.coverage import effective_topics, verdict
from distill_studio.curate.diversity.reports import (
    MapArea,
    MapPoints,
    Topic,
    TopicsState,
)
from distill_studio.store import diversity as table
from distill_studio.store.database import Database, Row

DRAWN = 40_000  # prompts drawn at most; a part of the map is always taken of all
_DIGITS = 4
_NAMED = 3  # topics named in a remark
BoolArray = npt.NDArray[np.bool_]


def state(db: Database, in_force: Sequence[int]) -> TopicsState:
    """The topics as they stand; empty where nothing was clustered."""
    set_aside = sum(row["rows"] for row in table.lists(db, in_force))
    run = table.latest_run(db)
    if run is None:
        return TopicsState(set_aside=set_aside)
    counted = {row["number"]: row for row in table.cluster_counts(db)}
    unassigned = counted.pop(None, None)
    kept = sum(row["kept"] for row in counted.values())
    in_use = sum(1 for row in counted.values() if row["kept"])
    topics = [
        _topic(row, counted[row["number"]], kept, in_use)
        for row in table.clusters(db)
        if row["number"] in counted
    ]
    effective = effective_topics([topic.kept for topic in topics])
    before = effective_topics([topic.rows for topic in topics])
    return TopicsState(
        run=run["number"],
        model=run["model"],
        user=run["user_name"],
        made_at=run["made_at"],
        seed=run["settings"]["seed"],
        topics=topics,
        unassigned=unassigned["rows"] if unassigned else 0,
        kept=kept,
        effective=effective,
        effective_before=before,
        remarks=_remarks(topics, effective, before),
        trust=run["report"]["trust"],
        trust_flat=run["report"]["trust_flat"],
        laid_out=run["report"]["laid_out"],
        set_aside=set_aside,
    )


def map_points(db: Database, run: int) -> MapPoints:
    """Prompts to draw: all, or a fixed sample when there are too many."""
    found = table.points(db)
    total = len(found["x"])
    drawn = np.arange(total)
    if total > DRAWN:
        drawn = np.sort(np.random.default_rng(0).choice(total, DRAWN, replace=False))
    return MapPoints(
        run=run,
        total=total,
        number=drawn.tolist(),
        x=np.round(found["x"][drawn], _DIGITS).tolist(),
        y=np.round(found["y"][drawn], _DIGITS).tolist(),
        cluster=found["cluster"][drawn].tolist(),
        state=found["state"][drawn].tolist(),
    )


def inside(points: dict[str, Any], area: MapArea) -> BoolArray:
    """(N,) which prompts lie in a part of the map."""
    chosen = np.ones(len(points["x"]), dtype=bool)
    if area.topics:
        chosen &= np.isin(points["cluster"], area.topics)
    if area.polygon:
        corners = np.array(area.polygon, dtype=np.float64)
        chosen &= in_polygon(points["x"], points["y"], corners)
    return chosen


def in_polygon(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]
) -> BoolArray:
    """(N,) which points lie inside a polygon (C, 2) by the even-odd rule."""
    found = np.zeros(len(x), dtype=bool)
    if len(corners) < 3:
        return found
    ahead = np.roll(corners, -1, axis=0)
    for (x1, y1), (x2, y2) in zip(corners, ahead, strict=True):
        if y1 == y2:
            continue
        crosses = (y1 > y) != (y2 > y)
        found ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return found


def _topic(row: Row, counts: Row, kept: int, in_use: int) -> Topic:
    return Topic(
        number=row["number"],
        name=row["name"],
        terms=row["terms"],
        is_given=bool(row["given_name"]),
        rows=counts["rows"],
        kept=counts["kept"],
        accepted=counts["accepted"],
        share=counts["kept"] / kept if kept else 0.0,
        verdict=verdict(counts["kept"], kept, in_use),
        x=counts["x"],
        y=counts["y"],
    )


def _remarks(topics: Sequence[Topic], effective: float, before: float) -> list[str]:
    """What stands out, in plain words."""
    kept = [topic for topic in topics if topic.kept]
    said = []
    if len(kept) >= 3:
        said.append(
            f"{len(kept)} topics, as even as {effective:.1f} of equal size would be."
            + (f" Before curation it was {before:.1f}." if abs(before - effective) >= 0.1 else "")
        )
    said += [
        f"“{topic.name}” alone holds {topic.share:.0%} of the kept rows."
        for topic in topics
        if topic.verdict == "dominant"
    ]
    thin = [topic for topic in topics if topic.verdict == "thin" and topic.kept]
    if thin:
        names = ", ".join(f"“{topic.name}” ({topic.kept})" for topic in thin[:_NAMED])
        more = f" and {len(thin) - _NAMED} more" if len(thin) > _NAMED else ""
        said.append(f"Thin: {names}{more}. Rows there are few to learn from.")
    gone = [topic for topic in topics if topic.rows and not topic.kept]
    if gone:
        names = ", ".join(f"“{topic.name}”" for topic in gone[:_NAMED])
        said.append(f"Nothing is left of {names}{' and others' if len(gone) > _NAMED else ''}.")
    hit = [t for t in topics if t.rows >= 10 and t.kept and t.kept < 0.5 * t.rows]
    if hit:
        names = ", ".join(f"“{t.name}” ({1 - t.kept / t.rows:.0%} gone)" for t in hit[:_NAMED])
        said.append(f"Curation takes more than half of {names}.")
    return said
