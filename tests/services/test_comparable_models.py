"""Which models can be compared, and what is known of them."""

import pytest

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import (
    Run,
    RunState,
    TeacherConfig,
    TeacherKind,
)
from distill_studio.core.records.comparison import ModelRole
from distill_studio.distill.config import METHOD_LABELS
from distill_studio.services import comparable_models
from distill_studio.services import teachers as services_teachers
from distill_studio.services.comparable_models import ComparableModels
from distill_studio.services.evaluate import HeldOut
from distill_studio.store import runs


def add_run(
    workspace, name: str, state: RunState = RunState.DONE, base: str = "", **metrics
) -> None:
    config = {"student": {"base_id": base}}
    run = Run(name=name, method="sft", snapshot_id="s", state=state, config=config, metrics=metrics)
    runs.insert(workspace.db, run)


def test_finished_runs_are_students_newest_first(workspace, owner):
    add_run(workspace, "first")
    add_run(workspace, "broken", RunState.FAILED)
    add_run(workspace, "second", base="smollm2-135m-instruct")
    cards = workspace.evaluate.models(owner)
    assert [c.id for c in cards if c.role is ModelRole.STUDENT] == [
        "student:second", "student:first",
    ]  # fmt: skip
    # the starter teacher is the base here: once is enough
    assert workspace.evaluate.defaults(owner) == [cards[0].id, "student:second"]


def test_a_base_that_is_not_the_teacher_stands_between(workspace, owner, monkeypatch):
    add_run(workspace, "first", base="smollm2-135m-instruct")
    other = services_teachers.STARTER.model_copy(update={"model": "another"})
    monkeypatch.setattr(services_teachers, "STARTER", other)
    roles = [name.partition(":")[0] for name in workspace.evaluate.defaults(owner)]
    assert roles == ["teacher", "base", "student"]


def test_models_that_share_a_label_are_told_apart(workspace, owner):
    teacher = TeacherConfig(
        name="twin", kind=TeacherKind.OPENAI, model="m", base_url="http://127.0.0.1:9/v1"
    )
    workspace.teachers.save(owner, teacher)
    add_run(workspace, "twin")
    labels = [c.label for c in workspace.evaluate.models(owner) if "twin" in c.label]
    assert labels == ["twin (teacher)", "twin (student)"]


def test_a_name_that_several_models_have_is_asked_back(workspace, owner):
    teacher = TeacherConfig(
        name="twin", kind=TeacherKind.OPENAI, model="m", base_url="http://127.0.0.1:9/v1"
    )
    workspace.teachers.save(owner, teacher)
    add_run(workspace, "twin")
    add_run(workspace, "alone")
    find = workspace.evaluate.comparable.card
    with pytest.raises(InvalidInput, match=r"teacher:twin or student:twin") as refused:
        find(owner, "twin")
    assert refused.value.user_message == "Several models are called 'twin'."
    assert find(owner, "twin (student)").id == find(owner, "student:twin").id == "student:twin"
    assert find(owner, "alone").id == "student:alone"


def test_the_base_of_a_second_stage_stands_beside_it_and_not_the_first_that_is_here(
    workspace, owner, monkeypatch
):
    """A teacher that is this very base does not take the first teacher's place."""
    there = [{"id": one, "use": "chat", "is_present": True} for one in ("org/other", "org/grown")]
    monkeypatch.setattr(comparable_models, "list_models", lambda folder: there)
    first = services_teachers.STARTER.model_copy(update={"name": "big", "model": "org/big"})
    monkeypatch.setattr(services_teachers, "STARTER", first)
    same = TeacherConfig(name="same", kind=TeacherKind.LOCAL, model="org/grown")
    workspace.teachers.save(owner, same)
    add_run(workspace, "sft", base="org/grown")
    add_run(workspace, "dpo", base="run:sft")
    teachers = [one.id for one in workspace.evaluate.models(owner) if one.role is ModelRole.TEACHER]
    assert workspace.evaluate.defaults(owner) == [teachers[0], "base:org/grown", "student:dpo"]


def test_models_that_are_one_and_the_same_are_told(workspace, owner):
    def save(name: str, kind: TeacherKind, model: str, **where: str) -> str:
        teacher = TeacherConfig(name=name, kind=kind, model=model, **where)
        workspace.teachers.save(owner, teacher)
        return f"teacher:{name}"

    add_run(workspace, "first")
    starter = "base:smollm2-135m-instruct"
    folder = str(workspace.folder / "runs" / "first" / "model")
    by_hub_id = save("hub", TeacherKind.LOCAL, "HuggingFaceTB/SmolLM2-135M-Instruct")
    by_folder = save("mine", TeacherKind.LOCAL, folder)
    here = {"base_url": "http://127.0.0.1:9/v1"}
    served = [save(name, TeacherKind.OPENAI, "m", **here) for name in ("one", "two")]
    elsewhere = save("three", TeacherKind.OPENAI, "m", base_url="http://127.0.0.1:8/v1")

    def same(*models: str) -> list[list[str]]:
        return [[c.id for c in group] for group in workspace.evaluate.same(owner, list(models))]

    assert same(starter, by_hub_id, "student:first") == [[starter, by_hub_id]]
    assert same("student:first", starter, by_folder) == [["student:first", by_folder]]
    assert same(*served, elsewhere) == [served]
    assert same(elsewhere, served[0], by_folder, starter) == []
    first = workspace.evaluate.models(owner)[0]  # what a first look compares, without a student
    assert same(first.id, starter) == [[first.id, starter]]


def test_held_out_figures_come_from_the_run(workspace, owner):
    add_run(workspace, "first", base="smol", loss_before=1.909, loss_after=1.767, steps=60)
    figures = workspace.evaluate.heldout(owner, "first")
    assert (figures.base, figures.before, figures.after) == ("smol", 1.909, 1.767)
    assert figures.margin_before is None
    with pytest.raises(NotFound):
        workspace.evaluate.heldout(owner, "nobody")


def test_the_words_of_held_out_figures_know_every_method():
    fields = HeldOut.model_fields
    assert all(method in str(fields["method"].description) for method in METHOD_LABELS)
    assert "KTO" in str(fields["margin_before"].description)
    assert "KTO" in str(fields["margin_after"].description)


def test_a_student_whose_folder_is_gone_fails_alone(workspace, owner):
    add_run(workspace, "gone")
    real = ComparableModels(workspace)
    card = real.card(owner, "gone")
    with pytest.raises(NotFound, match="gone"):
        real.source(card)()


@pytest.mark.slow
@pytest.mark.models
def test_the_starter_model_as_teacher_and_as_base(workspace, owner):
    cards = workspace.evaluate.models(owner)
    assert [card.role for card in cards][:2] == [ModelRole.TEACHER, ModelRole.BASE]
    chosen = workspace.evaluate.defaults(owner)
    assert chosen == [cards[0].id, "base:smollm2-135m-instruct"]
    found = workspace.evaluate.compare(
        owner, chosen, "What is the capital of France? Answer in one word.", max_tokens=16
    )
    for answer in found.answers:
        assert "Paris" in answer.text
        assert answer.stats.is_exact
        assert 1 <= answer.stats.tokens <= 16
        assert 0 < answer.stats.first_token_s <= answer.stats.total_s
    base = found.answers[1].card
    assert base.parameters == 134_515_008
    assert base.dtype in ("bfloat16", "float32")
    assert base.size_bytes > 2e8
