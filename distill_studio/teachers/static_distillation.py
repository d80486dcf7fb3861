"""A static copy of a sentence model: a vector per token, made in seconds. See `static_folder`.

The method of Model2Vec (Tulkens and van Dongen 2024, github.com/MinishLab/model2vec): each token of
the vocabulary is embedded alone, PCA takes the vectors to fewer dimensions, and frequent tokens
count less. Their weight is that of SIF, a / (a + p) (Arora, Liang and Ma 2017, "A Simple but
Tough-to-Beat Baseline for Sentence Embeddings"), with p from the token's rank by Zipf's law. SIF
also takes away what all texts have in common; here that is the vector that a text of tokens drawn
by these shares is expected to have.

Both differ from Model2Vec, which ranks by token id and centres by the plain mean: a BERT vocabulary
begins with a thousand single characters by code point, so that "the" would count as rare.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import FloatMatrix
from distill_studio.teachers.embedder import SentenceEmbedder

FloatArray = npt.NDArray[np.float64]
DIM = 256
FACTS_FILE = "distilled.json"
_SIF_A = 1e-3  # Arora et al. 2017 found 1e-4 to 1e-3 to work everywhere
_RANK_OF_ASCII = 10  # of single letters, digits and signs: about as frequent as "is" or "for"
_RECIPE = 1  # part of the folder's name: count up with every change of the method
_CHUNK_TOKENS = 2048  # embedded between two looks at the cancel token
_UNUSED = re.compile(r"\[unused\d+\]")
_LOCK_TIMEOUT_S = 600
_HASHED = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model")


def content_key(folder: Path) -> str:
    """16 hex digits that change with any file of a model."""
    digest = hashlib.sha256()
    for path in sorted({p for pattern in _HASHED for p in folder.rglob(pattern)}):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def made_folder(source_folder: Path, cache_folder: Path) -> Path:
    """Where the static copy of a model lies, once it is made."""
    key = content_key(source_folder)
    return cache_folder / "models" / f"static-{_RECIPE}-{key}"


def static_folder(
    source: SentenceEmbedder,
    cache_folder: Path,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    tokens: Sequence[int] | None = None,
) -> Path:
    """The static copy of `source` as a sentence-transformers folder; distilled at the first call.

    Args:
        source: The full model.
        cache_folder: Where models made here are kept.
        progress: Told how many tokens are embedded.
        cancel: Stops the work; nothing is left behind.
        tokens: Ids of the tokens to embed, else all; the others count as nothing.

    Raises:
        Cancelled: `cancel` was set.
        Unavailable: Another process has been making it for too long.
    """
    folder = made_folder(source.folder, cache_folder)
    if (folder / FACTS_FILE).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        with lock.acquire(timeout=_LOCK_TIMEOUT_S):
            if not (folder / FACTS_FILE).is_file():
                vectors = token_vectors(source, progress, cancel, tokens)
                _write(source, vectors, folder)
    except Timeout as err:
        raise Unavailable(
            f"Another process has been distilling {source.model} for too long.",
            f"If none runs, delete {lock.lock_file} and try again.",
        ) from err
    return folder


def token_vectors(
    source: SentenceEmbedder,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    tokens: Sequence[int] | None = None,
) -> FloatMatrix:
    """(V, <= 256) float32, the weighted vector of each token; zeros where none was embedded."""
    ids = np.array(sorted(_vocabulary(source.tokenizer) if tokens is None else tokens), np.int64)
    if not len(ids):
        raise InvalidInput(f"The tokenizer of {source.model} has no tokens to embed.")
    before, after = _special_tokens(source.tokenizer)
    parts = []
    for start in range(0, len(ids), _CHUNK_TOKENS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        progress(start, len(ids), "distilling the fast model")
        chunk = ids[start : start + _CHUNK_TOKENS].tolist()
        parts.append(source.embed_tokens([[*before, one, *after] for one in chunk]))
    progress(len(ids), len(ids), "distilling the fast model")
    words = {number: token for token, number in source.tokenizer.get_vocab().items()}
    shares = zipf_shares([words[one] for one in ids.tolist()])
    weights = _SIF_A / (_SIF_A + shares)
    rows = _reduced(np.concatenate(parts))
    rows -= np.average(rows, axis=0, weights=shares * weights)
    vectors = np.zeros((source.tokenizer.get_vocab_size(), rows.shape[1]), np.float32)
    vectors[ids] = rows * weights[:, None]
    return vectors


def zipf_shares(tokens: Sequence[str]) -> FloatArray:
    """(N,) the share of each token in text by Zipf's law, from their order in the vocabulary.

    Tokens of several characters are listed from frequent to rare, single characters by code point:
    those of ASCII count as frequent, the others as the rarest.
    """
    bare = [token.removeprefix("##") for token in tokens]
    is_word = np.array([len(token) > 1 for token in bare])
    is_ascii = np.array([token.isascii() for token in bare])
    ranks = np.where(is_ascii, _RANK_OF_ASCII, len(bare)).astype(np.float64)
    ranks[is_word] = np.arange(1, np.count_nonzero(is_word) + 1)
    return np.asarray(1.0 / ranks / (1.0 / ranks).sum())


def _reduced(rows: FloatMatrix) -> FloatMatrix:
    """(N, D) on their first principal directions, in coordinates that do not depend on chance.

    Rounding may turn the directions within their subspace, so that vectors made by two machines
    could not be compared. The basis used is the one of the subspace that lies nearest to the first
    coordinate axes (orthogonal Procrustes), which changes as little as the subspace does.
    """
    from sklearn.decomposition import PCA

    dim = min(DIM, *rows.shape)
    fitted = PCA(n_components=dim, svd_solver="full").fit(rows)
    directions = fitted.components_.T  # (D, dim)
    left, _, right = np.linalg.svd(directions[:dim].T)
    basis = directions @ (left @ right)
    return np.asarray((rows - fitted.mean_) @ basis, dtype=np.float32)


def _vocabulary(tokenizer: Any) -> list[int]:  # noqa: ANN401
    """Ids of the tokens that occur in texts: special ones but the unknown one are left out."""
    added = tokenizer.get_added_tokens_decoder()
    unknown = getattr(tokenizer.model, "unk_token", None)
    special = {i for i, one in added.items() if one.special and one.content != unknown}
    return [
        number
        for token, number in tokenizer.get_vocab(with_added_tokens=True).items()
        if number not in special and not _UNUSED.fullmatch(token)
    ]


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:  # noqa: ANN401
    """What the tokenizer puts before and after a text, e.g. [CLS] and [SEP]."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    start = next(k for k in range(len(full)) if full[k : k + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def _write(source: SentenceEmbedder, vectors: FloatMatrix, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(source.tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    facts = {"source": source.model, "max_tokens": source.max_tokens, "recipe": _RECIPE}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        made = Path(name) / folder.name
        module = StaticEmbedding(tokenizer, embedding_weights=vectors)
        model = SentenceTransformer(modules=[module], device="cpu")
        model.save(str(made), create_model_card=False)
        (made / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        made.rename(folder)
