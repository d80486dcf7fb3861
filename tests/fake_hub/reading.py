"""The routes that only read."""

from typing import TYPE_CHECKING, Any

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fake_hub import cards
from tests.fake_hub.repos import Commit, Entry, Refused, Repo

if TYPE_CHECKING:
    from tests.fake_hub.server import FakeHub


async def whoami(hub: "FakeHub", request: Request) -> Response:
    """Who the token is."""
    token = hub.token_of(request)
    if token is None:
        raise Refused(401, "Invalid username or password.")
    access = {"displayName": "a token", "role": token.role}
    told = {
        "type": "user",
        "id": f"id-{token.user}",
        "name": token.user,
        "fullname": token.user.title(),
        "isPro": False,
        "canPay": hub.has_billing,
        "orgs": [{"type": "org", "name": one, "roleInOrg": "write"} for one in token.orgs],
        "auth": {"type": "access_token", "accessToken": access},
    }
    return JSONResponse(told)


async def validate_yaml(hub: "FakeHub", request: Request) -> Response:
    """What is wrong with a README's front matter."""
    asked = await request.json()
    errors, warnings = cards.problems_of(asked["content"], asked["repoType"])
    told = {"errors": [{"message": one} for one in errors]}
    told["warnings"] = [{"message": one} for one in warnings]
    return JSONResponse(told, 400 if errors else 200)


async def info(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str
) -> Response:
    """A repository at a revision."""
    repo = hub.readable(request, kind, repo_id)
    commit = repo.at(revision or "main")
    told: dict[str, Any] = {
        "_id": f"id-{repo.id}",
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.id,
        "createdAt": repo.created,
        "lastModified": commit.date,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "cardData": _card(commit),
        "siblings": [_sibling(one, commit.tree[one], request) for one in sorted(commit.tree)],
    }
    if repo.kind == "model":
        told["modelId"] = repo.id
    if repo.space:
        told |= {"sdk": repo.space.sdk, "runtime": repo.space.runtime()}
    return JSONResponse(told)


def _card(commit: Commit) -> dict[str, Any] | None:
    readme = commit.tree.get("README.md")
    front = cards.FRONT.match(readme.content.decode()) if readme else None
    return yaml.safe_load(front.group(1)) if front else None


def _sibling(path: str, entry: Entry, request: Request) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": path}
    if request.query_params.get("blobs"):
        told |= {"size": len(entry.content), "blobId": entry.oid}
        if entry.lfs:
            size = len(entry.content)
            told["lfs"] = {"sha256": entry.lfs, "size": size, "pointerSize": len(entry.pointer)}
    return told


async def tree(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str, path: str
) -> Response:
    """Files and folders, page by page."""
    repo = hub.readable(request, kind, repo_id)
    commit = repo.at(revision)
    below = path.rstrip("/") + "/" if path else ""
    if path and not any(one.startswith(below) for one in commit.tree):
        raise Refused(404, f"{path} does not exist on {revision!r}", "EntryNotFound")
    told = _listed(commit, below, request.query_params.get("recursive") == "true")
    start = int(request.query_params.get("cursor", "0"))
    end = start + min(hub.page_size, int(request.query_params.get("limit", "1000")))
    headers = {}
    if end < len(told):
        url = request.url.include_query_params(cursor=end)
        headers["Link"] = f'<{url}>; rel="next"'
    return JSONResponse(told[start:end], headers=headers)


def _listed(commit: Commit, below: str, is_recursive: bool) -> list[dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for path, entry in sorted(commit.tree.items()):
        if not path.startswith(below):
            continue
        parts = path[len(below) :].split("/")
        for depth in range(1, len(parts)):
            folder = below + "/".join(parts[:depth])
            told[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
            if not is_recursive:
                break
        if len(parts) == 1 or is_recursive:
            told[path] = entry.told(path)
    return list(told.values())


async def paths_info(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str
) -> Response:
    """Those of the given paths that are there."""
    commit = hub.readable(request, kind, repo_id).at(revision)
    form = await request.form()
    told = []
    for path in (str(one).rstrip("/") for one in form.getlist("paths")):
        if path in commit.tree:
            told.append(commit.tree[path].told(path))
        elif any(one.startswith(path + "/") for one in commit.tree):
            told.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": path})
    return JSONResponse(told)


async def refs(hub: "FakeHub", request: Request, kind: str, repo_id: str) -> Response:
    """Branches and tags."""
    repo = hub.readable(request, kind, repo_id)
    told = {
        what: [
            {"name": name, "ref": f"refs/{where}/{name}", "targetCommit": commit.id}
            for name, commit in kept.items()
        ]
        for what, where, kept in (("branches", "heads", repo.branches), ("tags", "tags", repo.tags))
    }
    return JSONResponse({**told, "converts": [], "pullRequests": []})


async def commits(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str
) -> Response:
    """The history, newest first."""
    repo = hub.readable(request, kind, repo_id)
    told = [
        {
            "id": one.id,
            "title": one.title,
            "message": one.message,
            "date": one.date,
            "authors": [{"user": one.author, "avatar": ""}],
        }
        for one in repo.history(repo.at(revision))
    ]
    return JSONResponse(told)


async def resolve(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str, path: str
) -> Response:
    """A file: as it is, or where it lies."""
    repo = hub.readable(request, kind or "model", repo_id)
    _let_in(hub, request, repo)
    commit = repo.at(revision)
    entry = commit.tree.get(path)
    headers = {"X-Repo-Commit": commit.id}
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound")
    if not entry.lfs:
        return _ranged(request, entry.content, entry.oid, headers)
    headers["X-Linked-Size"] = str(len(entry.content))
    headers["X-Linked-Etag"] = f'"{entry.lfs}"'
    headers["Location"] = object_url(hub, repo, entry.lfs)
    return Response(b"", 302, headers)


def _let_in(hub: "FakeHub", request: Request, repo: Repo) -> None:
    """Refuse the files of a gated repository to those who were not let in."""
    token = hub.token_of(request)
    if not repo.gated or (token and (token.sees(repo) or token.user in repo.let_in)):
        return
    page = f"Access to dataset {repo.id} is restricted."
    if token is None:
        raise Refused(401, f"{page} You must have access to it and be authenticated.", "GatedRepo")
    raise Refused(403, f"{page} You are not in the authorized list.", "GatedRepo")


async def auth_check(hub: "FakeHub", request: Request, kind: str, repo_id: str) -> Response:
    """Whether the files may be read."""
    _let_in(hub, request, hub.readable(request, kind, repo_id))
    return JSONResponse({})


async def collection(hub: "FakeHub", request: Request, slug: str) -> Response:
    """A collection with its items."""
    token = hub.token_of(request)
    found = hub.collections.get(slug)
    if found is None or (found["private"] and not (token and token.user == slug.split("/")[0])):
        raise Refused(404, "Collection not found")
    return JSONResponse(found)


async def stored(hub: "FakeHub", request: Request, kind: str, repo_id: str, oid: str) -> Response:
    """A large file, from the storage."""
    refuse_token(request)
    repo = hub.repos.get((kind, repo_id))
    if repo is None or oid not in repo.objects:
        raise Refused(404, "NoSuchKey")
    return _ranged(request, repo.objects[oid], oid, {})


def object_url(hub: "FakeHub", repo: Repo, oid: str) -> str:
    """Where a large file lies, as a signed URL."""
    return f"{hub.storage_url}/{repo.kind}s/{repo.id}/{oid}?X-Amz-Signature=fake"


def refuse_token(request: Request) -> None:
    """A storage takes its signature only: a token sent to it has left the Hub."""
    if "authorization" in request.headers:
        raise Refused(400, "Only one auth mechanism allowed")


def _ranged(request: Request, content: bytes, etag: str, headers: dict[str, str]) -> Response:
    """The content, or the part of it that `Range: bytes=n-[m]` asks for."""
    size = len(content)
    headers = {**headers, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    asked = request.headers.get("range")
    status = 200
    if asked:
        start, _, end = asked.removeprefix("bytes=").partition("-")
        first = int(start) if start else size - int(end)
        last = min(int(end), size - 1) if start and end else size - 1
        if first > last:
            headers["Content-Range"] = f"bytes */{size}"
            return Response(b"", 416, headers)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        content, status = content[first : last + 1], 206
    headers["Content-Length"] = str(len(content))
    body = b"" if request.method == "HEAD" else content
    return Response(body, status, headers, media_type="application/octet-stream")
