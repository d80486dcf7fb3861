"""Pages of pairs by the judge's score and by IFD: complete, in order, and each row once."""

import pytest

from distill_studio.core.records import Decision, Message, Pair
from distill_studio.core.records.base import utc_now
from distill_studio.store import decisions, likelihoods, pairs
from distill_studio.store.database import Database
from distill_studio.store.pairs import CONTENT_KEY, PairQuery

SCORES = [3.0, None, 5.0, 3.0, 1.0, None, 5.0]


@pytest.fixture
def db(tmp_path):
    db = Database(tmp_path / "studio.duckdb")
    rows = [
        Pair(
            seed_id=f"s{k}", messages=(Message(role="user", content=f"q{k}"),), answer=f"a{k}",
            judge_score=score,
        )
        for k, score in enumerate(SCORES)
    ]  # fmt: skip
    pairs.insert(db, rows)
    yield db
    db.close()


def walk(db, sort, limit=2):
    """Every row of a list, page after page."""
    found, after = [], ""
    while page := pairs.page(db, PairQuery(sort=sort, after=after, limit=limit)):
        found += page
        after = page[-1].id
    return found


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_by_the_judges_score(db, limit):
    assert [p.judge_score for p in walk(db, "judge_low", limit)] == [1, 3, 3, 5, 5, None, None]
    high = walk(db, "judge_high", limit)
    assert [p.judge_score for p in high] == [5, 5, 3, 3, 1, None, None]
    assert [p.seed_id for p in high] == ["s2", "s6", "s0", "s3", "s4", "s1", "s5"]


def test_by_the_ifd_of_the_model_that_scored_last(db):
    rows = db.rows(f"SELECT p.id, {CONTENT_KEY} AS key FROM pairs p ORDER BY p.id")

    def score(model, ratios, alone=1.0):
        made = [
            {
                "pair_id": row["id"], "content_key": row["key"], "tokens": 3, "loss_given": ratio,
                "loss_alone": alone, "is_cut": False,
            }
            for row, ratio in zip(rows, ratios, strict=False)
        ]  # fmt: skip
        likelihoods.use(db, model, "float32")
        likelihoods.save(db, model, made)

    assert [p.seed_id for p in walk(db, "ifd_high")] == [f"s{k}" for k in range(7)], "none yet"
    score("old", [0.1, 0.2, 0.3, 0.4])
    score("new", [0.5, 1.2, 0.7, 0.9])
    assert [p.seed_id for p in walk(db, "ifd_high")] == ["s1", "s3", "s2", "s0", "s4", "s5", "s6"]
    assert [p.seed_id for p in walk(db, "ifd_low")] == ["s0", "s2", "s3", "s1", "s4", "s5", "s6"]
    assert [p.seed_id for p in walk(db, "perplexity_high")][:4] == ["s1", "s3", "s2", "s0"]
    assert [p.seed_id for p in walk(db, "perplexity_low")][:4] == ["s0", "s2", "s3", "s1"]
    score("other", [2.0, 1.0], alone=4.0)
    assert [p.seed_id for p in walk(db, "perplexity_low")][:3] == ["s1", "s0", "s2"]
    score("new", [])
    with db.write() as cursor:  # an edited answer is another text: its old figure is gone
        cursor.execute("UPDATE pairs SET edited_answer = 'x' WHERE seed_id = 's1'")
    assert [p.seed_id for p in walk(db, "ifd_high")] == ["s3", "s2", "s0", "s1", "s4", "s5", "s6"]


def test_by_disagreement(db):
    """Evenly split votes first, then what the judge would have decided the other way."""
    db.insert(
        "labelling_settings",
        [{"overlap": 4, "settings": "{}", "user_name": "owner", "changed_at": utc_now()}],
    )
    ids = [row["id"] for row in db.rows("SELECT id FROM pairs ORDER BY id")]
    votes = {0: "yn", 1: "yyn", 2: "n", 3: "n", 4: "y", 5: "y", 6: "yyyn"}  # scores 3 - 5 3 1 - 5
    for k, said in votes.items():
        for n, one in enumerate(said):
            kind = "accept" if one == "y" else "reject"
            made = Decision(id=f"decision-{k}-{n}", pair_id=ids[k], kind=kind)
            decisions.record(db, f"person-{n}", [made])
    assert [p.seed_id for p in walk(db, "contested")] == ["s0", "s1", "s6", "s2", "s3", "s4", "s5"]
    for limit in (1, 2, 100):  # the median is 3: a no to a 5 and a yes to a 1 are as far off
        found = [p.seed_id for p in walk(db, "disagreement", limit)]
        assert found == ["s0", "s1", "s6", "s2", "s4", "s3", "s5"]
