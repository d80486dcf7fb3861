"""What counts as the same text, and how keys and verdicts of an older normal form survive."""

import json

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.errors import Cancelled
from distill_studio.core.progress import CancelToken
from distill_studio.curate.text import former_normalise, item_key, text_hash
from distill_studio.services import curation_work, leak_work
from distill_studio.store import embeddings, leaks, migrate, pairs
from distill_studio.store.database import Database
from tests.services.curate_rows import BEES, curation, done, pair, store

SIGNS = [
    ("What is 2⁵ in full?", "What is 25 in full?"),
    ("Is not (a or b) true?", "Is (not a) or b true?"),
    ("Plot the point (1,5)", "Plot the point (1.5)"),
    ("How much is 5! then?", "How much is 5 then?"),
    ("Derive x² for me", "Derive x2 for me"),
]
FACTORIAL, FIVE = "What is 5!", "What is 5"


@pytest.mark.parametrize("prompts", SIGNS)
def test_texts_that_differ_by_a_sign_with_a_meaning_both_stay(workspace, owner, prompts):
    ids = store(workspace, *(pair(prompt, BEES) for prompt in prompts))
    assert workspace.curate.dedup_preview(owner).exact == 0
    assert workspace.curate.apply(owner).duplicates == 0
    groups = workspace.curate.near_groups(ids)
    assert len(set(groups.values())) == 2, "nor do splits tie them together"
    copy = pair(f" {prompts[0].upper()} ", BEES)
    store(workspace, copy)
    assert workspace.curate.apply(owner).duplicates == 1, "case and space make no difference"


# -- stores from before ---------------------------------------------------------------------


def former_key(text):
    return text_hash(former_normalise(text))


def insert_former(db, rows):
    """What the version before stored: two rows, a dataset and a benchmark of the same prompts."""
    pairs.insert(db, rows)
    keys = {"prompt_key": former_key(FIVE), "answer_key": former_key(BEES)}
    content = {
        row["pair_id"]: row
        for row in db.rows(
            f"SELECT p.id AS pair_id, {pairs.CONTENT_KEY} AS content_key FROM pairs p"
        )
    }
    hashes = [
        {
            **content[row.id],
            "prompt_hash": text_hash(row.messages[0].content),
            "answer_hash": text_hash(row.answer),
            **keys,
        }
        for row in rows
    ]
    db.insert("pair_texts", hashes)
    now = db.value("SELECT now()")
    said = {"user_name": "owner", "made_at": now}
    db.insert("reference_sets", [{"id": "r", "name": "r", "source": "f", "items": 1, **said}])
    item = {"number": 0, "prompt": FACTORIAL, "answer": BEES}
    hashed = {"prompt_hash": text_hash(FACTORIAL), "answer_hash": text_hash(BEES), **keys}
    db.insert("reference_items", [{"reference": "r", **item, **hashed}])
    pack = {"id": "k", "name": "sums", "source": "f", "content_hash": "h", "items": 1, **said}
    db.insert("leak_packs", [pack])
    key = item_key(FACTORIAL, "", is_former=True)
    text = text_hash(FACTORIAL)
    leak = {"label": "item 1", "item_key": key, "prompt_hash": text}
    db.insert("leak_items", [{"pack": "k", **item, "answer": "", **leak}])
    hit = {"rule": "exact", "item_side": "prompt", "row_side": "prompt", "coverage": 1.0}
    found = {"pack": "k", "pair_id": rows[0].id, "item": 0, "shared": "[]", "text_hash": text}
    db.insert("leak_hits", [{**found, **hit}])
    about = {"item_key": key, "text_hash": text, **said}
    db.insert("leak_verdicts", [{"id": "v", "verdict": "not_leak", **about}])
    opinion = {"teacher": "t", "model": "m", "prompt_version": "1", "said": "leak", "reason": "r"}
    db.insert("leak_opinions", [{**opinion, "job_id": "j", **about}])


@pytest.fixture
def former(settings, monkeypatch):
    """A workspace that the version before left, opened by this one; and its rows' ids."""
    rows = [pair(FACTORIAL, BEES), pair(FIVE, BEES)]
    known = [one for one in migrate.migrations() if one[0] < 43]
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: known)
        db = Database(settings.home / "workspaces" / "main" / "studio.duckdb")
        insert_former(db, rows)
        db.close()
    studio = build_studio(settings)
    yield studio.workspace("main"), [row.id for row in rows]
    studio.close()


def verdict_on(workspace, prompt):
    return workspace.db.value(
        "SELECT verdict FROM leak_verdicts_in_force WHERE item_key = ? AND text_hash = ?",
        [item_key(prompt, ""), text_hash(FACTORIAL)],
    )


def test_keys_from_before_are_made_anew(former, owner):
    workspace, ids = former
    assert workspace.curate.state(owner).unhashed == 0, "few rows are hashed as the page looks"
    assert workspace.curate.apply(owner).duplicates == 0
    assert set(curation(workspace).values()) <= {"kept", "filtered"}
    (found,) = workspace.references.pairs(owner, "r", threshold=0.9)
    assert (found.row.pair_id, found.is_exact) == (ids[0], True), "the item's key as well"
    assert curation_work.unhashed_count(workspace.db) == 0


def test_verdicts_and_opinions_from_before_still_count(former, owner, tmp_path):
    workspace, _ = former
    curation_work.refresh_hashes(workspace.db)
    assert verdict_on(workspace, FACTORIAL) == "not_leak"
    (hit,) = workspace.leaks.report(owner, "sums").examples
    assert hit.verdict == "not_leak"
    said = workspace.db.rows("SELECT item_key, said FROM leak_opinions_in_force ORDER BY said")
    assert {"item_key": item_key(FACTORIAL, ""), "said": "leak"} in said
    before = workspace.db.rows("SELECT * FROM leak_verdicts ORDER BY ALL")
    with workspace.db.write() as cursor:
        cursor.execute("UPDATE leak_items SET version = 1")
    curation_work.refresh_hashes(workspace.db)
    assert workspace.db.rows("SELECT * FROM leak_verdicts ORDER BY ALL") == before, "said once"
    path = tmp_path / "again.jsonl"
    path.write_text(json.dumps({"question": FACTORIAL}))
    assert not workspace.leaks.add(owner, workspace.studio.uploads.add(path)).is_new


def test_what_is_said_before_all_is_hashed_anew_stays(former, owner):
    workspace, _ = former
    workspace.leaks.judge(owner, "sums", 0, text_hash(FACTORIAL), "leak")
    curation_work.refresh_hashes(workspace.db)
    assert verdict_on(workspace, FACTORIAL) == "leak"
    (hit,) = workspace.leaks.report(owner, "sums").examples
    assert hit.verdict == "leak"


def test_a_verdict_from_before_finds_a_forgotten_pack_that_comes_again(former, owner, tmp_path):
    workspace, _ = former
    leaks.delete_pack(workspace.db, "k")
    curation_work.refresh_hashes(workspace.db)
    assert verdict_on(workspace, FACTORIAL) is None
    path = tmp_path / "sums.jsonl"
    path.write_text(json.dumps({"question": FACTORIAL}))
    workspace.leaks.add(owner, workspace.studio.uploads.add(path))
    curation_work.refresh_hashes(workspace.db)
    assert verdict_on(workspace, FACTORIAL) == "not_leak"


def test_what_was_said_since_is_said_of_one_item_alone(workspace, owner, tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(json.dumps({"question": q}) for q in (FACTORIAL, FIVE)))
    workspace.leaks.add(owner, workspace.studio.uploads.add(path))
    five, factorial = store(workspace, pair(FIVE, BEES), pair(FACTORIAL, BEES))
    done(workspace, owner, workspace.leaks.check(owner))
    found = workspace.leaks.report(owner, "sums").examples
    assert {(hit.item, hit.pair_id) for hit in found} == {(0, factorial), (1, five)}
    workspace.leaks.judge(owner, "sums", 1, text_hash(FIVE), "not_leak")
    curation_work.refresh_hashes(workspace.db)
    found = workspace.leaks.report(owner, "sums").examples
    verdicts = {hit.item: hit.verdict for hit in found}
    assert verdicts == {0: "", 1: "not_leak"}


def test_an_item_is_known_by_one_key_wherever_it_is_made():
    assert leak_work.item_row(0, "What is 5!", "120")["item_key"] == item_key("What is 5!", "120")


# -- much at once ---------------------------------------------------------------------------


def test_a_big_import_is_hashed_by_the_job_not_by_the_page(workspace, owner, monkeypatch):
    monkeypatch.setattr(curation_work, "AT_ONCE", 3)
    monkeypatch.setattr("distill_studio.services.curate.MEASURE_AT_ONCE", 3)
    store(workspace, *(pair(f"Question {k % 4}", BEES) for k in range(8)))
    state = workspace.curate.state(owner)
    assert (state.unhashed, workspace.curate.dedup_preview(owner).exact) == (8, 0)
    assert workspace.references.sets(owner) == []
    done(workspace, owner, workspace.curate.measure(owner))
    assert workspace.curate.state(owner).unhashed == 0
    assert workspace.curate.dedup_preview(owner).exact == 4


def test_apply_hashes_before_others_have_to_wait(workspace, owner, monkeypatch):
    store(workspace, *(pair(f"Question {k % 4}", BEES) for k in range(8)))
    save, inside = embeddings.save_hashes, []

    def watched(db, *arguments):
        inside.append(getattr(db._local, "is_writing", False))
        save(db, *arguments)

    monkeypatch.setattr(embeddings, "save_hashes", watched)
    assert workspace.curate.apply(owner).duplicates == 4
    assert inside == [False]


def test_hashing_goes_on_from_the_last_row_and_a_stopped_one_loses_a_batch(workspace, monkeypatch):
    monkeypatch.setattr(curation_work, "_BATCH_ROWS", 4)
    store(workspace, *(pair(f"Question {k}", BEES) for k in range(10)))
    asked, token = [], CancelToken()
    look = embeddings.rows_without_hashes

    def watched(db, version, limit, after=""):
        rows = look(db, version, limit, after)
        asked.append((after, len(rows)))
        return rows

    monkeypatch.setattr(embeddings, "rows_without_hashes", watched)
    with pytest.raises(Cancelled):
        curation_work.refresh_hashes(workspace.db, token, lambda *_: token.cancel())
    assert curation_work.unhashed_count(workspace.db) == 6
    asked.clear()
    assert curation_work.refresh_hashes(workspace.db) == 6
    assert [count for _, count in asked] == [4, 2, 0]
    assert asked[1][0] > asked[0][0] == ""
