"""The private repository by which a run travels to another machine and back.

The app puts `package/` into it with `HubRepository.push`. The other machine appends to
`attempts/<number>/`, and puts `model/` and `adapter/` there at the end. Small files, few commits:
the Hub takes some 128 an hour.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RemoteEntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.hub.client import ATTEMPTS, HubClient

_WEIGHTS = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]


class NoSuchFile(NotFound):
    """The repository is there, the file is not."""


class TooLarge(InvalidInput):
    """A file that is larger than it can be."""


class RunRepository(HubClient):
    """Files of a run's repository on the Hub (of kind model)."""

    def files(self, repo_id: str, folder: str, attempts: int = 1) -> dict[str, int]:
        """Paths below a folder with their sizes in bytes; none where it is not there (yet)."""

        def ask() -> dict[str, int]:
            try:
                tree = self._api.list_repo_tree(repo_id, folder, recursive=True)
                return {one.path: one.size for one in tree if isinstance(one, RepoFile)}
            except EntryNotFoundError:
                return {}

        return self._safely(repo_id, ask, attempts)

    def read(self, repo_id: str, path: str, most_bytes: int) -> bytes:
        """A small file; a larger one is not even downloaded.

        Raises:
            TooLarge: It is larger than `most_bytes`.
        """
        found = self._safely(repo_id, lambda: self._api.get_paths_info(repo_id, [path]))
        if any(isinstance(one, RepoFile) and one.size > most_bytes for one in found):
            raise TooLarge(f"{path} of {repo_id} is larger than it can be.")
        with tempfile.TemporaryDirectory(prefix="distill-studio-run-") as folder:
            return self.fetch(repo_id, path, Path(folder)).read_bytes()

    def fetch(self, repo_id: str, path: str, into: Path) -> Path:
        """Download a file of the newest commit to `into/path`.

        Raises:
            NoSuchFile: It is not there.
        """

        def ask() -> str:
            try:
                return hf_hub_download(
                    repo_id, path, local_dir=into, endpoint=self._endpoint, token=self._token
                )
            except RemoteEntryNotFoundError:  # the local one means that nobody answered
                raise NoSuchFile(f"{repo_id} has no {path}.") from None

        return Path(self._safely(repo_id, ask))

    def put(
        self,
        repo_id: str,
        files: Mapping[str, Path | bytes],
        message: str,
        attempts: int = ATTEMPTS,
    ) -> str:
        """One commit on `main` that adds files; returns its id."""
        adds = [CommitOperationAdd(path, content) for path, content in files.items()]
        made = self._safely(
            repo_id,
            lambda: self._api.create_commit(repo_id, adds, commit_message=message),
            attempts,
        )
        return made.oid

    def model(self, model_id: str, revision: str) -> Path:
        """The folder of a model of the Hub, downloaded."""
        return Path(
            self._safely(
                model_id,
                lambda: snapshot_download(
                    model_id,
                    revision=revision,
                    allow_patterns=_WEIGHTS,
                    endpoint=self._endpoint,
                    token=self._token,
                ),
            )
        )
