"""Embedding models by id: find one's files, load it, share it. Start at `EmbedderHost`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core import embedding_models as names
from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.settings import Settings
from distill_studio.teachers.loading import LOADING

if TYPE_CHECKING:
    from distill_studio.core.protocols import Embedder
    from distill_studio.teachers.embedder import SentenceEmbedder

SENTENCE_MODEL_MARK = "modules.json"


class EmbedderHost:
    """Embedders by id, loaded on first use and shared.

    Args:
        settings: Says where the cache is and which device to use.
        resolve: From an id to the folder with its files.
    """

    def __init__(self, settings: Settings, resolve: Callable[[str], Path]) -> None:
        self._settings, self._resolve = settings, resolve
        self._loaded: dict[str, Embedder] = {}
        self._guard = threading.RLock()

    def get(
        self,
        model_id: str,
        progress: Progress = no_progress,
        cancel: CancelToken | None = None,
    ) -> Embedder:
        """The embedder of that id; see `ModelHost.embedder`."""
        model_id = names.canonical(model_id)
        with self._guard:
            if model_id not in self._loaded:
                is_static = names.is_static(model_id)
                make = self._distilled if is_static else self._read
                self._loaded[model_id] = make(model_id, progress, cancel)
            return self._loaded[model_id]

    def unload(self, model_id: str) -> None:
        """Give the memory of one back."""
        self._loaded.pop(names.canonical(model_id), None)

    def unload_all(self) -> None:
        """Give the memory of all back."""
        self._loaded.clear()

    def _distilled(self, model_id: str, progress: Progress, cancel: CancelToken | None) -> Embedder:
        """The static copy of a model; the full model is read only where it is not made yet."""
        from distill_studio.teachers.static_distillation import (
            FACTS_FILE,
            made_folder,
            static_folder,
        )
        from distill_studio.teachers.static_embedder import StaticEmbedder, is_static_folder

        source_id = names.source_of(model_id)
        folder = self._resolve(source_id)
        if names.is_static(source_id) or is_static_folder(folder):
            raise InvalidInput(f"{source_id} is static already.", "Choose it as it is.")
        made = made_folder(folder, self._settings.cache_folder)
        if not (made / FACTS_FILE).is_file():
            source = self.get(source_id)
            progress(0, None, "distilling the fast model")
            made = static_folder(
                _sentence_model(source), self._settings.cache_folder, progress, cancel
            )
        with LOADING:
            return StaticEmbedder(made, model_id)

    def _read(self, model_id: str, progress: Progress, cancel: CancelToken | None) -> Embedder:
        from distill_studio.teachers.embedder import SentenceEmbedder
        from distill_studio.teachers.probe import choose
        from distill_studio.teachers.static_embedder import StaticEmbedder, is_static_folder

        folder = self._resolve(model_id)
        if not (folder / SENTENCE_MODEL_MARK).is_file():
            raise InvalidInput(
                f"{model_id} is no sentence-transformers model.",
                f"Its folder needs a {SENTENCE_MODEL_MARK}, as embedding models on the Hub have.",
            )
        if is_static_folder(folder):
            with LOADING:
                return StaticEmbedder(folder, model_id)
        best = choose(self._settings.cache_folder, self._settings.device)
        try:
            with LOADING:
                return SentenceEmbedder(folder, model_id, best.device, best.dtype)
        except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as err:
            raise Unavailable(
                f"The embedding model {model_id} cannot be loaded: {str(err)[:300]}",
                "It needs weights as safetensors and a fast tokenizer.",
            ) from err


def _sentence_model(source: Embedder) -> SentenceEmbedder:
    from distill_studio.teachers.embedder import SentenceEmbedder

    if not isinstance(source, SentenceEmbedder):
        raise InvalidInput(f"{source.model} cannot be distilled.")
    return source
