"""Topic clusters and their map, lists of rows set aside, selections.

Which list is in force is a setting of curate's filter `set_aside` (migration 0020). A pair's topic,
its own or else its cluster's name, is `pair_topics.topic`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from distill_studio.core.protocols import FloatMatrix
from distill_studio.core.records.base import utc_now
from distill_studio.store import leaks
from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import IntArray
from distill_studio.store.pairs import IS_ANSWER

_TAKES_PART = f"p.status <> 'rejected' AND {IS_ANSWER}"
_COUNTS = """count(*) AS rows, count(*) FILTER (p.curation = 'kept') AS kept,
count(*) FILTER (p.status = 'accepted') AS accepted"""
_BLOCK_TEXTS = 20_000
_KEPT_SELECTIONS = 3


# -- vectors --------------------------------------------------------------------------------


def prompt_vectors(
    db: Database, model: str, dim: int
) -> Iterator[tuple[list[str], FloatMatrix, IntArray]]:
    """Blocks of embedded prompts: (hashes, their windows end to end, window counts)."""
    return leaks.prompt_vectors(db, model, dim, _BLOCK_TEXTS)


def new_prompts(db: Database) -> list[str]:
    """Hashes of prompts that have no cluster yet."""
    return [
        row["hash"]
        for row in db.rows(
            f"""SELECT DISTINCT t.prompt_hash AS hash FROM pair_texts t
            JOIN pairs p ON p.id = t.pair_id WHERE t.prompt_hash <> '' AND {_TAKES_PART}
            AND t.prompt_hash NOT IN (SELECT text_hash FROM topic_texts) ORDER BY 1"""
        )
    ]


def prompt_texts(db: Database, cut: int) -> dict[str, str]:
    """The beginning of each prompt, by hash."""
    rows = db.rows(
        f"""SELECT t.prompt_hash AS hash, min(left(p.prompt, ?)) AS prompt
        FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
        WHERE t.prompt_hash <> '' AND {_TAKES_PART} GROUP BY 1""",
        [cut],
    )
    return {row["hash"]: row["prompt"] for row in rows}


# -- topics ---------------------------------------------------------------------------------


def latest_run(db: Database) -> Row | None:
    """The newest clustering: `number`, `model`, `dim`, `settings`, `report`, `user_name`, ..."""
    row = db.row("SELECT * FROM topic_runs ORDER BY number DESC LIMIT 1")
    return _parsed(row) if row else None


def save_run(db: Database, run: Row, clusters: Sequence[Row], texts: Mapping[str, Any]) -> int:
    """Put a clustering in place of the one before; returns its number.

    Args:
        db: The store.
        run: `model`, `dim`, `settings`, `report` (both dicts), `user_name`.
        clusters: `number`, `name`, `label`, `given_name`, `terms`, `centre`.
        texts: Columns `text_hash`, `cluster`, `similarity`, `x`, `y` of equal length.
    """
    with db.write() as cursor:
        number = int(db.value("SELECT nextval('topic_run_numbers')"))
        row = {**run, "number": number, "made_at": utc_now()}
        row |= {key: json.dumps(run[key]) for key in ("settings", "report")}
        db.insert("topic_runs", [row])
        cursor.execute("DELETE FROM topic_clusters")
        cursor.execute("DELETE FROM topic_texts")
        db.insert("topic_clusters", [{**c, "terms": json.dumps(c["terms"])} for c in clusters])
        add_texts(db, texts)
    return number


def add_texts(db: Database, texts: Mapping[str, Any]) -> None:
    """Give prompts that had none a cluster and a place; columns as in `save_run`."""
    _insert(db, "topic_texts", pa.table(dict(texts)))


def clusters(db: Database) -> list[Row]:
    """The clusters: `number`, `name` (in force), `terms`, `given_name`, `label`, `label_job`,
    `centre`."""
    rows = db.rows(
        """SELECT c.number, n.name, c.terms, c.given_name, c.label, c.label_job,
        c.centre
        FROM topic_clusters c JOIN cluster_names n USING (number) ORDER BY c.number"""
    )
    return [{**row, "terms": json.loads(row["terms"])} for row in rows]


def rename(db: Database, number: int, name: str) -> None:
    """Store what a person calls a cluster; an empty name gives the old one back."""
    with db.write() as cursor:
        cursor.execute("UPDATE topic_clusters SET given_name = ? WHERE number = ?", [name, number])


def label(db: Database, run: int, number: int, text: str, job_id: str) -> None:
    """Store a teacher's label with the job that asked, unless the clusters are other ones by now.

    Args:
        db: The store.
        run: The clustering that is meant.
        number: Of the cluster.
        text: What the teacher calls it.
        job_id: Who asked.
    """
    with db.write() as cursor:
        cursor.execute(
            """UPDATE topic_clusters SET label = ?, label_job = ? WHERE number = ?
            AND (SELECT max(number) FROM topic_runs) = ?""",
            [text, job_id, number, run],
        )


def cluster_counts(db: Database) -> list[Row]:
    """`number`, `rows`, `kept`, `accepted`, `x`, `y` (medians) of each cluster in use.

    The entry whose number is None counts the rows without a cluster.
    """
    return db.rows(
        f"""SELECT x.cluster AS number, {_COUNTS}, median(x.x) AS x, median(x.y) AS y
        FROM pairs p LEFT JOIN pair_texts t ON t.pair_id = p.id
        LEFT JOIN topic_texts x ON x.text_hash = t.prompt_hash
        WHERE {_TAKES_PART} GROUP BY 1 ORDER BY 1"""
    )


def topic_counts(db: Database) -> list[Row]:
    """`topic`, `rows`, `kept`, `accepted` by a row's own topic, else its cluster's name."""
    return db.rows(
        f"""SELECT o.topic, {_COUNTS} FROM pairs p JOIN pair_topics o ON o.pair_id = p.id
        WHERE {_TAKES_PART} GROUP BY 1 ORDER BY rows DESC, 1"""
    )


def members(db: Database) -> dict[str, tuple[int, str]]:
    """Prompts in clusters that a person named: hash -> (cluster, that name)."""
    rows = db.rows(
        """SELECT x.text_hash, x.cluster, c.given_name FROM topic_texts x
        JOIN topic_clusters c ON c.number = x.cluster WHERE c.given_name <> ''"""
    )
    return {row["text_hash"]: (row["cluster"], row["given_name"]) for row in rows}


def central_prompts(db: Database, number: int, count: int) -> list[str]:
    """The prompts nearest to a cluster's centre."""
    rows = db.rows(
        """SELECT any_value(p.prompt) AS prompt, any_value(x.similarity) AS similarity
        FROM topic_texts x JOIN pair_texts t ON t.prompt_hash = x.text_hash
        JOIN pairs p ON p.id = t.pair_id WHERE x.cluster = ?
        GROUP BY x.text_hash ORDER BY similarity DESC, x.text_hash LIMIT ?""",
        [number, count],
    )
    return [row["prompt"] for row in rows]


# -- the map --------------------------------------------------------------------------------


def points(db: Database) -> dict[str, Any]:
    """Prompts of rows in use as columns: `text_hash`, `cluster`, `x`, `y`, `state`, `rows`, ...

    `state`: 0 no row is kept, 1 one is, 2 one that is kept was accepted.
    `kept` and `accepted` count rows.
    """
    table = (
        db
        .cursor()
        .sql(
            f"""SELECT x.text_hash, x.cluster, x.x, x.y, {_COUNTS},
            max(CASE WHEN p.curation <> 'kept' THEN 0 WHEN p.status = 'accepted' THEN 2 ELSE 1 END)
                AS state
            FROM topic_texts x JOIN pair_texts t ON t.prompt_hash = x.text_hash
            JOIN pairs p ON p.id = t.pair_id
            WHERE {_TAKES_PART} GROUP BY 1, 2, 3, 4 ORDER BY 1"""
        )
        .to_arrow_table()
    )
    found: dict[str, Any] = {
        name: table[name].to_numpy() for name in table.column_names if name != "text_hash"
    }
    return {**found, "text_hash": np.array(table["text_hash"].to_pylist(), dtype=object)}


def laid_out(db: Database) -> dict[str, Any]:
    """Every prompt's `text_hash`, `cluster`, `x`, `y`, in use or not, as columns."""
    rows = db.rows("SELECT text_hash, cluster, x, y FROM topic_texts ORDER BY 1")
    return {
        "text_hash": [row["text_hash"] for row in rows],
        "cluster": np.array([row["cluster"] for row in rows], dtype=np.int64),
        "places": np.array([(row["x"], row["y"]) for row in rows], np.float32).reshape(-1, 2),
    }


def rows_of_prompts(db: Database, hashes: Sequence[str]) -> list[Row]:
    """The rows with these prompts: `id`, `status`, `curation`; rejected ones apart."""
    return db.rows(
        f"""SELECT p.id, p.status, p.curation FROM pairs p JOIN pair_texts t ON t.pair_id = p.id
        WHERE t.prompt_hash IN (SELECT unnest(?::VARCHAR[])) AND {_TAKES_PART} ORDER BY p.id""",
        [list(hashes)],
    )


def open_rows(db: Database) -> list[Row]:
    """Rows on the map that could be set aside: `id`, `curation`.

    Those that a person accepted or rejected are left out.
    """
    return db.rows(
        f"""SELECT p.id, p.curation FROM pairs p JOIN pair_topics o ON o.pair_id = p.id
        WHERE o.cluster IS NOT NULL AND {_TAKES_PART} AND p.status <> 'accepted'"""
    )


# -- rows set aside -------------------------------------------------------------------------


def add_list(
    db: Database, kind: str, note: str, user: str, settings: Row, ids: Sequence[str]
) -> int:
    """Store a list of rows; returns its number. It is in force only where settings name it."""
    with db.write():
        number = int(db.value("SELECT nextval('set_aside_numbers')"))
        row = {
            "number": number,
            "kind": kind,
            "measure": f"set_aside.{number}",
            "note": note,
            "settings": json.dumps(settings),
            "user_name": user,
            "made_at": utc_now(),
        }
        db.insert("set_aside_lists", [row])
        listed = {"list": pa.array([number] * len(ids), pa.int64()), "pair_id": pa.array(ids)}
        if ids:
            _insert(db, "set_aside_rows", pa.table(listed))
    return number


def lists(db: Database, numbers: Sequence[int]) -> list[Row]:
    """These lists, each with `rows` (those that are not accepted or rejected since)."""
    return db.rows(
        f"""SELECT l.number, l.kind, l.note, l.user_name, l.made_at,
        (SELECT count(*) FROM set_aside_rows r JOIN pairs p ON p.id = r.pair_id
         WHERE r.list = l.number AND {_TAKES_PART} AND p.status <> 'accepted') AS rows
        FROM set_aside_lists l WHERE l.number IN (SELECT unnest(?::BIGINT[])) ORDER BY 1""",
        [list(numbers)],
    )


# -- selections -----------------------------------------------------------------------------


def candidates(db: Database, replaced: Sequence[int]) -> list[Row]:
    """Rows to choose from, oldest first: kept ones, and those gone by the lists `replaced`.

    Columns: `id`, `hash` of the prompt, `cluster`, `status`, `judge_score`.
    """
    return db.rows(
        f"""SELECT p.id, t.prompt_hash AS hash, x.cluster, p.status, p.judge_score
        FROM pairs p JOIN pair_texts t ON t.pair_id = p.id
        JOIN topic_texts x ON x.text_hash = t.prompt_hash
        WHERE {_TAKES_PART} AND (p.curation = 'kept' OR p.id IN (
            SELECT r.pair_id FROM set_aside_rows r JOIN set_aside_lists l ON l.number = r.list
            WHERE l.number IN (SELECT unnest(?::BIGINT[]))
            AND p.curation_reason = 'set_aside: ' || l.note))
        ORDER BY p.id""",
        [list(replaced)],
    )


def texts_of(db: Database, ids: Sequence[str], cut: int) -> dict[str, str]:
    """Prompt and answer (edited where it is) of rows, cut, by id."""
    rows = db.rows(
        """SELECT id,
        left(prompt, $cut) || ' ' || left(coalesce(edited_answer, answer), $cut) AS text
        FROM pairs WHERE id IN (SELECT unnest($ids::VARCHAR[]))""",
        {"ids": list(ids), "cut": cut},
    )
    return {row["id"]: row["text"] for row in rows}


def save_selection(
    db: Database, user: str, settings: Row, report: Row, chosen: Mapping[str, Sequence[str]]
) -> int:
    """Store what each method chose (and all candidates as 'all'); old selections are forgotten."""
    with db.write() as cursor:
        number = int(db.value("SELECT nextval('selection_numbers')"))
        db.insert(
            "selections",
            [
                {
                    "number": number,
                    "settings": json.dumps(settings),
                    "report": json.dumps(report),
                    "user_name": user,
                    "made_at": utc_now(),
                }
            ],
        )
        for method, ids in chosen.items():
            rows = {
                "selection": pa.array([number] * len(ids), pa.int64()),
                "method": pa.array([method] * len(ids), pa.string()),
                "place": pa.array(range(len(ids)), pa.int32()),
                "pair_id": pa.array(list(ids), pa.string()),
            }
            _insert(db, "selection_rows", pa.table(rows))
        for table, column in (("selections", "number"), ("selection_rows", "selection")):
            oldest = number - _KEPT_SELECTIONS
            cursor.execute(f"DELETE FROM {table} WHERE {column} <= ?", [oldest])
    return number


def selection(db: Database, number: int = 0) -> Row | None:
    """A selection, else the newest: `number`, `settings`, `report`, `user_name`, `made_at`."""
    row = db.row(
        "SELECT * FROM selections WHERE ? IN (0, number) ORDER BY number DESC LIMIT 1", [number]
    )
    return _parsed(row) if row else None


def not_selected(db: Database, number: int, method: str) -> list[str]:
    """Candidates of a selection that a method did not choose; accepted and rejected ones apart."""
    rows = db.rows(
        f"""SELECT s.pair_id AS id FROM selection_rows s JOIN pairs p ON p.id = s.pair_id
        WHERE s.selection = $number AND s.method = 'all'
        AND {_TAKES_PART} AND p.status <> 'accepted' AND s.pair_id NOT IN (
            SELECT pair_id FROM selection_rows WHERE selection = $number AND method = $method)
        ORDER BY 1""",
        {"number": number, "method": method},
    )
    return [row["id"] for row in rows]


# -- inside ---------------------------------------------------------------------------------


def _insert(db: Database, table: str, rows: pa.Table) -> None:
    names = ", ".join(rows.column_names)
    with db.write() as cursor:
        cursor.register("incoming_diversity", rows)
        try:
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming_diversity"
            ).fetchall()
        finally:
            cursor.unregister("incoming_diversity")


def _parsed(row: Row) -> Row:
    return {**row, "settings": json.loads(row["settings"]), "report": json.loads(row["report"])}
