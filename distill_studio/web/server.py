"""The FastAPI app: API, files, log-in, and Gradio mounted at `/`. `serve` runs it.

Routes:
    POST /api/{workspace}/{operation}  one operation, arguments as a JSON object
    GET  /api/operations               what there is, with argument schemas
    GET  /api/status                   version and workspaces
    POST /api/uploads?name=            a file's raw bytes -> its upload id
    POST /api/workspaces               make a workspace; DELETE moves one to the trash
    GET  /files/{workspace}/exports/{name}
"""

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from distill_studio import __version__
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound, StudioError
from distill_studio.core.settings import Settings
from distill_studio.services import operations
from distill_studio.services.studio import Studio
from distill_studio.teachers import zero_gpu
from distill_studio.ui.build import build, mount_options
from distill_studio.web import server_file
from distill_studio.web.guard import Guard
from distill_studio.web.identity import Identity
from distill_studio.web.login import add_login
from distill_studio.web.no_fetching import stop_fetching, take_sent_files_only
from distill_studio.web.proxy import behind_proxies

logger = logging.getLogger(__name__)


def create_app(studio: Studio, identity: Identity, on_close: Callable[[], None]) -> FastAPI:
    """The whole app over an open studio. `on_close` runs when the server stops."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(on_close)

    app = FastAPI(
        title="Distill Studio",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.exception_handler(StudioError)(_studio_error)
    _add_api(app, studio, identity)
    add_login(app, studio, identity)
    app.add_middleware(Guard, identity=identity)

    def gradio_user(request: Request) -> str | None:
        actor = identity.actor(request)
        return actor.user if actor else None

    stop_fetching()
    demo = build(studio, identity.actor, lambda: identity.has_login)
    take_sent_files_only(demo)
    gr.mount_gradio_app(
        app,
        demo,
        path="/",
        auth_dependency=gradio_user,
        max_file_size=f"{studio.settings.max_upload_mib}mb",
        **mount_options(),
    )
    return app


def serve(settings: Settings) -> None:
    """Open the data folder, listen, and run until stopped.

    Raises:
        StudioError: The data folder is in use (names the other app's URL) or the port is taken.
    """
    other = server_file.read(settings.home)
    if other is not None:
        raise InvalidInput(
            f"Distill Studio already runs on this data folder: {other.url}",
            "Open that address, or choose another folder with --home.",
        )
    studio = Studio(settings)

    def close() -> None:  # also from the server's shutdown: a signal ends the process after it
        server_file.remove(settings.home)
        studio.close()

    try:
        listener = _listen(settings)
        port = listener.getsockname()[1]
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        identity = Identity(settings, secrets.token_urlsafe(32), studio.accounts)
        app = create_app(studio, identity, on_close=close)
        server_file.write(settings.home, url, identity.token)
        studio.open_all()
        zero_gpu.report_start()
        print(f"Distill Studio: {url}", flush=True)  # noqa: T201  (the user waits for this line)
        config = uvicorn.Config(
            behind_proxies(app, settings),
            log_level="warning",
            timeout_graceful_shutdown=3,
            proxy_headers=False,
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        close()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as err:
        listener.close()
        raise InvalidInput(
            f"Port {settings.port} on {settings.host} cannot be used: {err.strerror}.",
            "Set DISTILL_STUDIO_PORT to another number (0 picks a free one).",
        ) from err
    return listener


async def _studio_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StudioError)
    body = {"code": error.code, "message": error.user_message, "hint": error.hint}
    return JSONResponse({"error": body}, status_code=error.http_status)


def _add_api(app: FastAPI, studio: Studio, identity: Identity) -> None:
    def who(request: Request) -> Actor:
        actor = identity.actor(request)
        if actor is None:
            raise NotAllowed("Log in first.")
        return actor

    @app.get("/api/status")
    def status(request: Request) -> dict[str, Any]:
        who(request)
        return {"version": __version__, "workspaces": studio.workspace_names(), "pid": os.getpid()}

    @app.get("/api/operations")
    def list_operations(request: Request) -> list[dict[str, Any]]:
        who(request)
        return [
            {"name": o.name, "summary": o.summary, "arguments": o.arguments.model_json_schema()}
            for o in operations.operations().values()
        ]

    @app.post("/api/uploads")
    async def upload(request: Request, name: str = "upload") -> dict[str, str]:
        who(request).require(Role.REVIEWER)
        limit = studio.settings.max_upload_mib * 2**20
        upload_id, path = studio.uploads.new_path(name)
        await _receive(request, path, limit)
        return {"upload_id": upload_id}

    _add_workspace_routes(app, studio, who)

    @app.post("/api/{workspace}/{operation}")
    def call(
        request: Request, workspace: str, operation: str, arguments: dict[str, Any] | None = None
    ) -> JSONResponse:
        actor = who(request)
        result = operations.call(studio.workspace(workspace), actor, operation, arguments or {})
        return JSONResponse(result)


def _add_workspace_routes(app: FastAPI, studio: Studio, who: Callable[[Request], Actor]) -> None:
    @app.post("/api/workspaces")
    def create_workspace(request: Request, name: str = Body(embed=True)) -> dict[str, str]:
        return {"name": studio.create_workspace(who(request), name)}

    @app.delete("/api/workspaces/{name}")
    def delete_workspace(request: Request, name: str) -> dict[str, str]:
        return {"moved_to": str(studio.delete_workspace(who(request), name))}

    @app.get("/files/{workspace}/exports/{name}")
    def export_file(request: Request, workspace: str, name: str) -> FileResponse:
        who(request).require(Role.VIEWER)
        folder = (studio.workspace(workspace).folder / "exports").resolve()
        path = (folder / name).resolve()
        if path.parent != folder or not path.is_file():
            raise NotFound(f"There is no export '{name}'.", "Make it again on the Export page.")
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")


async def _receive(request: Request, path: Path, limit: int) -> None:
    """Write a request's body to a file, piece by piece."""
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                path.unlink()
                raise InvalidInput(
                    f"The file is larger than {limit // 2**20} MiB.",
                    "Split it, or raise DISTILL_STUDIO_MAX_UPLOAD_MIB.",
                )
            file.write(piece)
