"""Datasets for a fake Hub: real Parquet, JSON Lines and CSV files, put there as commits."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fake_hub import FakeHub, Repo, online
from tests.fake_hub.repos import LFS_PATTERNS, Entry

_LARGE = tuple(pattern.removeprefix("*") for pattern in LFS_PATTERNS)


def put(repo: Repo, files: Mapping[str, bytes | str], branch: str = "main") -> str:
    """Commit files to a repository and return the commit's id."""
    tree = dict(repo.branches[branch].tree)
    for path, said in files.items():
        content = said.encode() if isinstance(said, str) else said
        oid = hashlib.sha256(content).hexdigest() if path.endswith(_LARGE) else ""
        if oid:
            repo.objects[oid] = content
        tree[path] = Entry(content, oid)
    return repo.commit(branch, tree, "Files", "", repo.namespace).id


def parquet(rows: Sequence[Mapping[str, Any]], group: int = 1000) -> bytes:
    """A Parquet file in row groups of so many rows."""
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), made, row_group_size=group)
    return made.getvalue()


def jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def card(body: str) -> str:
    """A README with this front matter."""
    return f"---\n{body.strip()}\n---\n# A dataset\n"


@contextmanager
def pointed_at(hub: FakeHub, cache: Path) -> Iterable[None]:
    """In this process the Hub's two libraries talk to that Hub, and keep what they cache there.

    What they read at import: `huggingface_hub.constants` (`ENDPOINT`, the URL template made of it,
    `HF_HUB_CACHE`, `HF_HUB_OFFLINE`) and `datasets.config` (`HF_ENDPOINT`, the URL of a file made
    of it, `HF_HUB_OFFLINE`, where it caches). fsspec keeps `HfFileSystem`s by endpoint and token.
    """
    from datasets import config
    from huggingface_hub import close_session, constants

    page = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    files = hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}"
    with ExitStack() as stack:
        stack.enter_context(online())
        for module, name, value in (
            (constants, "ENDPOINT", hub.url),
            (constants, "HUGGINGFACE_CO_URL_TEMPLATE", page),
            (constants, "HF_HUB_CACHE", str(cache / "hub")),
            (constants, "HF_TOKEN_PATH", str(cache / "token")),
            (config, "HF_ENDPOINT", hub.url),
            (config, "HUB_DATASETS_URL", files),
            (config, "HF_HUB_OFFLINE", False),
            (config, "HF_DATASETS_CACHE", cache / "datasets"),
            (config, "DOWNLOADED_DATASETS_PATH", str(cache / "downloads")),
            (config, "HF_UPDATE_DOWNLOAD_COUNTS", False),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        close_session()
        yield
    close_session()
