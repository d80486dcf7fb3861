import json
from collections.abc import Iterator

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.services import operations
from distill_studio.services.jobs import NeedsKey
from distill_studio.services.teachers import STARTER
from distill_studio.services.workspace import Workspace
from tests.stub_openai import StubServer, failure

KEY = "sk-very-secret-0123456789"
REVIEWER = Actor(user="r", role=Role.REVIEWER)
VIEWER = Actor(user="v", role=Role.VIEWER)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def config(url: str, **fields) -> TeacherConfig:
    return TeacherConfig(
        name="Stub", kind=TeacherKind.OPENAI, model="stub-1", base_url=url, **fields
    )


def test_the_starter_teacher_comes_first_and_stays(workspace: Workspace, owner: Actor) -> None:
    assert [t.name for t in workspace.teachers.page(VIEWER)] == [STARTER.name]
    workspace.teachers.save(owner, config("http://127.0.0.1:1/v1").model_copy(update={"name": "A"}))
    assert [t.name for t in workspace.teachers.page(VIEWER)] == [STARTER.name, "A"]
    with pytest.raises(Conflict):
        workspace.teachers.delete(owner, STARTER.name)
    with pytest.raises(Conflict):
        workspace.teachers.save(owner, STARTER)
    workspace.teachers.delete(owner, "A")
    with pytest.raises(NotFound):
        workspace.teachers.delete(owner, "A")
    assert workspace.teachers.model(STARTER.name).name == "smollm2-135m-instruct"


def test_presets_are_usable(workspace: Workspace, owner: Actor) -> None:
    for preset in workspace.teachers.presets(VIEWER):
        saved = workspace.teachers.save(
            owner, config(preset["base_url"], key_env=preset["key_env"])
        )
        assert saved.base_url == preset["base_url"]


def test_session_keys_are_in_memory_only(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    saved = workspace.teachers.save(owner, config(stub.url), session_key=KEY)
    assert saved.needs_key
    assert workspace.teachers.test(owner, "Stub").ok
    assert stub.headers[-1]["authorization"] == f"Bearer {KEY}"
    preview = workspace.generate.preview(owner, ["Stub"])
    everything = json.dumps([workspace.db.rows("SELECT * FROM teachers"), preview], default=str)
    assert KEY not in everything
    workspace.db.checkpoint()
    assert KEY.encode() not in workspace.db.path.read_bytes()

    # edited without the key: kept at the same address, dropped at another one
    workspace.teachers.save(owner, config(stub.url, concurrency=2))
    assert workspace.teachers.test(owner, "Stub").ok
    moved = workspace.teachers.save(owner, config("http://127.0.0.1:9/v1"))
    assert not moved.needs_key
    assert KEY not in workspace.studio.session_keys.values()


def test_a_key_that_is_gone_is_asked_for(
    workspace: Workspace, owner: Actor, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.teachers.save(owner, config(stub.url), session_key=KEY)
    workspace.studio.session_keys.clear()  # as after a restart
    with pytest.raises(NeedsKey):
        workspace.teachers.model("Stub")
    assert workspace.teachers.test(owner, "Stub").code == "needs_key"
    workspace.teachers.key(owner, "Stub", KEY)
    assert workspace.teachers.test(owner, "Stub").ok

    workspace.teachers.save(owner, config(stub.url, key_env="STUB_KEY"))
    with pytest.raises(NeedsKey, match="STUB_KEY"):
        workspace.teachers.model("Stub")
    monkeypatch.setenv("STUB_KEY", "from-environment")
    assert workspace.teachers.test(owner, "Stub").ok
    assert stub.headers[-1]["authorization"] == "Bearer from-environment"


def test_keys_of_two_workspaces_do_not_mix(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    workspace.teachers.save(owner, config(stub.url), session_key=KEY)
    other = workspace.studio.workspace("other", create=True)
    other.teachers.save(owner, config("http://127.0.0.1:9/v1"))
    other.teachers.model("Stub")
    assert workspace.studio.session_keys == {"main/Stub": KEY}


def test_only_an_owner_names_addresses(workspace: Workspace, stub: StubServer) -> None:
    teachers = workspace.teachers
    for refused in (
        lambda: teachers.save(REVIEWER, config(stub.url)),
        lambda: teachers.delete(REVIEWER, "Stub"),
        lambda: teachers.key(REVIEWER, "Stub", KEY),
        lambda: teachers.models(REVIEWER, stub.url),
        lambda: teachers.test(REVIEWER, teacher=config(stub.url)),
        lambda: teachers.test(VIEWER, STARTER.name),
    ):
        with pytest.raises(NotAllowed):
            refused()
    assert not stub.headers


def test_lists_models_and_explains_failure(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    listed = operations.call(
        workspace, owner, "teachers_models", {"base_url": stub.url, "session_key": KEY}
    )
    assert listed == ["stub-1", "stub-2"]

    stub.behave = lambda body: failure(404, f"The model {body['model']} does not exist")
    result = workspace.teachers.test(owner, teacher=config(stub.url, key_env=""))
    assert (result.ok, result.code) == (False, "unknown_model")
    assert "stub-2" in result.hint

    stub.behave = lambda body: failure(401, f"bad key {KEY}")
    result = workspace.teachers.test(owner, teacher=config(stub.url), session_key=KEY)
    assert (result.ok, result.code) == (False, "unauthorised")
    assert KEY not in result.model_dump_json()

    result = workspace.teachers.test(owner, teacher=config("http://127.0.0.1:1/v1"))
    assert (result.ok, result.code) == (False, "unreachable")
    assert result.hint
    with pytest.raises(InvalidInput):
        workspace.teachers.models(owner, "file:///etc/passwd")
