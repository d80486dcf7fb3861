"""A repository on the Hub: made when it is missing, filled in one commit, tagged. Start at `push`.

Every step may be done again: large files that are there are not sent twice, files that have not
changed make no commit. A file `distill_studio.json` marks repositories that were made here: nothing
is written into any other one.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo

from distill_studio.core.errors import Conflict, NotAllowed
from distill_studio.hub.client import HubClient, endpoint
from distill_studio.hub.failures import TOKENS_PAGE

MARKER = "distill_studio.json"
CARD = "README.md"
RepoKind = Literal["dataset", "model"]
_PLAIN = {".gitattributes"}  # what the Hub puts into a new repository


@dataclass(frozen=True)
class Upload:
    """What is to be in a repository.

    Attributes:
        repo_id: `namespace/name`.
        kind: dataset or model.
        files: Path in the repository -> a file, or its content.
        card: The README.md.
        marks: For the marker: `kind`, `name`, `content_hash` of what it is.
        private: Of a repository that is made.
        tag: For this state; empty: none.
        message: Of the commit.
    """

    repo_id: str
    kind: RepoKind
    files: Mapping[str, Path | bytes]
    card: str
    marks: Mapping[str, str]
    private: bool = True
    tag: str = ""
    message: str = "Push from Distill Studio"


@dataclass(frozen=True)
class Pushed:
    """What is there now."""

    url: str
    commit: str
    tag: str
    private: bool
    files: int
    size_bytes: int


@dataclass
class _Head:
    """A repository as it was found."""

    commit: str
    private: bool
    paths: set[str]
    marker: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def page_of(repo_id: str, kind: RepoKind, tag: str = "") -> str:
    """The address of a repository's page."""
    prefix = "datasets/" if kind == "dataset" else ""
    return f"{endpoint()}/{prefix}{repo_id}{f'/tree/{tag}' if tag else ''}"


class HubRepository(HubClient):
    """A repository of what was made here."""

    def push(self, upload: Upload) -> Pushed:
        """Make the repository hold what is given, as one commit on `main`, and tag it.

        Raises:
            NotAllowed: Unknown token, or one that may not write there.
            Conflict: The repository is another's work, public where private was asked for, its tag
                names other data, or it changed meanwhile.
            NotFound: It was deleted meanwhile.
            Unavailable: No way to the Hub, also after waiting.
            Cancelled: Stopped on request.
        """
        account = self.account()
        if account.role == "read":
            raise NotAllowed(
                f"The token of {account.user} may only read.",
                f"Make one with write access at {TOKENS_PAGE} and give it here.",
            )
        self._safely(upload.repo_id, lambda: self._make(upload))
        pushed, is_tagged = self._safely(upload.repo_id, lambda: self._fill(upload))
        if upload.tag and not is_tagged:
            self._safely(upload.repo_id, lambda: self._tag(upload, pushed.commit))
        return pushed

    # -- steps, each of which may be done again -------------------------------------------

    def _make(self, upload: Upload) -> None:
        try:
            self._api.create_repo(upload.repo_id, repo_type=upload.kind, private=upload.private)
        except HfHubHTTPError as err:
            if err.response.status_code != 409:
                raise

    def _fill(self, upload: Upload) -> tuple[Pushed, bool]:
        """Send, commit; with whether the tag is there already."""
        adds = self._operations(upload)
        head = self._found(upload)
        self._check(upload, head)
        marker = _marker(upload, adds)
        is_tagged = self._is_tagged(upload, head, marker)
        size = self._send(upload, adds)
        content = json.dumps(marker, indent=1, sort_keys=True).encode() + b"\n"
        adds.append(CommitOperationAdd(MARKER, content))
        kept = {one.path_in_repo for one in adds}
        stale = (set(head.marker.get("files", {})) - kept) & head.paths
        made = self._api.create_commit(
            upload.repo_id,
            [*adds, *(CommitOperationDelete(path) for path in sorted(stale))],
            commit_message=upload.message,
            repo_type=upload.kind,
            parent_commit=head.commit,
        )
        pushed = Pushed(
            url=page_of(upload.repo_id, upload.kind),
            commit=made.oid,
            tag=upload.tag,
            private=head.private,
            files=len(adds),
            size_bytes=size,
        )
        return pushed, is_tagged

    def _tag(self, upload: Upload, commit: str) -> None:
        self._api.create_tag(
            upload.repo_id,
            tag=upload.tag,
            revision=commit,
            repo_type=upload.kind,
            exist_ok=True,  # an answer may have got lost
        )

    def _operations(self, upload: Upload) -> list[CommitOperationAdd]:
        contents = {**upload.files, CARD: upload.card.encode()}
        return [CommitOperationAdd(path, content) for path, content in sorted(contents.items())]

    def _send(self, upload: Upload, adds: list[CommitOperationAdd]) -> int:
        """Send the large files, one after the other; returns the bytes of all."""
        total = sum(one.upload_info.size for one in adds)
        done = 0
        for one in sorted(adds, key=lambda one: one.upload_info.size):
            self._cancel.raise_if_cancelled()
            self._tell(done, total, f"sending {one.path_in_repo}")
            self._api.preupload_lfs_files(upload.repo_id, [one], repo_type=upload.kind)
            done += one.upload_info.size
        self._cancel.raise_if_cancelled()
        self._tell(done, total, "writing the commit")
        return total

    def _found(self, upload: Upload) -> _Head:
        repo, kind = upload.repo_id, upload.kind
        info = self._again(lambda: self._api.repo_info(repo, repo_type=kind))
        assert isinstance(info, DatasetInfo | ModelInfo)
        refs = self._again(lambda: self._api.list_repo_refs(repo, repo_type=kind))
        head = _Head(
            commit=str(info.sha),
            private=bool(info.private),
            paths={one.rfilename for one in info.siblings or ()},
            tags={one.name: one.target_commit for one in refs.tags},
        )
        if MARKER in head.paths:
            head.marker = self._marker_at(upload, head.commit)
        return head

    def _marker_at(self, upload: Upload, revision: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="distill-studio-hub-") as folder:
            try:
                path = hf_hub_download(
                    upload.repo_id,
                    MARKER,
                    repo_type=upload.kind,
                    revision=revision,
                    cache_dir=folder,
                    endpoint=self._endpoint,
                    token=self._token,
                )
                found = json.loads(Path(path).read_text(encoding="utf-8"))
            except (RemoteEntryNotFoundError, json.JSONDecodeError):
                return {}
        return found if isinstance(found, dict) else {}

    def _check(self, upload: Upload, head: _Head) -> None:
        """Refuse to write into what is not ours, or to show what was to be private."""
        if not head.marker and head.paths - _PLAIN:
            raise Conflict(
                f"{upload.repo_id} exists already and was not made by Distill Studio.",
                "Choose another name: nothing was changed there.",
            )
        if upload.private and not head.private:
            raise Conflict(
                f"{upload.repo_id} exists already and is public.",
                "Make it private on the Hub, choose another name, or push it as public.",
            )

    def _is_tagged(self, upload: Upload, head: _Head, marker: dict[str, Any]) -> bool:
        """Whether the tag is there already, for the same data."""
        if not upload.tag or upload.tag not in head.tags:
            return False
        if _data(self._marker_at(upload, head.tags[upload.tag])) == _data(marker):
            return True
        raise Conflict(
            f"The tag '{upload.tag}' of {upload.repo_id} names other data.",
            "Choose another tag: one that is given does not move.",
        )


def _marker(upload: Upload, adds: list[CommitOperationAdd]) -> dict[str, Any]:
    files = {
        one.path_in_repo: {
            "sha256": one.upload_info.sha256.hex(),
            "size_bytes": one.upload_info.size,
        }
        for one in adds
    }
    return {"made_by": "Distill Studio", **upload.marks, "files": files}


def _data(marker: Mapping[str, Any]) -> dict[str, Any]:
    """What of a marker speaks of data: all but the card."""
    files = {path: one for path, one in marker.get("files", {}).items() if path != CARD}
    return {"name": marker.get("name"), "files": files}
