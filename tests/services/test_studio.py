"""Workspaces, the data folder's lock, uploads, operations."""

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.services import operations
from distill_studio.services.base import Service


def test_only_one_studio_per_data_folder(studio, settings):
    with pytest.raises(Conflict, match="in use"):
        build_studio(settings)


def test_workspaces_are_made_listed_and_moved_to_the_trash(studio, owner):
    studio.create_workspace(owner, "second")
    assert studio.workspace_names() == ["main", "second"]
    with pytest.raises(Conflict):
        studio.create_workspace(owner, "second")
    trash = studio.delete_workspace(owner, "second")
    assert (trash / "studio.duckdb").exists()
    assert studio.workspace_names() == ["main"]
    with pytest.raises(NotFound):
        studio.workspace("second")


@pytest.mark.parametrize("name", ["../up", "", "A", "with space", "-x", "a/b", "x" * 64])
def test_a_bad_workspace_name_is_refused(studio, owner, name):
    with pytest.raises(InvalidInput):
        studio.create_workspace(owner, name)


def test_a_viewer_may_not_make_or_delete_workspaces(studio):
    viewer = Actor(user="v", role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        studio.create_workspace(viewer, "x")
    with pytest.raises(NotAllowed):
        studio.delete_workspace(viewer, "main")


def test_uploads_have_ids_and_never_paths(studio, tmp_path):
    source = tmp_path / "my data.jsonl"
    source.write_text("{}\n")
    upload_id = studio.uploads.add(source)
    assert studio.uploads.path(upload_id).read_text() == "{}\n"
    assert studio.uploads.path(upload_id).name == "my_data.jsonl"
    for bad in ("..", "../" * 8, "0" * 36, str(source)):
        with pytest.raises(NotFound):
            studio.uploads.path(bad)


def test_an_operation_checks_its_arguments_and_says_which_is_wrong(workspace, owner):
    assert operations.call(workspace, owner, "jobs_page", {"limit": 3}) == []
    with pytest.raises(InvalidInput, match="limt"):
        operations.call(workspace, owner, "jobs_page", {"limt": 3})
    with pytest.raises(InvalidInput, match="job_id"):
        operations.call(workspace, owner, "jobs_get", {})
    with pytest.raises(NotFound):
        operations.call(workspace, owner, "jobs___init__", {})


def test_every_operation_refuses_who_holds_no_role_it_needs(workspace):
    """No operation answers an actor below VIEWER."""
    nobody = Actor.model_construct(user="nobody", role=0)
    for name, operation in operations.operations().items():
        filled = {
            field: _any_value(info.annotation)
            for field, info in operation.arguments.model_fields.items()
            if info.is_required()
        }
        service = getattr(workspace, operation.word)
        with pytest.raises(NotAllowed):
            getattr(service, operation.method)(nobody, **filled)
            pytest.fail(f"{name} answered a stranger")


def test_every_service_is_reached_by_operations(workspace):
    held = {name for name, value in vars(workspace).items() if isinstance(value, Service)}
    assert held == {operation.word for operation in operations.operations().values()}


def _any_value(annotation):
    return {str: "x", int: 1, float: 1.0, bool: False}.get(annotation, [])
