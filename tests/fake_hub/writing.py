"""The routes that change repositories."""

import base64
import fnmatch
import hashlib
import json
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fake_hub import cards
from tests.fake_hub.reading import object_url, refuse_token
from tests.fake_hub.repos import (
    LFS_FROM_BYTES,
    LFS_PATTERNS,
    REPO_ID,
    Entry,
    Refused,
    Repo,
    Space,
    git_hash,
)

if TYPE_CHECKING:
    from tests.fake_hub.server import FakeHub

PART_BYTES = 5 * 1024 * 1024


async def create_repo(hub: "FakeHub", request: Request) -> Response:
    """A new repository; 409 with its address where it is there already."""
    asked = await request.json()
    kind = asked.get("type") or "model"
    token = hub.token_of(request)
    if token is None:
        raise Refused(401, "Invalid username or password.")
    namespace = asked.get("organization") or token.user
    repo_id = f"{namespace}/{asked['name']}"
    if not REPO_ID.fullmatch(repo_id):
        raise Refused(400, "Invalid repo name")
    if not token.writes(namespace, repo_id):
        raise Refused(
            403, f"You don't have the rights to create a {kind} under the namespace {namespace!r}"
        )
    known = hub.repos.get((kind, repo_id))
    if known is not None:
        raise Refused(409, f"You already created this {kind} repo", url=hub.page(known))
    space = _new_space(hub, asked) if kind == "space" else None
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    repo = hub.repos[kind, repo_id] = Repo(kind, repo_id, private=private, space=space)
    return JSONResponse({"url": hub.page(repo), "name": repo.id, "id": f"id-{repo.id}"})


def _new_space(hub: "FakeHub", asked: dict[str, Any]) -> Space:
    hardware = asked.get("hardware") or "cpu-basic"
    if hardware != "cpu-basic" and not hub.has_billing:
        raise Refused(402, "Payment required: add a payment method for upgraded hardware")
    space = Space(asked["sdk"], hardware, sleep_s=asked.get("sleepTimeSeconds"))
    for what, kept in (("secrets", space.secrets), ("variables", space.variables)):
        for one in asked.get(what) or []:
            kept[one["key"]] = {"value": one["value"], "description": one.get("description")}
    space.volumes = asked.get("volumes")
    return space


async def delete_repo(hub: "FakeHub", request: Request) -> Response:
    """Delete a repository."""
    asked = await request.json()
    token = hub.token_of(request)
    namespace = asked.get("organization") or (token.user if token else "")
    kind = asked.get("type") or "model"
    repo, _ = hub.writable(request, kind, f"{namespace}/{asked['name']}")
    del hub.repos[kind, repo.id]
    return Response("OK", media_type="text/plain")


async def settings(hub: "FakeHub", request: Request, kind: str, repo_id: str) -> Response:
    """Who may see it."""
    repo, _ = hub.writable(request, kind, repo_id)
    asked = await request.json()
    if "visibility" in asked:
        repo.private = asked["visibility"] == "private"
    return JSONResponse({"private": repo.private})


async def preupload(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str
) -> Response:
    """For each file: does it go with the commit or to the storage, and what is there now."""
    repo, _ = hub.writable(request, kind, repo_id)
    tree = repo.at(revision).tree
    told = []
    for file in (await request.json())["files"]:
        path = file["path"]
        is_large = file["size"] >= LFS_FROM_BYTES or any(
            fnmatch.fnmatch(path.rsplit("/", 1)[-1], one) for one in LFS_PATTERNS
        )
        now = tree.get(path)
        told.append({
            "path": path,
            "uploadMode": "lfs" if is_large else "regular",
            "shouldIgnore": False,
            "oid": (now.lfs or now.oid) if now else None,
        })
    return JSONResponse({"files": told})


async def commit(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, revision: str
) -> Response:
    """A commit: all of it or nothing."""
    repo, token = hub.writable(request, kind, repo_id)
    if request.query_params.get("create_pr"):
        raise Refused(400, "This Hub has no pull requests")
    lines = [json.loads(line) for line in (await request.body()).splitlines() if line]
    if not lines or lines[0]["key"] != "header":
        raise Refused(400, "The first line must be the header")
    header = lines[0]["value"]
    repo, token = hub.writable(request, kind, repo_id)  # it may have gone while the body came
    if revision not in repo.branches:
        repo.at(revision)
        raise Refused(400, f"{revision} is not a branch")
    if header.get("parentCommit") not in (None, repo.branches[revision].id):
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(repo.branches[revision].tree)
    for line in lines[1:]:
        _apply(repo, tree, line["key"], line["value"])
    made = repo.commit(
        revision, tree, header["summary"], header.get("description") or "", token.user
    )
    url = f"{hub.page(repo)}/commit/{made.id}"
    return JSONResponse({"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""})


def _apply(repo: Repo, tree: dict[str, Entry], key: str, value: dict[str, Any]) -> None:
    path = value["path"]
    if key == "file":
        tree[path] = Entry(_regular(repo, path, base64.b64decode(value["content"])))
    elif key == "lfsFile":
        content = repo.objects.get(value["oid"])
        if content is None or value.get("size", len(content)) != len(content):
            raise Refused(400, f"{path}: its LFS pointer points to a file that does not exist")
        tree[path] = Entry(content, value["oid"])
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    elif key == "deletedFolder":
        below = [one for one in tree if one.startswith(path.rstrip("/") + "/")]
        if not below:
            raise Refused(404, f"A folder with this name doesn't exist: {path}", "EntryNotFound")
        for one in below:
            del tree[one]
    else:
        raise Refused(400, f"Unknown operation {key}")


def _regular(repo: Repo, path: str, content: bytes) -> bytes:
    if len(content) > LFS_FROM_BYTES:
        raise Refused(400, f"{path}: files of more than 10 MiB must go to the large-file storage")
    if path == "README.md" and (errors := cards.problems_of(content.decode(), repo.kind)[0]):
        raise Refused(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
    return content


async def create_tag(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, name: str
) -> Response:
    """Tag the revision that the path names."""
    repo, _ = hub.writable(request, kind, repo_id)
    asked = await request.json()
    target = repo.at(name)
    if asked["tag"] in repo.tags:
        raise Refused(409, f"Tag reference exists already: {asked['tag']}")
    repo.tags[asked["tag"]] = target
    return JSONResponse({})


async def delete_tag(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, name: str
) -> Response:
    """Remove a tag."""
    repo, _ = hub.writable(request, kind, repo_id)
    if repo.tags.pop(name, None) is None:
        raise Refused(404, f"Tag not found: {name}", "RevisionNotFound")
    return JSONResponse({})


async def create_branch(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, name: str
) -> Response:
    """A branch from a starting point."""
    repo, _ = hub.writable(request, kind, repo_id)
    asked = await request.json()
    if name in repo.branches:
        raise Refused(409, f"Reference already exists: refs/heads/{name}")
    repo.branches[name] = repo.at(asked.get("startingPoint") or "main")
    return JSONResponse({})


async def delete_branch(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, name: str
) -> Response:
    """Remove a branch, but not `main`."""
    repo, _ = hub.writable(request, kind, repo_id)
    if name == "main":
        raise Refused(403, "The main branch cannot be deleted")
    if repo.branches.pop(name, None) is None:
        raise Refused(404, f"Branch not found: {name}", "RevisionNotFound")
    return JSONResponse({})


async def squash(hub: "FakeHub", request: Request, kind: str, repo_id: str, name: str) -> Response:
    """One commit in place of a branch's history."""
    repo, _ = hub.writable(request, kind, repo_id)
    if name not in repo.branches:
        raise Refused(404, f"Branch not found: {name}", "RevisionNotFound")
    repo.squash(name, (await request.json())["message"])
    return JSONResponse({})


async def lfs_batch(hub: "FakeHub", request: Request, kind: str, repo_id: str) -> Response:
    """Where to put each large file; nothing to do for one that is there."""
    repo, _ = hub.writable(request, kind or "model", repo_id)
    told = []
    for one in (await request.json())["objects"]:
        answer: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
        if one["oid"] not in repo.objects:
            page = f"{hub.page(repo)}.git/info/lfs"
            upload: dict[str, Any] = {"href": object_url(hub, repo, one["oid"])}
            if one["size"] >= hub.multipart_from:
                upload = {"href": f"{page}/complete", "header": _parts(hub, repo, one)}
            answer["authenticated"] = True
            answer["actions"] = {"upload": upload, "verify": {"href": f"{page}/verify"}}
        told.append(answer)
    headers = {"Content-Type": "application/vnd.git-lfs+json"}
    return JSONResponse({"transfer": "basic", "objects": told}, headers=headers)


def _parts(hub: "FakeHub", repo: Repo, asked: dict[str, Any]) -> dict[str, str]:
    count = -(-asked["size"] // PART_BYTES)
    where = f"{hub.storage_url}/{repo.kind}s/{repo.id}/{asked['oid']}"
    urls = {str(one): f"{where}/{one}?X-Amz-Signature=fake" for one in range(1, count + 1)}
    return {"chunk_size": str(PART_BYTES), **urls}


async def store(
    hub: "FakeHub", request: Request, kind: str, repo_id: str, oid: str, part: str
) -> Response:
    """Take a large file or a part of one, and hold it against its hash."""
    refuse_token(request)
    content = await request.body()
    repo = hub.repos.get((kind, repo_id))
    if repo is None:
        raise Refused(403, "Request has expired")
    hub.stored_bytes += len(content)
    if part:
        hub.parts.setdefault(oid, {})[int(part)] = content
        return Response(headers={"ETag": f'"{git_hash(content)}"'})
    _keep(repo, oid, content)
    return Response(headers={"ETag": f'"{oid}"'})


def _keep(repo: Repo, oid: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != oid:
        raise Refused(400, "The SHA-256 you specified did not match the calculated checksum")
    repo.objects[oid] = content


async def lfs_complete(hub: "FakeHub", request: Request, kind: str, repo_id: str) -> Response:
    """Join the parts."""
    repo = hub.repos.get((kind or "model", repo_id))
    asked = await request.json()
    parts = hub.parts.pop(asked["oid"], {})
    etags = {one["partNumber"]: one["etag"].strip('"') for one in asked["parts"]}
    if repo is None or {n: git_hash(one) for n, one in parts.items()} != etags:
        raise Refused(400, "One or more of the specified parts could not be found")
    _keep(repo, asked["oid"], b"".join(parts[n] for n in sorted(parts)))
    return JSONResponse({"success": True})


async def lfs_verify(hub: "FakeHub", request: Request, kind: str, repo_id: str) -> Response:
    """Has the file arrived."""
    repo, _ = hub.writable(request, kind or "model", repo_id)
    asked = await request.json()
    if len(repo.objects.get(asked["oid"], b"")) != asked["size"]:
        raise Refused(404, "The object does not exist")
    return JSONResponse({"message": "ok"})
