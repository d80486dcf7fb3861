"""The JSON API: operations, errors, uploads, files, workspaces."""

import json

import pytest

from distill_studio.services import operations


def test_operations_are_listed_with_their_arguments(serve):
    with serve() as client:
        listed = {o["name"]: o for o in client.get("/api/operations").json()}
    assert set(listed) == set(operations.operations())
    assert "job_id" in listed["jobs_get"]["arguments"]["properties"]
    assert all(o["summary"] for o in listed.values())


def test_errors_carry_code_message_and_hint(serve):
    with serve() as client:
        missing = client.post("/api/main/no_such_thing", json={})
        assert missing.status_code == 404
        assert set(missing.json()["error"]) == {"code", "message", "hint"}
        wrong = client.post("/api/main/jobs_get", json={"job": "x"})
        assert wrong.status_code == 400
        assert "job_id" in wrong.json()["error"]["message"]
        unknown = client.post("/api/nowhere/overview_counts", json={})
        assert unknown.status_code == 404
        assert "nowhere" in unknown.json()["error"]["message"]


def test_workspaces_are_made_and_thrown_away(serve):
    with serve() as client:
        assert client.post("/api/workspaces", json={"name": "second"}).json() == {"name": "second"}
        assert client.post("/api/workspaces", json={"name": "second"}).status_code == 409
        assert client.post("/api/workspaces", json={"name": "../up"}).status_code == 400
        assert "second" in client.get("/api/status").json()["workspaces"]
        assert client.delete("/api/workspaces/second").status_code == 200
        assert "second" not in client.get("/api/status").json()["workspaces"]


def test_an_upload_lands_under_our_own_name(serve, settings):
    with serve() as client:
        answer = client.post("/api/uploads", params={"name": "../../evil.jsonl"}, content=b"x\n")
    upload_id = answer.json()["upload_id"]
    files = [p for p in (settings.home / "uploads").rglob("*") if p.is_file()]
    assert [p.relative_to(settings.home / "uploads").parts[0] for p in files] == [upload_id]
    assert files[0].read_bytes() == b"x\n"


def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(serve, settings):
    with serve(max_upload_mib=1) as client:
        answer = client.post("/api/uploads", params={"name": "big"}, content=b"x" * (2**20 + 1))
    assert answer.status_code == 400
    assert "1 MiB" in answer.json()["error"]["message"]
    assert [p for p in (settings.home / "uploads").rglob("*") if p.is_file()] == []


def test_exports_are_served_and_nothing_else(serve, settings):
    folder = settings.home / "workspaces" / "main" / "exports"
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text(json.dumps({"a": 1}))
    with serve() as client:
        answer = client.get("/files/main/exports/rows.jsonl")
        assert answer.json() == {"a": 1}
        assert "attachment" in answer.headers["content-disposition"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/files/main/exports/..%2fstudio.duckdb",
        "/files/main/exports/%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.key",
        "/files/main/exports/..%5cstudio.duckdb",
        "/files/main/exports/%2fetc%2fpasswd",
        "/files/..%2f..%2f/exports/passwd",
        "/files/%2e%2e/exports/secret.key",
        "/files/main/exports/",
        "/files/main/exports/link",
    ],
)
def test_no_path_leads_out_of_the_exports(serve, settings, path):
    folder = settings.home / "workspaces" / "main" / "exports"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(settings.home / "secret.key")
    with serve() as client:
        answer = client.get(path)
        assert answer.status_code in (400, 404), answer.status_code
        secret = (settings.home / "secret.key").read_text()
        assert secret not in answer.text
