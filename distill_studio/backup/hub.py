"""A backup in a private dataset repository on the Hub.

Every write is one commit on top of the commit that this app saw last (`parent_commit`), and each
renews the lease in it: whoever commits on an older state is refused by the Hub, looks at the lease
again, and stops when it is another app's. The token comes from `HF_TOKEN`, the address of the Hub
from `HF_ENDPOINT`.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from distill_studio.backup.place import LEASE_FILE, BackupError, LeaseLost
from distill_studio.backup.records import Lease

_RACE = {409, 412}


class HubPlace:
    """A dataset repository. See `Place`.

    The Hub takes some 128 commits an hour of one repository; `part_every_s` keeps below that
    unless somebody labels without a break, and then the Hub's wish to wait is followed.
    """

    part_every_s = 25.0
    beat_every_s = 300.0
    lease_s = 900.0

    def __init__(self, repo: str, api: HfApi | None = None) -> None:
        self.repo = repo
        self.label = f"hf://datasets/{repo}"
        self._api = api or HfApi()
        self._head: str | None = None  # the commit on which the next one is put: our lease is in it
        self._brought: dict[str, CommitOperationAdd] = {}

    def make(self) -> None:
        """Make the repository, private."""
        with self._told():
            self._api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)

    def check_private(self) -> None:
        """Refuse a public repository: what people said, and their password hashes, lie in it."""
        with self._told():
            if not self._api.dataset_info(self.repo).private:
                raise BackupError(
                    f"The dataset repository {self.repo} is public: anybody could read the backup.",
                    "Make it private in its settings on the Hub.",
                    code="public",
                )

    def paths(self) -> dict[str, int]:
        """Every file at the newest commit, with its size."""
        with self._told():
            tree = self._api.list_repo_tree(self.repo, recursive=True, repo_type="dataset")
            return {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}

    def read(self, path: str) -> bytes:
        """A small file's bytes."""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "file"
            self.fetch(path, target)
            return target.read_bytes()

    def fetch(self, path: str, target: Path, revision: str | None = None) -> None:
        """Download a file, of the newest commit or another one."""
        with self._told(), tempfile.TemporaryDirectory(dir=target.parent) as folder:
            found = self._api.hf_hub_download(
                self.repo,
                path,
                repo_type="dataset",
                revision=revision,
                local_dir=folder,
            )
            Path(found).replace(target)

    def lease(self) -> Lease | None:
        """Who holds the backup, or held it last, at the newest commit."""
        return self._lease_at()[0]

    def take(self, lease: Lease, instead_of: Lease | None) -> None:
        """Commit a lease on top of the state in which `instead_of` was read."""
        found, commit = self._lease_at()
        if (found and (found.token, found.beat)) != (
            instead_of and (instead_of.token, instead_of.beat)
        ):
            raise _lost(found)
        with self._told():
            try:
                self._commit({}, [], lease, "Take the backup", on=commit)
            except HfHubHTTPError as err:
                self._head = None
                if err.response.status_code in _RACE:
                    raise _lost(self.lease()) from err
                raise

    def bring(self, files: Mapping[str, Path]) -> None:
        """Upload files; the next `write` that names them only commits them."""
        with self._told():
            fresh = {p: CommitOperationAdd(p, f) for p, f in files.items()}
            self._api.preupload_lfs_files(
                self.repo, list(fresh.values()), repo_type="dataset", free_memory=False
            )
            self._brought = fresh

    def write(
        self, files: Mapping[str, bytes | Path], gone: Sequence[str], lease: Lease, why: str
    ) -> None:
        """One commit. Where somebody else committed meanwhile, the lease decides who goes on."""
        with self._told():
            try:
                self._commit(files, gone, lease, why, on=self._head or self._where_ours(lease))
            except HfHubHTTPError as err:
                self._head = None
                if err.response.status_code not in _RACE:
                    raise
                self._commit(files, gone, lease, why, on=self._where_ours(lease))

    def tidy(self) -> None:
        """Forget the history: what was thinned away lies there and counts as storage."""
        with self._told():
            self._head = None
            self._api.super_squash_history(self.repo, repo_type="dataset")

    # -- inside ---------------------------------------------------------------------------

    def _lease_at(self) -> tuple[Lease | None, str]:
        """The lease at the newest commit, and that commit."""
        with self._told():
            commit = str(self._api.dataset_info(self.repo).sha)
        try:
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / LEASE_FILE
                self.fetch(LEASE_FILE, target, commit)
                return Lease.model_validate_json(target.read_bytes()), commit
        except ValueError as err:
            raise BackupError(
                f"{LEASE_FILE} in {self.repo} cannot be read: {err}", code="broken"
            ) from err
        except BackupError as err:
            if err.code == "missing":
                return None, commit
            raise

    def _where_ours(self, lease: Lease) -> str:
        """The newest commit, as far as the lease in it is ours."""
        found, commit = self._lease_at()
        if found is None or found.token != lease.token:
            raise _lost(found)
        return commit

    def _commit(
        self,
        files: Mapping[str, bytes | Path],
        gone: Sequence[str],
        lease: Lease,
        why: str,
        on: str,
    ) -> None:
        added = {**files, LEASE_FILE: lease.model_dump_json(indent=1).encode()}
        done = self._api.create_commit(
            self.repo,
            [
                *(
                    self._brought.get(path) or CommitOperationAdd(path, content)
                    for path, content in added.items()
                ),
                *(CommitOperationDelete(path) for path in gone),
            ],
            commit_message=why,
            repo_type="dataset",
            parent_commit=on,
        )
        self._head = done.oid
        self._brought = {p: f for p, f in self._brought.items() if p not in added}

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the Hub, in words."""
        try:
            yield
        except BackupError:
            raise
        except (OSError, RuntimeError, ValueError) as err:
            raise self._in_words(err) from err
        except Exception as err:
            # the client of huggingface_hub raises its own errors of the network
            if type(err).__module__.partition(".")[0] in {"httpx", "httpx2", "httpcore"}:
                raise _offline(err) from err
            raise

    def _in_words(self, err: Exception) -> BackupError:
        if isinstance(err, (OfflineModeIsEnabled, ConnectionError, TimeoutError)):
            return _offline(err)
        if isinstance(err, (EntryNotFoundError, RevisionNotFoundError)):
            return BackupError(f"A file of the backup {self.repo} is not there.", code="missing")
        if isinstance(err, RepositoryNotFoundError):
            return BackupError(
                f"The dataset repository {self.repo} is not there, or the token may not see it.",
                "Was it deleted or renamed? Make it again, and check HF_TOKEN.",
                code="gone",
            )
        if not isinstance(err, HfHubHTTPError):
            if type(err).__module__.partition(".")[0] in {"httpx", "httpx2", "httpcore"}:
                return _offline(err)
            return BackupError(f"The backup {self.repo} failed: {err}", code="other")
        status = err.response.status_code
        if status in (401, 403):
            return BackupError(
                f"No rights to write to {self.repo}: the Hub answered {status}.",
                "HF_TOKEN needs write access to this dataset repository.",
                code="no_rights",
            )
        if status == 429:
            return BackupError(
                "The Hub asks to wait: too many commits in an hour.",
                "It goes on by itself.",
                code="busy",
                retry_after_s=_retry_after(err),
            )
        if status in (507, 413):
            return BackupError(
                f"The Hub has no room for the backup {self.repo}: it answered {status}.",
                "Free storage on the Hub, or lower DISTILL_STUDIO_BACKUP_MODEL_MIB.",
                code="full",
            )
        return BackupError(
            f"The Hub answered {status}: {err.server_message or 'no reason given'}.",
            "It is tried again by itself.",
            code="busy" if status >= 500 else "other",
        )


def _offline(err: Exception) -> BackupError:
    return BackupError(
        f"The Hub cannot be reached ({type(err).__name__}).",
        "Is this machine online? It goes on by itself.",
        code="offline",
    )


def _retry_after(err: HfHubHTTPError) -> float | None:
    try:
        return float(err.response.headers.get("retry-after", ""))
    except ValueError:
        return None


def _lost(found: Lease | None) -> LeaseLost:
    who = found.owner if found and found.token else "Somebody"
    return LeaseLost(
        f"{who} has taken this backup since.",
        "Only one app may write to a backup: stop one of them, or give one another place.",
        code="held",
    )
