"""What a student comes from, asked in every place: known by `run:` and by its folder alike."""

from datetime import UTC, datetime, timedelta

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Run, RunState, TeacherConfig, TeacherKind
from distill_studio.core.records.feedback import Feedback, FeedbackKind
from distill_studio.distill.card import model_card
from distill_studio.distill.spec import TrainSpec
from distill_studio.services import origins
from distill_studio.services.feedback_rounds import next_round, round_of
from distill_studio.services.hub_upload import HubUploads
from distill_studio.services.model_facts import model_facts
from distill_studio.store import feedback, runs
from tests.services.test_distill import freeze_some
from tests.tiny_model import build_tiny_model

START = datetime(2026, 1, 1, tzinfo=UTC)
QWEN = "org/Qwen3-0.6B"


def add_run(workspace, name: str, base_id: str, day: float, method: str = "sft", **student) -> Run:
    run = Run(
        name=name, method=method, snapshot_id="s", state=RunState.DONE,
        config={"student": {"base_id": base_id, **student}, "lora": {"r": 8, "alpha": 16}},
        created_at=START + timedelta(days=day),
    )  # fmt: skip
    runs.insert(workspace.db, run)
    return run


def names(way: list[Run]) -> list[str]:
    return [run.name for run in way]


@pytest.fixture(params=["id", "model", "checkpoints/checkpoint-40"])
def second(request, workspace) -> Run:
    """A training that goes on from the student of another: by its id, or by where its files lie."""
    add_run(workspace, "first", QWEN, 0)
    folder = str(workspace.folder.resolve() / "runs" / "first")
    if request.param == "id":
        return add_run(workspace, "second", "run:first", 1, "dpo", base_folder=f"{folder}/model")
    place = f"{folder}/{request.param}"
    return add_run(workspace, "second", place, 1, "dpo", base_folder=place)


def test_the_way_and_the_root(workspace, second):
    add_run(workspace, "third", "run:second", 2)
    assert names(origins.way(workspace, "third")) == ["first", "second", "third"]
    assert [origins.root(workspace, name) for name in ("third", "second", "first")] == [QWEN] * 3
    assert origins.base(workspace, second) == "run:first"
    assert (origins.way(workspace, "nobody"), origins.root(workspace, "nobody")) == ([], "")


def test_of_a_deleted_run_the_name_is_left(workspace, second):
    runs.delete(workspace.db, "first")
    assert names(origins.way(workspace, "second")) == ["second"]
    assert origins.root(workspace, "second") == "run:first"
    assert origins.has_own_base(workspace, second)


def test_a_newer_run_of_a_deleted_ones_name_is_another_model(workspace, owner, second):
    """It may even have grown from what grew from that one."""
    runs.delete(workspace.db, "first")
    add_run(workspace, "first", "run:second", 2)
    assert names(origins.way(workspace, "first")) == ["second", "first"]
    assert names(origins.way(workspace, "second")) == ["second"]
    found = workspace.lineage.model(owner, "first")
    assert [step.base for step in found.steps] == ["run:first", "run:second"]
    assert (found.children, workspace.lineage.model(owner, "second").children) == ([], ["first"])


def test_a_folder_elsewhere_is_no_run(workspace):
    add_run(workspace, "first", QWEN, 0)
    run = add_run(
        workspace, "other", "/models/runs/first/model", 1, base_folder="/models/runs/first/model"
    )
    assert names(origins.way(workspace, "other")) == ["other"]
    assert not origins.has_own_base(workspace, run)


def test_an_adapter_of_it_fits_no_published_model(workspace, owner, second):
    folder = workspace.folder / "runs" / "second"
    for name in ("model", "adapter"):
        (folder / name).mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    facts = model_facts(workspace, owner, second)
    assert (facts.base_model, facts.has_own_base) == (QWEN, True)
    assert [one.base for one in facts.trainings] == [QWEN, "run:first"]
    card = model_card(second, "adapter", facts)
    assert "base_model:" not in card
    assert "| Base | run:first |" in card
    assert "answers wrongly" in card
    with pytest.raises(InvalidInput, match="fits only its own base"):
        workspace.distill.package(owner, "second", "adapter")
    uploads = HubUploads(workspace)
    found = uploads.warnings(owner, "model", "second", "ann/second", "adapter", private=True)
    (warning,) = [one for one in found if one.code == "base_missing"]
    assert "belongs on run:first, which is on this machine only" in warning.message
    first = runs.get(workspace.db, "first")
    assert not model_facts(workspace, owner, first).has_own_base
    pruned = add_run(workspace, "pruned", QWEN, 2, keep_layers=24)
    assert model_facts(workspace, owner, pruned).has_own_base


def test_its_family_is_that_of_what_it_grew_from(workspace, owner, second):
    workspace.teachers.save(
        owner,
        TeacherConfig(
            name="elder", kind=TeacherKind.OPENAI, model="qwen-max", base_url="http://127.0.0.1:9"
        ),
    )
    said = workspace.suites.judge_warning(owner, "elder", ["student:second"])
    assert f"second (from {QWEN}) are of one family" in said
    assert origins.named_with_root(workspace, "second@40", "second, step 40") == (
        f"second, step 40 (from {QWEN})"
    )


def test_a_base_in_a_folder_is_named_without_the_way_to_it(workspace):
    add_run(workspace, "first", "/home/ann/models/Qwen3-0.6B", 0)
    assert origins.named_with_root(workspace, "first", "first") == "first (from Qwen3-0.6B)"


def test_what_belongs_beside_it(workspace, owner, second):
    missing = {one.part: one for one in workspace.suites.beside(owner, ["student:second"])}
    assert missing["sft"].model == "student:first"
    assert f"the base of second, {QWEN}" in missing["base"].said


def test_sft_on_the_same_student_belongs_beside_it_however_that_was_named(workspace, owner, second):
    add_run(workspace, "plain", "run:first", 2)
    add_run(workspace, "first-too", QWEN, 3, "dpo")
    runs.update(workspace.db, "first", method="logit")  # so that no stage of its way is SFT
    missing = {one.part: one for one in workspace.suites.beside(owner, ["student:second"])}
    assert missing["sft"].model == "student:plain"


def test_its_round(workspace, second):
    assert (round_of(workspace, "second"), next_round(workspace, "second")) == (1, 1)
    step = Feedback(
        trial_id="t", suite_id="s", student="student:first", kind=FeedbackKind.SEEDS, numbers=(0,),
        sent_at=START + timedelta(days=0.5),
    )  # fmt: skip
    feedback.insert(workspace.db, step)
    assert (round_of(workspace, "second"), next_round(workspace, "second")) == (2, 2)


def test_preflight_knows_that_it_has_learned_answers(workspace, owner):
    snapshot = freeze_some(workspace, owner)
    add_run(workspace, "first", QWEN, 0)
    folder = build_tiny_model(workspace.folder / "runs" / "first" / "model")
    elsewhere = build_tiny_model(workspace.folder / "elsewhere" / "model")
    for student, is_cold in (("run:first", False), (str(folder), False), (str(elsewhere), True)):
        spec = TrainSpec(
            snapshot=snapshot, student=student, method="on_policy", teacher=str(folder)
        )
        codes = [one.code for one in workspace.distill.preflight(owner, spec)]
        assert ("cold_start" in codes) is is_cold, (student, codes)
