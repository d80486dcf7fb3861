"""One `call(operation, **arguments)` for all commands, whether the app runs or not.

`connect` finds a live app through server.json and talks to its API; otherwise it opens the data
folder itself, under the same lock, and calls the same operations. Nobody else ever opens the
store.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound, StudioError, Unavailable
from distill_studio.core.settings import Settings
from distill_studio.web import server_file

_CONNECT_S = 10.0
_STATUS_S = 30.0  # an app that starts listens before it answers


class Client(Protocol):
    """What commands need of the studio. Results are JSON values."""

    is_app: bool  # True when jobs go on after the command has ended

    def call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401  (any JSON value)
        """Run one operation in the chosen workspace; raises `StudioError` when it is refused."""
        ...

    def upload(self, path: Path) -> str:
        """Hand a file over; returns its upload id."""
        ...

    def fetch_export(self, name: str, target: Path) -> None:
        """Copy a finished export of the workspace to `target`."""
        ...

    def workspaces(self) -> list[str]:
        """Names of all workspaces."""
        ...

    def create_workspace(self, name: str) -> str:
        """Make a workspace; returns its name."""
        ...

    def delete_workspace(self, name: str) -> str:
        """Move a workspace to the trash; returns where it lies now."""
        ...

    def close(self) -> None:
        """Give back whatever is held."""
        ...


def connect(settings: Settings) -> Client:
    """A client of the app on this data folder, or of the folder itself when no app runs.

    Raises:
        Unavailable: The app is there but does not answer.
        Conflict: Another process holds the folder and is no app.
    """
    info = server_file.read(settings.home)
    if info is None:
        return FolderClient(settings)
    client = AppClient(info, settings.workspace)
    try:
        client.status()
    except StudioError:
        client.close()
        raise
    return client


class Refused(StudioError):
    """What the running app refused; message, hint and code are its own."""

    def __init__(self, code: str, user_message: str, hint: str = "") -> None:
        super().__init__(user_message, hint)
        self.code = code


class AppClient:
    """Through the API of the running app.

    Args:
        info: Of server.json.
        workspace: The one that operations are run in.
    """

    is_app = True

    def __init__(self, info: server_file.ServerInfo, workspace: str) -> None:
        self.info = info
        self.workspace = workspace
        self._http = httpx.Client(
            base_url=info.url,
            headers={"Authorization": f"Bearer {info.token}"},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),  # loading a model can take minutes
            trust_env=False,  # it is on this machine: no proxy
        )

    def status(self) -> Mapping[str, Any]:
        """Version, workspaces and process id of the app."""
        answer: Mapping[str, Any] = self._json("GET", "/api/status", timeout=_STATUS_S)
        return answer

    def call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401
        """Run one operation; see `Client.call`."""
        return self._json("POST", f"/api/{self.workspace}/{operation}", json=arguments)

    def upload(self, path: Path) -> str:
        """Send a file in pieces; returns its upload id."""
        with path.open("rb") as file:
            answer = self._json("POST", "/api/uploads", params={"name": path.name}, content=file)
        return str(answer["upload_id"])

    def fetch_export(self, name: str, target: Path) -> None:
        """Download an export."""
        with self._http.stream("GET", f"/files/{self.workspace}/exports/{name}") as response:
            if response.is_error:
                response.read()
            self._check(response)
            with target.open("wb") as file:
                for piece in response.iter_bytes():
                    file.write(piece)

    def workspaces(self) -> list[str]:
        """Names of all workspaces."""
        return list(self.status()["workspaces"])

    def create_workspace(self, name: str) -> str:
        """Make a workspace; returns its name."""
        return str(self._json("POST", "/api/workspaces", json={"name": name})["name"])

    def delete_workspace(self, name: str) -> str:
        """Move a workspace to the trash; returns where it lies now."""
        return str(self._json("DELETE", f"/api/workspaces/{name}")["moved_to"])

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _json(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401
        try:
            response = self._http.request(method, url, **options)
        except httpx.TransportError as err:
            raise Unavailable(
                f"The app at {self.info.url} (process {self.info.pid}) does not answer: {err}",
                "Look at its log, or stop it and run the command again.",
            ) from err
        self._check(response)
        return response.json()

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        try:
            error = response.json()["error"]
            refusal = Refused(error["code"], error["message"], error["hint"])
        except (ValueError, KeyError, TypeError) as err:
            raise Refused(
                "bad_answer",
                f"The app at {self.info.url} answered {response.status_code}.",
                f"{response.text[:300]}",
            ) from err
        raise refusal


class FolderClient:
    """Opens the data folder itself; jobs live as long as the command.

    Raises:
        Conflict: Another process holds the folder.
    """

    is_app = False

    def __init__(self, settings: Settings) -> None:
        from distill_studio.bootstrap import build_studio  # noqa: PLC0415  (not needed by AppClient)
        from distill_studio.services import operations  # noqa: PLC0415

        self._operations = operations
        self._studio = build_studio(settings, resume_jobs=False)
        self._name = settings.workspace
        self._actor = Actor(user=settings.user, role=Role.OWNER)

    def call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401
        """Run one operation; see `Client.call`."""
        workspace = self._studio.workspace(self._name)
        return self._operations.call(workspace, self._actor, operation, arguments)

    def upload(self, path: Path) -> str:
        """Copy a file in; returns its upload id."""
        return self._studio.uploads.add(path)

    def fetch_export(self, name: str, target: Path) -> None:
        """Copy an export."""
        source = self._studio.workspace(self._name).folder / "exports" / name
        if not source.is_file():
            raise NotFound(f"There is no export '{name}'.")
        shutil.copyfile(source, target)

    def workspaces(self) -> list[str]:
        """Names of all workspaces."""
        return self._studio.workspace_names()

    def create_workspace(self, name: str) -> str:
        """Make a workspace; returns its name."""
        return self._studio.create_workspace(self._actor, name)

    def delete_workspace(self, name: str) -> str:
        """Move a workspace to the trash; returns where it lies now."""
        return str(self._studio.delete_workspace(self._actor, name))

    def close(self) -> None:
        """Close the store and give the lock back."""
        self._studio.close()


def check_file(path: Path) -> Path:
    """`path` when it is a readable file.

    Raises:
        InvalidInput: It is not there, or is a folder.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "is not there"
        raise InvalidInput(f"{path} {what}.")
    return path
