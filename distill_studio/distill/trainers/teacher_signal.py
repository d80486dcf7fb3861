"""The teacher of a run: in this process, or stored once under its key. `make_signal(...)`."""

import functools
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from distill_studio.distill.config import LogitRun, TeacherRun
from distill_studio.distill.data import Encoded
from distill_studio.distill.losses import DIVERGENCES
from distill_studio.distill.losses.distill_term import DistillTerm
from distill_studio.distill.losses.sampled_kl import Draws, SampledKl
from distill_studio.distill.losses.sparse_kl import SparseKl, TopK
from distill_studio.distill.losses.tiled import Term
from distill_studio.distill.pairing import Pairing, check_pairing
from distill_studio.distill.signals import base
from distill_studio.distill.signals.base import CacheMismatch, SignalKey
from distill_studio.distill.signals.cached import CachedTeacher
from distill_studio.distill.signals.capture import AnyTeacher, capture
from distill_studio.distill.signals.ensemble import EnsembleTeacher
from distill_studio.distill.signals.online import OnlineTeacher
from distill_studio.distill.student import load_model
from distill_studio.distill.trainers.across import AcrossSignal
from distill_studio.distill.trainers.mapped import EncodedRows
from distill_studio.distill.trainers.served_signal import served_cache
from distill_studio.distill.trainers.setup import Setup

_CACHES = "teacher-cache"
_MIXTURE = {"jsd": "beta", "skewed_kl": "skew", "skewed_reverse_kl": "skew"}


class TeacherSignal(Protocol):
    """Makes the teacher's part of the loss of a batch."""

    def term(self, batch: dict[str, Any], where_BT: Tensor) -> Term:
        """For the learned positions `where_BT`, row after row."""
        ...


class OnlineSignal:
    """The teacher is asked at each update."""

    def __init__(
        self, config: TeacherRun, teacher: AnyTeacher, width: int, weight: float = 1.0
    ) -> None:
        self._config = config
        self._weight = weight
        self._teacher = teacher
        self._width = width
        name = _MIXTURE.get(config.divergence)
        options = {name: config.mixture} if name and config.mixture is not None else {}
        self._divergence = DIVERGENCES[config.divergence](**options)

    @property
    def model(self) -> Any:  # noqa: ANN401
        """The teacher itself, for those who watch its layers."""
        return self._teacher.model

    @property
    def models(self) -> list[Any]:
        """All teachers themselves."""
        return self._teacher.models

    def term(self, batch: dict[str, Any], where_BT: Tensor) -> DistillTerm:
        """A dense divergence over the ids that both models have."""
        temperature = self._config.temperature
        dense = self._teacher.read(batch, where_BT, temperature)
        return DistillTerm(self._divergence, dense, temperature, self._width, self._weight)


class StoredSignal:
    """The teacher's words are read, row by row."""

    def __init__(self, config: LogitRun, cache: CachedTeacher, width: int) -> None:
        self._config = config
        self._cache = cache
        self._width = width

    def term(self, batch: dict[str, Any], where_BT: Tensor) -> DistillTerm:
        """The sparse loss of what is stored.

        Raises:
            CacheMismatch: A row has another number of learned tokens than what is stored.
        """
        temperature = self._config.temperature
        found = self._cache.read(batch["row"].tolist(), temperature, str(where_BT.device))
        if len(found.ids_NK) != int(where_BT.sum()):
            raise CacheMismatch(
                "The stored teacher signal does not fit the rows.", "Capture it anew."
            )
        divergence = SparseKl() if isinstance(found, TopK) else SampledKl()
        return DistillTerm(
            divergence,
            lambda tokens: _stretch(found, tokens),
            temperature,
            self._width,
            self._config.beta,
        )


def _stretch(found: TopK | Draws, tokens: slice) -> TopK | Draws:
    ids_NK, log_probs_NK = found.ids_NK[tokens], found.log_probs_NK[tokens]
    if isinstance(found, TopK):
        return TopK(ids_NK, log_probs_NK, found.log_tail_N[tokens])
    return Draws(ids_NK, found.shares_NK[tokens], log_probs_NK)


def load_teacher(setup: Setup, pairing: Pairing) -> AnyTeacher:
    """The teachers that fit, in this process; one that stands for all where there are several."""
    for teacher, why in pairing.unlike:
        setup.say(f"{teacher.id} teaches by its answers in the snapshot alone. {why}")
    dtype = torch.bfloat16 if setup.is_bf16 else torch.float32
    loaded = []
    for teacher in pairing.teachers:
        setup.say(f"Loading the teacher {teacher.id}.")
        model = load_model(Path(teacher.folder), dtype, setup.device)
        loaded.append(OnlineTeacher(model, pairing.teacher_width or pairing.width))
    return loaded[0] if len(loaded) == 1 else EnsembleTeacher(loaded, pairing.weights)


def make_signal(setup: Setup, config: LogitRun, splits: Sequence[Any]) -> TeacherSignal:
    """Load the teacher; store its signal first when the run wants that.

    Args:
        setup: Of the run.
        config: Its choices.
        splits: Encoded rows, train first; a row's number counts through all.

    Raises:
        InvalidInput: Unlike tokenizers, or a divergence that a cache cannot give.
        CacheMismatch: What is stored is not this teacher's.
    """
    pairing = check_pairing(config)
    width = pairing.width
    if config.teacher.server is not None:
        return StoredSignal(config, _served(setup, config, EncodedRows(splits), pairing), width)
    teacher = load_teacher(setup, pairing)
    if pairing.teacher_width is not None:
        return AcrossSignal(setup, config, teacher, pairing)
    if config.signal == "online":
        return OnlineSignal(config, teacher, width, config.beta)
    rows = EncodedRows(splits)
    cache = _stored(setup, config, teacher, rows, pairing)
    del teacher
    gc.collect()  # its memory is the student's now
    return StoredSignal(config, cache, width)


def _key(
    setup: Setup, config: LogitRun, rows: Sequence[Encoded], pairing: Pairing
) -> tuple[SignalKey, Path]:
    """The key of a run's stored signal, and the folder for it."""
    width = pairing.width
    prints = [base.teacher_fingerprint(one) for one in pairing.teachers]
    key = SignalKey(
        teacher=base.ensemble_fingerprint(prints, pairing.weights),
        tokenizer=base.tokenizer_hash(Path(config.student.base_folder)),
        template=base.template_hash(setup.chat),
        tokens=base.tokens_hash(rows),
        kind=config.kept,
        k=min(config.top_k, width) if config.kept == "top_k" else config.top_k,
        temperatures=(config.temperature,),
        width=width,
        source="forward" if config.teacher.server is None else "vllm",
    )
    caches = Path(config.cache_folder) if config.cache_folder else setup.folder / _CACHES
    return key, caches / key.hash


def _served(
    setup: Setup, config: LogitRun, rows: Sequence[Encoded], pairing: Pairing
) -> CachedTeacher:
    key, folder = _key(setup, config, rows, pairing)
    load = functools.partial(load_teacher, setup, pairing) if config.teacher.folder else None
    return served_cache(setup, config, rows, key, folder, load)


def _stored(
    setup: Setup, config: LogitRun, teacher: AnyTeacher, rows: Sequence[Encoded], pairing: Pairing
) -> CachedTeacher:
    key, folder = _key(setup, config, rows, pairing)

    def progress(done: int, of: int) -> None:
        setup.check_stop()
        if done < of:
            setup.say(f"The teacher reads the rows once: {done} of {of}.")

    write = functools.partial(
        capture,
        teacher,
        rows,
        folder,
        key,
        batch_rows=config.batch_size,
        seed=config.seed,
        progress=progress,
    )
    setup.ranks.first_then_others(write)
    cache = CachedTeacher.open(folder, key, len(rows))
    worst = cache.verify(teacher, rows, seed=config.seed)
    what = f"top {key.k}" if key.kind == "top_k" else f"{key.k} draws"
    covered = cache.covered()
    setup.say(
        f"Stored signal: the {what} cover {100 * covered:.1f} % of the teacher's probability;"
        f" asked again about {min(4, len(rows))} rows, it differs by {worst:.4f} nats.",
        covered=covered,
    )
    return cache
