"""Workspaces with pairs, made on disk before the running app opens them."""

from pathlib import Path
from uuid import uuid4

from distill_studio.core.records import Message, Pair
from distill_studio.store import pairs
from distill_studio.store.database import Database

HOSTILE = (
    "<img src=x onerror=window.pwned=1> ${window.pwned=2} </script><script>window.pwned=3</script>"
    " [link](javascript:window.pwned=4) ![shot](http://example.com/a.png)"
    ' <button id="btn-accept" style="position:fixed;inset:0">x</button>'
)


def make_workspace(home: Path, made: list[Pair]) -> str:
    """A new workspace of the app over `home` that holds these pairs; returns its name."""
    name = f"w{uuid4().hex[:12]}"
    database = Database(home / "workspaces" / name / "studio.duckdb")
    pairs.insert(database, made)
    database.close()
    return name


def make_pairs(seeds: int, candidates: int = 1, **fields: object) -> list[Pair]:
    """Pairs with telling names in prompt and answer."""
    return [
        Pair(
            **{
                "seed_id": f"seed-{s:04d}",
                "messages": (Message(role="user", content=f"Question number {s}?"),),
                "answer": f"Answer {s} **variant {c}**",
                "sample": c,
                "job_id": "job",
                "teacher": f"secret-teacher-{c}",
                "topic": "odd" if s % 2 else "even",
            }
            | fields
        )
        for s in range(seeds)
        for c in range(candidates)
    ]
