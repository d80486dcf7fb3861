"""Log-probabilities of answers survive storing, as float32."""

from pathlib import Path

import numpy as np
import pytest

from distill_studio.core.protocols import TokenLogprobs
from distill_studio.store import logprobs as table
from distill_studio.store.database import Database


@pytest.fixture
def db(tmp_path: Path):
    db = Database(tmp_path / "studio.duckdb")
    yield db
    db.close()


def f32(value: float) -> float:
    return float(np.float32(value))


def tokens(count: int, top: int = 3) -> tuple[TokenLogprobs, ...]:
    return tuple(
        TokenLogprobs(
            token=f"t{n}",
            token_id=n,
            logprob=f32(-0.1 * n),
            top=tuple((f"t{n + k}", n + k, f32(-0.1 * n - k)) for k in range(top)),
        )
        for n in range(count)
    )


def test_what_goes_in_comes_out(db: Database) -> None:
    no_ids = (TokenLogprobs(token="Zür", logprob=-0.5), TokenLogprobs(token="\ufffd", logprob=0.0))
    table.insert(db, {"a": tokens(4), "b": no_ids, "empty": ()})
    assert table.count(db) == 2
    assert table.get(db, ["a", "b", "empty", "other"]) == {"a": tokens(4), "b": no_ids}


def test_a_second_time_changes_nothing(db: Database) -> None:
    table.insert(db, {"a": tokens(2)})
    table.insert(db, {"a": tokens(5), "c": tokens(1)})
    assert table.get(db, ["a", "c"]) == {"a": tokens(2), "c": tokens(1)}


def test_they_go_with_the_pairs_transaction(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write():
        table.insert(db, {"a": tokens(2)})
        raise RuntimeError("the pairs could not be stored")
    assert table.count(db) == 0
