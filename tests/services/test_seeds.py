"""Importing through the service: counts, nothing twice, nothing lost, real files."""

import json
from pathlib import Path

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import JobState, PairStatus
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import operations
from distill_studio.services.importing import ImportCounts
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs, preferences
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery

ROWS = [{"question": f"Q{n}", "answer": f"A{n}", "category": "x"} for n in range(5)]


def upload(studio: Studio, tmp_path: Path, name: str, content: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return studio.uploads.add(path)


def jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def news(counts: ImportCounts) -> tuple[int, int, int]:
    return counts.seeds_new, counts.pairs_new, counts.preferences


def test_preview_stores_nothing_and_import_does_what_it_said(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    upload_id = upload(studio, tmp_path, "a.jsonl", jsonl(ROWS) + "broken\n")
    preview = workspace.seeds.preview(owner, upload_id)
    assert news(preview.counts) == (5, 5, 0)
    assert [(p.line, p.reason[:11]) for p in preview.counts.problems] == [(6, "Broken JSON")]
    assert preview.mapping.columns() == {
        "prompt": "question", "answer": "answer", "topic": "category",
    }  # fmt: skip
    assert (preview.examples[0].prompt, preview.examples[0].answers) == ("Q0", ("A0",))
    assert workspace.seeds.count(owner) == 0
    report = workspace.seeds.import_file(owner, upload_id)
    assert report.counts == preview.counts
    [pair] = pairs.page(workspace.db, PairQuery(search="A3"))
    assert (pair.recipe, pair.source, pair.topic) == ("import", "a.jsonl", "x")
    assert pair.status is PairStatus.PENDING


def test_the_same_answers_are_stored_once_whatever_the_file(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    twice = [*ROWS, ROWS[0]]  # the same answer twice in one file stays two rows
    first = upload(studio, tmp_path, "a.jsonl", jsonl(twice))
    assert news(workspace.seeds.import_file(owner, first).counts) == (5, 6, 0)
    again = workspace.seeds.import_file(owner, first).counts
    assert news(again) == (0, 0, 0)
    assert (again.seeds_known, again.pairs_known) == (5, 6)
    mended = upload(studio, tmp_path, "b.csv", "question,answer\nNew,N\nQ1,A1\nQ1,other\n")
    assert news(workspace.seeds.preview(owner, mended).counts) == (1, 2, 0)
    assert news(workspace.seeds.import_file(owner, mended).counts) == (1, 2, 0)
    assert pairs.count(workspace.db, PairQuery()) == 8


def test_accepted_imports_are_decisions_and_never_overrule(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    upload_id = upload(studio, tmp_path, "a.jsonl", jsonl(ROWS))
    workspace.seeds.import_file(owner, upload_id)
    [pair] = pairs.page(workspace.db, PairQuery(search="A3"))
    operations.call(
        workspace,
        owner,
        "review_decide",
        {"decisions": [{"id": "decision-1", "pair_id": pair.id, "kind": "reject"}]},
    )
    report = workspace.seeds.import_file(owner, upload_id, mark_accepted=True)
    assert report.counts.accepted == 4
    assert workspace.seeds.import_file(owner, upload_id, mark_accepted=True).counts.accepted == 0
    assert pairs.counts(workspace.db)["rejected"] == 1
    assert decisions.out_of_step(workspace.db) == []


def test_preferences_are_stored_once_with_their_pairs(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    row = {"prompt": "P", "chosen": "good", "rejected": "bad"}
    upload_id = upload(studio, tmp_path, "a.jsonl", jsonl([row, row]))
    assert workspace.seeds.preview(owner, upload_id).counts.preferences == 2
    workspace.seeds.import_file(owner, upload_id, mark_accepted=True)
    assert news(workspace.seeds.import_file(owner, upload_id).counts) == (0, 0, 0)
    made = preferences.page(workspace.db, PreferenceQuery())
    chosen, rejected = pairs.get(workspace.db, [made[0].chosen_pair_id, made[0].rejected_pair_id])
    assert (made[0].source, made[0].outcome) == ("import", "win")
    assert (chosen.answer, chosen.status) == ("good", PairStatus.ACCEPTED)
    assert (rejected.answer, rejected.status) == ("bad", PairStatus.PENDING)


def test_a_corrected_mapping_is_used_and_checked(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    upload_id = upload(studio, tmp_path, "a.csv", "frage,antwort\nWas?,Das.\n")
    preview = workspace.seeds.preview(owner, upload_id)
    assert "No column holds prompts" in preview.hint
    assert "frage, antwort" in preview.hint
    with pytest.raises(InvalidInput, match="No column holds prompts"):
        workspace.seeds.import_file(owner, upload_id)
    mapping = ColumnMapping(prompt="frage", answer="antwort", default_teacher="me")
    assert workspace.seeds.preview(owner, upload_id, mapping).examples[0].teachers == ("me",)
    with pytest.raises(InvalidInput, match=r"no column 'answer' .* frage, antwort"):
        workspace.seeds.preview(owner, upload_id, ColumnMapping(prompt="frage", answer="answer"))
    assert news(workspace.seeds.import_file(owner, upload_id, mapping).counts) == (1, 1, 0)


def test_a_big_file_is_a_job_that_reports(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    rows = [{"prompt": f"P{n}", "response": f"R{n}"} for n in range(2500)]
    upload_id = upload(studio, tmp_path, "a.jsonl", jsonl(rows))
    job = workspace.seeds.import_start(owner, upload_id, mark_accepted=True)
    job = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert (job.state, job.error) == (JobState.DONE, "")
    assert job.result["counts"]["pairs_new"] == job.result["counts"]["accepted"] == 2500
    assert pairs.counts(workspace.db)["usable"] == 2500


def test_an_import_that_broke_off_goes_on_without_doubling(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    rows = [{"prompt": f"P{n}", "response": "same"} for n in range(1500)]
    upload_id = upload(studio, tmp_path, "a.jsonl", jsonl(rows))
    half = upload(studio, tmp_path, "half.jsonl", jsonl(rows[:700]))
    workspace.seeds.import_file(owner, half)
    workspace.seeds.import_file(owner, upload_id)
    assert pairs.count(workspace.db, PairQuery()) == 1500


def test_stored_texts_are_what_the_file_said(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    odd = "nul \0 tab\t\u2028 emoji \U0001f600 ${x} <b>"
    upload_id = upload(studio, tmp_path, "a.jsonl", jsonl([{"prompt": odd, "response": odd}]))
    workspace.seeds.import_file(owner, upload_id)
    [pair] = pairs.page(workspace.db, PairQuery())
    assert (pair.prompt, pair.answer) == (odd, odd)


def test_typed_prompts_paging_and_deleting(workspace: Workspace, owner: Actor) -> None:
    added = workspace.seeds.add(owner, "one\n\ntwo\none\n", "t", one_per_line=True)
    assert (added.new, added.known) == (2, 1)
    assert workspace.seeds.add(owner, "a\nb").new == 1
    with pytest.raises(InvalidInput):
        workspace.seeds.add(owner, "  ")
    newest = workspace.seeds.page(owner, limit=2, newest_first=True)
    assert [seed.prompt for seed in newest] == ["a\nb", "two"]
    rest = workspace.seeds.page(owner, newest[-1].id, newest_first=True)
    assert [seed.prompt for seed in rest] == ["one"]
    assert workspace.seeds.facets(owner) == {"topic": ["t"], "source": ["typed"]}
    assert workspace.seeds.count(owner, search="TW") == 1
    report = workspace.seeds.delete(owner, [seed.id for seed in newest])
    assert (report.deleted, report.kept) == (2, 0)


def test_seeds_with_answers_stay(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    workspace.seeds.import_file(owner, upload(studio, tmp_path, "a.jsonl", jsonl(ROWS)))
    ids = [seed.id for seed in workspace.seeds.page(owner)]
    assert workspace.seeds.delete(owner, ids).kept == 5


def test_roles_and_unknown_uploads(workspace: Workspace, owner: Actor) -> None:
    viewer = Actor(user="v", role=Role.VIEWER)
    for call in (
        lambda: workspace.seeds.add(viewer, "x"),
        lambda: workspace.seeds.preview(viewer, "x"),
        lambda: workspace.seeds.delete(Actor(user="r", role=Role.REVIEWER), []),
    ):
        with pytest.raises(NotAllowed):
            call()
    with pytest.raises(NotFound):
        workspace.seeds.preview(owner, "../../etc/passwd")


@pytest.mark.parametrize(
    ("name", "seeds", "answers", "judged", "problems"),
    [
        ("alpaca_seed_tasks.jsonl", 175, 175, 0, 0),
        ("gsm8k_train_2000.jsonl", 2000, 2000, 0, 0),
        ("gsm8k_test.jsonl", 1319, 1319, 0, 0),
        ("mt_bench_questions.jsonl", 80, 0, 0, 0),
        ("vicuna_bench_questions.jsonl", 80, 0, 0, 0),
        ("sharegpt_conversations.json", 384, 500, 0, 0),
        ("alpaca_eval_gpt4_1106_preview.json", 805, 805, 0, 0),
        ("alpaca_eval_vicuna-7b.json", 805, 805, 0, 0),
        ("alpaca_eval_alpaca-7b.json", 805, 805, 0, 0),
        ("alpaca_eval_text_davinci_003.json", 805, 803, 0, 0),
        ("alpaca_eval_preferences.jsonl", 400, 800, 400, 0),
    ],
)
def test_real_files(
    studio: Studio,
    workspace: Workspace,
    owner: Actor,
    shared_data: Path,
    name: str,
    seeds: int,
    answers: int,
    judged: int,
    problems: int,
) -> None:
    report = workspace.seeds.import_file(owner, studio.uploads.add(shared_data / name))
    assert news(report.counts) == (seeds, answers, judged)
    assert report.counts.problem_count == problems


def test_texts_become_one_seed_a_passage(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = "\n\n".join(f"{name}{n} " + "word " * 30 for n in range(4))
        (tmp_path / name / "notes.md").write_text(text)
    upload_id = studio.uploads.add_files([tmp_path / n / "notes.md" for n in ("a", "b")])
    mapping = workspace.seeds.preview(owner, upload_id).mapping
    shorter = mapping.model_copy(update={"passage_words": 70})
    preview = workspace.seeds.preview(owner, upload_id, shorter)
    assert (preview.format, preview.layout) == ("zip", "passages of documents")
    assert (preview.counts.rows, preview.counts.documents) == (4, 2)
    assert news(preview.counts) == (4, 0, 0)
    assert preview.examples[3].place == "notes_2.md 2 of 2"
    report = workspace.seeds.import_file(owner, upload_id, shorter)
    assert report.counts == preview.counts
    seeds = workspace.seeds.page(owner)
    assert {seed.source for seed in seeds} == {"notes_and_1_more.zip"}
    assert [seed.extra for seed in seeds] == [
        {"document": name, "part": part, "of": 2}
        for name in ("notes.md", "notes_2.md")
        for part in (1, 2)
    ]
    assert seeds[0].messages[0].content.startswith("a0 word")


def test_several_files_must_be_texts(studio: Studio, tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InvalidInput, match=r"b\.jsonl is not"):
        studio.uploads.add_files([tmp_path / "a.txt", tmp_path / "b.jsonl"])


def test_long_conversations_are_split_when_asked(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    turns = [
        turn
        for n in range(4)
        for turn in ({"from": "human", "value": f"Q{n}"}, {"from": "gpt", "value": "A" * 90})
    ]
    upload_id = upload(studio, tmp_path, "c.json", json.dumps([{"conversations": turns}]))
    whole = workspace.seeds.preview(owner, upload_id)
    assert (news(whole.counts), whole.counts.split) == ((1, 1, 0), 0)
    short = whole.mapping.model_copy(update={"split_tokens": 70})
    report = workspace.seeds.import_file(owner, upload_id, short)
    assert (news(report.counts), report.counts.split) == ((2, 2, 0), 1)
    again = workspace.seeds.import_file(owner, upload_id, short).counts
    assert (news(again), again.pairs_known) == ((0, 0, 0), 2)
    tiny = workspace.seeds.preview(
        owner, upload_id, whole.mapping.model_copy(update={"split_tokens": 10})
    )
    assert (tiny.counts.remark_count, tiny.counts.rows) == (4, 1)
    assert "kept whole" in tiny.counts.remarks[0].reason
