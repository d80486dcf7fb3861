"""The routes of Spaces: secrets, variables, hardware, volumes, runtime."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fake_hub.repos import Refused, Space

if TYPE_CHECKING:
    from tests.fake_hub.server import FakeHub


def _own(hub: "FakeHub", request: Request, repo_id: str) -> Space:
    repo, _ = hub.writable(request, "space", repo_id)
    assert repo.space is not None
    return repo.space


def _told(space: Space, what: str) -> dict[str, Any]:
    """Variables with their values; of secrets never the value, as `get_space_secrets` says."""
    kept = space.secrets if what == "secrets" else space.variables
    shown = {key: dict(one) for key, one in kept.items()}
    for one in shown.values() if what == "secrets" else ():
        del one["value"]
    return shown


async def read(hub: "FakeHub", request: Request, repo_id: str, what: str) -> Response:
    """What is set, or how it runs."""
    if what == "runtime":
        space = hub.readable(request, "space", repo_id).space
        assert space is not None
        return JSONResponse(space.runtime())
    return JSONResponse(_told(_own(hub, request, repo_id), what))


async def put(hub: "FakeHub", request: Request, repo_id: str, what: str) -> Response:
    """Set a secret or a variable; the Space starts anew."""
    space = _own(hub, request, repo_id)
    asked = await request.json()
    kept = space.secrets if what == "secrets" else space.variables
    kept[asked["key"]] = {"value": asked["value"], "description": asked.get("description")}
    return JSONResponse(_told(space, what))


async def drop(hub: "FakeHub", request: Request, repo_id: str, what: str) -> Response:
    """Remove a secret or a variable."""
    space = _own(hub, request, repo_id)
    kept = space.secrets if what == "secrets" else space.variables
    if kept.pop((await request.json())["key"], None) is None:
        raise Refused(404, f"No such {what}")
    return JSONResponse(_told(space, what))


async def act(hub: "FakeHub", request: Request, repo_id: str, what: str) -> Response:
    """Hardware, sleep time, pause, restart."""
    space = _own(hub, request, repo_id)
    if what == "hardware":
        asked = await request.json()
        if asked["flavor"] != "cpu-basic" and not hub.has_billing:
            raise Refused(402, "Payment required: add a payment method for upgraded hardware")
        space.requested = asked["flavor"]
        space.sleep_s = asked.get("sleepTimeSeconds", space.sleep_s)
    elif what == "sleeptime":
        space.sleep_s = (await request.json())["seconds"]
    elif what == "pause":
        space.stage = "PAUSED"
    else:
        space.hardware, space.requested = space.requested or space.hardware, None
        space.stage = "RUNNING"
    return JSONResponse(space.runtime())


async def set_volumes(hub: "FakeHub", request: Request, repo_id: str) -> Response:
    """What is mounted."""
    space = _own(hub, request, repo_id)
    space.volumes = (await request.json())["volumes"]
    return JSONResponse({"volumes": space.volumes})


async def delete_volumes(hub: "FakeHub", request: Request, repo_id: str) -> Response:
    """Mount nothing any more."""
    space = _own(hub, request, repo_id)
    if not space.volumes:
        raise Refused(400, "The Space has no volumes")
    space.volumes = None
    return JSONResponse({})
