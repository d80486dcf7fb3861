"""The studio through the API of the running app."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from distill_studio.core.errors import StudioError, Unavailable
from distill_studio.web import server_file

_CONNECT_S = 10.0
_STATUS_S = 30.0  # an app that starts listens before it answers


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
        self.url = info.url
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
