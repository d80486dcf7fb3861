"""Log-in with accounts: sessions, invitations, roles over HTTP, and what the studio's password
still opens."""

import ast
import inspect
import re
import textwrap
from typing import Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict
from distill_studio.services import operations
from distill_studio.web.identity import COOKIE, MAX_NAME_TRIES, MAX_TRIES
from tests.web.conftest import TOKEN

WORDS = "correct horse battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RANKS = ("viewer", "reviewer", "owner")
OWNERS_ONLY = {
    "users_page", "users_add", "users_invite", "users_set_password", "users_set_role",
    "users_disable", "users_enable", "users_let_go", "users_ways",
}  # fmt: skip
REVIEWERS = {"review_decide", "review_undo_last", "review_bulk", "prefer_queue", "prefer_vote"}
ANYBODY = {"users_me", "users_change_password", "review_history", "overview_counts"}


def call(client, operation: str, **arguments: Any):
    return client.post(f"/api/main/{operation}", json=arguments)


def as_owner(client, operation: str, **arguments: Any):
    answer = client.post(f"/api/main/{operation}", json=arguments, headers=BEARER)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log_in(client, user: str, password: str = WORDS):
    client.cookies.clear()
    return client.post("/login", data={"user": user, "password": password})


def test_an_account_of_an_owner_shuts_the_door_of_this_machine(serve):
    with serve() as client:
        assert call(client, "users_me").json()["role"] == "owner"
        as_owner(client, "users_add", name="ann", role="owner", password=WORDS)
        assert call(client, "users_me").status_code == 401
        assert log_in(client, "ann").status_code == 303
        assert call(client, "users_me").json() == {
            "name": "ann",
            "role": "owner",
            "has_account": True,
            "has_password": True,
        }


def test_an_invitation_over_http(serve):
    with serve(host="0.0.0.0") as client:
        path = as_owner(client, "users_add", name="ann", role="owner")
        path = path["invitation"]["path"]
        assert client.get(path).status_code == 200  # not locked any more, nor a way in
        assert call(client, "users_me").status_code == 401
        code = path.partition("code=")[2]

        def join(password: str, again: str):
            return client.post("/join", data={"code": code, "password": password, "again": again})

        assert join(WORDS, "another").status_code == 400
        assert join("short", "short").status_code == 400
        assert join(WORDS, WORDS).headers["location"] == "/"
        assert call(client, "users_me").json()["name"] == "ann"
        assert client.get(path).status_code == 404
        assert join(WORDS, WORDS).status_code == 404


def test_the_studios_password_opens_no_name_of_another_and_tries_are_counted(serve):
    with serve(host="0.0.0.0", password="the studio's own") as client:
        assert log_in(client, "ann", "the studio's own").status_code == 303  # nobody has accounts
        client.cookies.clear()
        as_owner(client, "users_add", name="ann", role="reviewer", password=WORDS)
        for name in ("ann", "ANN", "bob"):
            assert log_in(client, name, "the studio's own").status_code == 401, name
        assert log_in(client, "owner", "the studio's own").status_code == 303
        assert call(client, "users_me").json()["role"] == "owner"
        for _ in range(MAX_TRIES - 3):  # after the three above
            assert log_in(client, "ann", "guess").status_code == 401
        assert log_in(client, "ann").status_code == 429
    assert MAX_NAME_TRIES > MAX_TRIES


def test_a_disabled_person_is_out_at_once_and_a_role_holds_at_once(serve):
    with serve(password="the studio's own") as client:
        as_owner(client, "users_add", name="ann", role="reviewer", password=WORDS)
        log_in(client, "ann")
        assert call(client, "review_undo_last").status_code == 200
        as_owner(client, "users_set_role", name="ann", role="viewer")
        assert call(client, "review_undo_last").status_code == 403
        for path in ("/api/status", "/api/operations", "/config"):
            assert client.get(path).status_code == 200
        assert client.post("/api/uploads", content=b"x").status_code == 403
        assert client.post("/api/workspaces", json={"name": "anns"}).status_code == 403
        assert client.delete("/api/workspaces/main").status_code == 403
        as_owner(client, "users_disable", name="ann")
        assert call(client, "users_me").status_code == 401
        assert log_in(client, "ann").status_code == 401


class Passed(Conflict):
    """What an operation raises in the next test when the role was enough."""

    code = "passed"


def test_each_operation_takes_its_role_and_no_less_over_http(serve, monkeypatch):
    """Over all operations: a stranger gets 401, a lower role 403, the role itself is let through.

    `Actor.require` is each operation's first line (tests/test_architecture.py), so raising there
    when it is satisfied shows that the check was passed without doing anything.
    """
    really = Actor.require

    def require(self: Actor, role: Role) -> None:
        really(self, role)
        raise Passed("the role was enough")

    needed = {name: declared_role(name) for name in operations.operations()}
    assert {n for n in OWNERS_ONLY if needed[n] != Role.OWNER} == set()
    assert {n for n in REVIEWERS if needed[n] != Role.REVIEWER} == set()
    assert {n for n in ANYBODY if needed[n] != Role.VIEWER} == set()
    with serve(host="0.0.0.0", password="the studio's own") as client:
        sessions = {}
        for rank in RANKS:
            as_owner(client, "users_add", name=rank, role=rank, password=WORDS)
            assert log_in(client, rank).status_code == 303
            sessions[rank] = client.cookies[COOKIE]
        monkeypatch.setattr(Actor, "require", require)
        for name, operation in operations.operations().items():
            arguments = smallest(operation.arguments.model_json_schema())
            client.cookies.clear()
            assert call(client, name, **arguments).status_code == 401, name
            for rank in RANKS:
                client.cookies.clear()
                client.cookies.set(COOKIE, sessions[rank])
                answer = call(client, name, **arguments)
                wanted = "passed" if Role[rank.upper()] >= needed[name] else "not_allowed"
                assert answer.json()["error"]["code"] == wanted, f"{name} as {rank}: {answer.text}"


def declared_role(name: str) -> Role:
    """The role that the operation's first line asks for (the lower one where it depends)."""
    operation = operations.operations()[name]
    service = next(s for s in operations._service_classes() if s.word == operation.word)
    source = textwrap.dedent(inspect.getsource(getattr(service, operation.method)))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    return min(Role[word] for word in re.findall(r"Role\.(\w+)", ast.unparse(function.body[1])))


def smallest(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A small value that a JSON schema allows."""
    root = root or schema
    if "$ref" in schema:
        return smallest(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for choice in ("const", "default"):
        if choice in schema:
            return schema[choice]
    if "enum" in schema:
        return schema["enum"][0]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return smallest(options[0], root)
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: smallest(properties[name], root) for name in schema.get("required", [])}
    if kind == "array":
        return [smallest(schema["items"], root)] * schema.get("minItems", 0)
    if kind == "string":
        return (
            "2024-01-01T00:00:00Z"
            if schema.get("format") == "date-time"
            else "x" * max(1, schema.get("minLength", 1))
        )
    return {"integer": 1, "number": 1.0, "boolean": False}.get(str(kind))
