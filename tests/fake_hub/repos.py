"""What a fake Hub keeps: repositories with commits as history, and Spaces' settings."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LFS_FROM_BYTES = 10 * 1024 * 1024
#: The patterns of the `.gitattributes` that a new repository starts with (its main lines).
LFS_PATTERNS = (
    *("*.7z", "*.arrow", "*.bin", "*.bz2", "*.ckpt", "*.gz", "*.h5", "*.model", "*.msgpack"),
    *("*.npy", "*.npz", "*.onnx", "*.parquet", "*.pickle", "*.pkl", "*.pt", "*.pth"),
    *("*.safetensors", "*.tar", "*.tgz", "*.xz", "*.zip", "*.zst", "*.duckdb"),
)
GIT_ATTRIBUTES = "".join(f"{one} filter=lfs diff=lfs merge=lfs -text\n" for one in LFS_PATTERNS)


class Refused(Exception):
    """An answer other than 200.

    Args:
        status: HTTP status.
        message: What the Hub says, in the body and in `X-Error-Message`.
        code: `X-Error-Code`, which `hf_raise_for_status` turns into an error's class.
        body: Fields beside "error".
    """

    def __init__(self, status: int, message: str, code: str = "", **body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.body = {"error": message, **body}


def git_hash(content: bytes) -> str:
    """The id that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A file of a commit."""

    content: bytes
    lfs: str = ""  # SHA-256 where the content is in the large-file storage

    @property
    def oid(self) -> str:
        """The git id: of the pointer where the content lies elsewhere."""
        return git_hash(self.pointer if self.lfs else self.content)

    @property
    def pointer(self) -> bytes:
        """What git holds for a large file."""
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.lfs}\nsize {len(self.content)}\n".encode()

    def told(self, path: str) -> dict[str, Any]:
        """As the tree and paths-info routes tell it."""
        told: dict[str, Any] = {"type": "file", "oid": self.oid, "path": path}
        told["size"] = len(self.content)
        if self.lfs:
            size = len(self.content)
            told["lfs"] = {"oid": self.lfs, "size": size, "pointerSize": len(self.pointer)}
        return told


@dataclass(frozen=True)
class Commit:
    """A state of all files, and how it came about."""

    id: str
    title: str
    message: str
    author: str
    date: str
    tree: dict[str, Entry]
    parent: "Commit | None" = None


@dataclass
class Space:
    """What a Space has beside its files."""

    sdk: str
    hardware: str = "cpu-basic"
    requested: str | None = None
    sleep_s: int | None = None
    stage: str = "NO_APP_FILE"
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: list[dict[str, Any]] | None = None

    def runtime(self) -> dict[str, Any]:
        """As `SpaceRuntime` reads it."""
        return {
            "stage": self.stage,
            "hardware": {"current": self.hardware, "requested": self.requested or self.hardware},
            "gcTimeout": self.sleep_s,
            "storage": None,
            "replicas": {"requested": 1, "current": 1},
            "volumes": self.volumes,
        }


_count = itertools.count()


class Repo:
    """A model, dataset or Space.

    Args:
        kind: "model", "dataset" or "space".
        repo_id: `namespace/name`.
        private: Seen by its owner's tokens only.

    `gated` ("auto" or "manual") shows its files only to its owner and the users in `let_in`.
    """

    def __init__(
        self, kind: str, repo_id: str, *, private: bool, space: Space | None = None
    ) -> None:
        self.kind = kind
        self.id = repo_id
        self.private = private
        self.gated: str | bool = False
        self.let_in: set[str] = set()
        self.space = space
        self.objects: dict[str, bytes] = {}  # large files that were uploaded, by SHA-256
        self.created = _now()
        first = {".gitattributes": Entry(GIT_ATTRIBUTES.encode())}
        start = Commit(self._new_id(first, None), "initial commit", "", "system", _now(), first)
        self.branches = {"main": start}
        self.tags: dict[str, Commit] = {}

    @property
    def namespace(self) -> str:
        """Whose it is."""
        return self.id.split("/")[0]

    @property
    def head(self) -> Commit:
        """The newest commit of `main`."""
        return self.branches["main"]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """The content of each file, without `.gitattributes`."""
        tree = self.at(revision).tree
        return {path: entry.content for path, entry in tree.items() if path != ".gitattributes"}

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a commit's id names.

        Raises:
            Refused: 404, `RevisionNotFound`.
        """
        for refs in (self.branches, self.tags):
            if revision in refs:
                return refs[revision]
        if len(revision) >= 7:
            for commit in self.history():
                if commit.id.startswith(revision):
                    return commit
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, start: Commit | None = None) -> list[Commit]:
        """Every commit that is reached from `start`, or from any branch or tag; newest first."""
        heads = [start] if start else [*self.branches.values(), *self.tags.values()]
        seen: dict[str, Commit] = {}
        for commit in heads:
            while commit is not None and commit.id not in seen:
                seen[commit.id] = commit
                commit = commit.parent
        return list(seen.values())

    def commit(
        self, branch: str, tree: dict[str, Entry], title: str, message: str, author: str
    ) -> Commit:
        """A new newest commit of a branch."""
        parent = self.branches[branch]
        made = Commit(self._new_id(tree, parent), title, message, author, _now(), tree, parent)
        self.branches[branch] = made
        if self.space:
            self.space.stage = (
                "RUNNING" if "app.py" in tree or "Dockerfile" in tree else "NO_APP_FILE"
            )
        return made

    def squash(self, branch: str, message: str) -> None:
        """One commit in place of a branch's history."""
        tip = self.branches[branch]
        self.branches[branch] = Commit(
            self._new_id(tip.tree, None), message, "", tip.author, _now(), tip.tree
        )

    def _new_id(self, tree: dict[str, Entry], parent: Commit | None) -> str:
        said = {path: entry.oid for path, entry in tree.items()}
        text = json.dumps([said, parent and parent.id, next(_count)])
        return hashlib.sha1(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


REPO_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
