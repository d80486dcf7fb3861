"""Log-probabilities of the tokens of answers, kept beside the pairs (float32).

Call `insert` in the transaction that stores the pairs.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

from distill_studio.core.protocols import TokenLogprobs
from distill_studio.store.database import Database


def insert(db: Database, logprobs: Mapping[str, Sequence[TokenLogprobs]]) -> None:
    """Keep the tokens of pairs, by pair id; empty ones and those stored already are left out."""
    kept = {pair_id: tokens for pair_id, tokens in logprobs.items() if tokens}
    if not kept:
        return
    arrow = pa.table({"pair_id": list(kept), "tokens": _tokens(list(kept.values()))})
    with db.write() as cursor:
        cursor.register("incoming_logprobs", arrow)
        try:
            cursor.execute(
                "INSERT OR IGNORE INTO pair_logprobs (pair_id, tokens)"
                " SELECT pair_id, tokens FROM incoming_logprobs"
            ).fetchall()
        finally:
            cursor.unregister("incoming_logprobs")


def get(db: Database, ids: Sequence[str]) -> dict[str, tuple[TokenLogprobs, ...]]:
    """The tokens of those pairs that have any, by pair id."""
    rows = db.rows(
        "SELECT pair_id, tokens FROM pair_logprobs WHERE list_contains(?, pair_id)", [list(ids)]
    )
    return {row["pair_id"]: tuple(_token(token) for token in row["tokens"]) for row in rows}


def count(db: Database) -> int:
    """How many pairs have log-probabilities."""
    return int(db.value("SELECT count(*) FROM pair_logprobs"))


def _tokens(rows: Sequence[Sequence[TokenLogprobs]]) -> pa.ListArray:
    """Built from flat columns: dicts would take ten times as long."""
    flat = [token for row in rows for token in row]
    top = [entry for token in flat for entry in token.top]
    tops = pa.ListArray.from_arrays(
        _offsets([len(token.top) for token in flat]),
        _struct([t for t, _, _ in top], [i for _, i, _ in top], [p for _, _, p in top]),
    )
    tokens = _struct(
        [t.token for t in flat], [t.token_id for t in flat], [t.logprob for t in flat], tops
    )
    return pa.ListArray.from_arrays(_offsets([len(row) for row in rows]), tokens)


def _struct(
    texts: list[str], ids: list[int | None], logprobs: list[float], top: pa.Array | None = None
) -> pa.StructArray:
    columns = [
        pa.array(texts, pa.string()),
        pa.array(ids, pa.int32()),
        pa.array(logprobs, pa.float32()),
    ]
    names = ["token", "token_id", "logprob"]
    if top is not None:
        columns, names = [*columns, top], [*names, "top"]
    return pa.StructArray.from_arrays(columns, names)


def _offsets(lengths: list[int]) -> pa.Array:
    return pa.array([0, *accumulate(lengths)], pa.int32())


def _token(row: dict[str, Any]) -> TokenLogprobs:
    return TokenLogprobs(
        token=row["token"],
        token_id=row["token_id"],
        logprob=row["logprob"],
        top=tuple((t["token"], t["token_id"], t["logprob"]) for t in row["top"]),
    )
