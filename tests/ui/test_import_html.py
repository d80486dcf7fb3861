"""What the Seeds tab says of documents and of rows with remarks."""

from pathlib import Path

from distill_studio.core.actor import Actor
from distill_studio.core.records import Message, Seed
from distill_studio.services.importing import ImportCounts, ImportProblem
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace
from distill_studio.ui.panels import import_html

EVIL = "<img src=x>"


def test_a_document_is_told_from_a_list_of_prompts(
    studio: Studio, workspace: Workspace, owner: Actor, tmp_path: Path
) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"One {EVIL}.\n\nTwo.")
    preview = workspace.seeds.preview(owner, studio.uploads.add(path))
    summary = import_html.summary_html(preview)
    for text in (
        "Text",
        "passages of documents",
        "1 document",
        "1 passage",
        "Each passage becomes",
    ):
        assert text in summary
    examples = import_html.examples_html(preview)
    assert "a.md 1 of 1" in examples
    assert "Answer" not in examples
    assert EVIL not in examples
    assert import_html.button_text(preview, accept=False) == "Import 1 prompt"


def test_remarks_are_listed_beside_problems() -> None:
    counts = ImportCounts(
        problem_count=1,
        problems=[ImportProblem(line=1, reason=f"bad {EVIL}")],
        remark_count=2,
        remarks=[ImportProblem(line=2, reason="Part 1 is long")],
        split=3,
    )
    html = import_html.result_html("a.json", counts)
    for text in ("1 row cannot go in", "2 rows with a remark", "Part 1 is long", "And 1 more row"):
        assert text in html
    assert "3 long conversations cut into several" in html
    assert EVIL not in html


def test_a_seed_says_its_place() -> None:
    seed = Seed(messages=(Message(role="user", content="x"),))
    assert import_html.passage_place(seed) == ""
    part = seed.model_copy(update={"extra": {"document": "b/a.md", "part": 2, "of": 3}})
    assert import_html.passage_place(part) == "b/a.md 2 of 3"
