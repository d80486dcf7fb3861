"""A store of a million measured and compared pairs, made in SQL in a minute or two.

Nothing is embedded: near pairs are written straight into their tables. About a fifth of the rows
are in a near pair (clusters of two to some hundred texts), a twentieth are copies, half of those
word for word. Texts are random words; nothing in this benchmark searches them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill_studio.bootstrap import build_studio
from distill_studio.core import embedding_models
from distill_studio.core.settings import Settings
from distill_studio.curate.filters import measures_version
from distill_studio.curate.text import KEY_VERSION
from distill_studio.services.leak_work import RULES, item_row
from distill_studio.services.workspace import Workspace
from distill_studio.store import leaks, references
from distill_studio.store.database import Database

IntArray = npt.NDArray[np.int64]
FLOOR, MODEL, DIM = 0.8, embedding_models.FULL, 384  # the model in force at first
IN_NEAR_PAIRS, COPIES = 0.18, 0.05  # shares of the texts and of the rows
TOPICS = 40
PACKS, ITEMS = 5, 1500  # benchmarks, and the items of each
REFERENCES = 2
_LARGEST, _ALL_PAIRS_TO, _LINKS = 200, 12, 6
_ID = "format('{:08x}-0000-7000-8000-{:012x}', %s, %s)"


def build(home: Path, rows: int) -> None:
    """Fill the workspace `main` of a data folder, which must hold none."""
    settings = Settings(home=home, port=0)
    studio = build_studio(settings, resume_jobs=False)
    try:
        fill(studio.workspace(settings.workspace), rows)
    finally:
        studio.close()


def fill(workspace: Workspace, rows: int) -> None:
    """Pairs, hashes, scores, units, near pairs, topics, benchmark leaks, other datasets."""
    db, rng = workspace.db, np.random.default_rng(7)
    source = np.arange(rows)  # whose text a row has
    copies = rng.choice(np.arange(1, rows), int(COPIES * rows), replace=False)
    source[copies] = rng.integers(0, copies)
    source[copies] = source[source[copies]]  # of a copy the row that it copies
    is_variant = np.zeros(rows, bool)  # a copy but for case: the same key, another text
    is_variant[copies[::2]] = True
    with db.write() as cursor:
        cursor.register(
            "planned",
            pa.table({"n": np.arange(rows), "source": source, "is_variant": is_variant}),
        )
        cursor.execute("CREATE TEMP TABLE plan AS SELECT * FROM planned").fetchall()
        cursor.unregister("planned")
    _pairs(db, rng)
    _scores(db)
    for field in ("both", "prompt"):
        _near(db, rng, field)
    _topics(db, rng)
    _leaks(db)
    _references(db)
    db.checkpoint()


def _pairs(db: Database, rng: np.random.Generator) -> None:
    letters = np.array(list("abcdefghijklmnoprstuvw"))
    words = ["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(5000)]

    def text(what: str, number: str, least: int, spread: int) -> str:
        length = f"({least} + hash('{what}', {number}) % {spread})::BIGINT"
        return f"""array_to_string(list_transform(range({length}),
            lambda k: $words[1 + (hash('{what}', {number}, k) % {len(words)})::INTEGER]), ' ')"""

    with db.write() as cursor:
        cursor.execute(
            f"""INSERT INTO pairs (id, seed_id, messages, prompt, answer, topic, source, teacher,
                model, recipe, job_id, sample, finish_reason, judge_score, content_hash,
                created_at, status, decided_by)
            SELECT {_ID % ("n", "n")}, {_ID % ("n // 2", "n // 2 + 1")},
                '[{{"role": "user", "content": "' || prompt || '"}}]', prompt,
                CASE WHEN is_variant THEN upper(answer) ELSE answer END,
                'topic ' || hash(n // 2) % {TOPICS}, 'file', 'teacher ' || hash('t', n) % 4, 'm',
                'import', 'job', n, 'stop', hash('j', n) % 1000 / 1000, md5(n::VARCHAR),
                TIMESTAMPTZ '2026-01-01' + to_seconds(n), CASE WHEN hash('s', n) % 100 < 3
                THEN 'accepted' WHEN hash('s', n) % 100 < 5 THEN 'rejected' ELSE 'pending' END, ''
            FROM (SELECT n, is_variant, {text("p", "source // 2", 8, 24)} AS prompt,
                {text("a", "source", 20, 80)} AS answer FROM plan)""",
            {"words": words},
        ).fetchall()
        cursor.execute(
            f"""INSERT INTO pair_texts SELECT {_ID % ("n", "n")}, md5(n::VARCHAR),
                md5('p' || source // 2),
                md5((CASE WHEN is_variant THEN 'v' ELSE 'a' END) || source),
                md5('pk' || source // 2), md5('ak' || source), {KEY_VERSION} FROM plan"""
        ).fetchall()


def _scores(db: Database) -> None:
    with db.write() as cursor:
        cursor.execute(
            """INSERT INTO filter_scores
            SELECT id, unnest(['length.words', 'length.characters', 'language']),
            unnest([len(string_split(answer, ' ')), length(answer), 1.0]), unnest(['', '', 'en'])
            FROM pairs ORDER BY id"""
        ).fetchall()
        cursor.execute(
            """INSERT INTO filter_scores SELECT id, 'repetition.score', hash('r', id) % 260 / 100,
            'some of it repeats' FROM pairs WHERE hash('q', id) % 10 = 0 ORDER BY id"""
        ).fetchall()
        cursor.execute(
            "INSERT INTO measured_pairs SELECT id, content_hash, ? FROM pairs", [measures_version()]
        ).fetchall()


def _near(db: Database, rng: np.random.Generator, field: str) -> None:
    answer = "answer_hash" if field == "both" else "''"
    with db.write() as cursor:
        cursor.execute(
            f"""INSERT INTO dedup_units SELECT '{MODEL}', '{field}',
            row_number() OVER (ORDER BY first_id) - 1, prompt_hash, answer_hash
            FROM (SELECT prompt_hash, {answer} AS answer_hash, min(pair_id) AS first_id
                  FROM pair_texts GROUP BY ALL)"""
        ).fetchall()
        units = int(db.value("SELECT count(*) FROM dedup_units WHERE field = ?", [field]))
        a, b = _clusters(rng, units)
        similarity = np.round(FLOOR + 0.2 * rng.beta(1.2, 1.6, len(a)), 6)
        near = pa.table({"a": a, "b": b, "similarity": similarity})
        cursor.register("made_near", near.sort_by([("b", "ascending"), ("a", "ascending")]))
        cursor.execute(
            f"INSERT INTO near_pairs SELECT '{MODEL}', '{field}', *, 0 FROM made_near"
        ).fetchall()
        cursor.unregister("made_near")
        cursor.execute(
            """INSERT INTO near_searches
            (model, field, generation, dim, asked_floor, floor, searched_to, updated_at)
            VALUES (?, ?, 0, ?, ?, ?, ?, now())""",
            [MODEL, field, DIM, FLOOR, FLOOR, units],
        )


def _clusters(rng: np.random.Generator, units: int) -> tuple[IntArray, IntArray]:
    """Near pairs: clusters of a long-tailed size; in the large ones each text has some links."""
    chosen = rng.permutation(units)[: int(IN_NEAR_PAIRS * units)]
    sizes = np.minimum(_LARGEST, 1 + rng.zipf(2.2, len(chosen)))
    ends = np.cumsum(sizes)
    lists = np.split(chosen, ends[ends < len(chosen)])
    parts = []
    for members in lists:
        if len(members) <= _ALL_PAIRS_TO:
            i, j = np.triu_indices(len(members), 1)
        else:
            i = np.repeat(np.arange(len(members)), _LINKS)
            j = rng.integers(0, len(members), len(i))
            i, j = i[i != j], j[i != j]
        parts.append(np.stack([members[i], members[j]]))
    pairs = np.unique(np.sort(np.concatenate(parts, axis=1), axis=0), axis=1)
    return pairs[0], pairs[1]


def _topics(db: Database, rng: np.random.Generator) -> None:
    report = json.dumps({"trust": 0.3, "trust_flat": 0.1, "laid_out": 1000})
    clusters: list[dict[str, Any]] = [
        {"number": n, "name": f"cluster {n}", "terms": "[]", "centre": rng.random(DIM).tolist()}
        for n in range(TOPICS)
    ]
    with db.write() as cursor:
        cursor.execute(
            """INSERT INTO topic_runs (model, dim, settings, report, user_name, made_at)
            VALUES (?, ?, '{"seed": 0}', ?, 'owner', now())""",
            [MODEL, DIM, report],
        )
        db.insert("topic_clusters", clusters)
        cursor.execute(
            f"""INSERT INTO topic_texts SELECT prompt_hash, hash(prompt_hash) % {TOPICS}, 0.5,
            hash('x', prompt_hash) % 1000 / 100, hash('y', prompt_hash) % 1000 / 100
            FROM (SELECT DISTINCT prompt_hash FROM pair_texts)"""
        ).fetchall()


def _leaks(db: Database) -> None:
    """Benchmarks that all rows were checked against: a row in 200 holds an item, 3 may hold it."""
    with db.write() as cursor:
        for pack in (f"pack {k}" for k in range(PACKS)):
            leaks.add_pack(
                db,
                {"id": pack, "name": pack, "source": "made", "content_hash": pack, "user_name": ""},
                [item_row(n, f"{pack}: question {n}?") for n in range(ITEMS)],
            )
            cursor.execute(
                "INSERT INTO leak_checked SELECT ?, id, content_hash, ? FROM pairs", [pack, RULES]
            ).fetchall()
            cursor.execute(
                f"""INSERT INTO leak_hits SELECT $pack, t.pair_id, hash(t.pair_id) % {ITEMS},
                'ngram', 'prompt', 'prompt', hash('c', t.pair_id) % 100 / 100, '["some words"]',
                t.prompt_hash FROM pair_texts t WHERE hash($pack, t.pair_id) % 200 = 0""",
                {"pack": pack},
            ).fetchall()
            cursor.execute(
                f"""INSERT INTO leak_candidates SELECT $pack, row_number() OVER () % {ITEMS},
                prompt_hash, 0.6, hash('k', prompt_hash) % 100 / 100, '{MODEL}'
                FROM (SELECT DISTINCT prompt_hash FROM pair_texts
                    ORDER BY hash($pack, prompt_hash) LIMIT {3 * ITEMS})""",
                {"pack": pack},
            ).fetchall()


def _references(db: Database) -> None:
    """Other datasets that all rows were compared with; a row in 100 is near to one."""
    with db.write() as cursor:
        for name in (f"set {k}" for k in range(REFERENCES)):
            row = {"id": name, "name": name, "source": "made", "user_name": ""}
            item = {"prompt": "q", "answer": "a", "prompt_hash": "q", "answer_hash": "a"}
            item |= {"prompt_key": "q", "answer_key": "a"}
            references.add(db, row, [{**item, "number": n} for n in range(ITEMS)])
            cursor.execute(
                """INSERT INTO reference_searches SELECT $name, 'both', $model, $floor, count(*)
                FROM dedup_units WHERE field = 'both'""",
                {"name": name, "model": MODEL, "floor": FLOOR},
            ).fetchall()
            cursor.execute(
                f"""INSERT INTO reference_hits SELECT $name, 'both', prompt_hash, answer_hash,
                number % {ITEMS}, 0.9 + hash($name, number) % 100 / 1001 FROM dedup_units
                WHERE field = 'both' AND hash($name, prompt_hash) % 100 = 0""",
                {"name": name},
            ).fetchall()
