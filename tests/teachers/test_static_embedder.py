"""The static copy of MiniLM: how it is made, that it reads texts whole, and how it is loaded."""

import threading

import numpy as np
import pytest

from distill_studio.core.embedding_models import FAST, FULL, canonical
from distill_studio.core.errors import Cancelled, InvalidInput, StudioError
from distill_studio.core.progress import CancelToken
from distill_studio.core.settings import Settings
from distill_studio.teachers import static_distillation
from distill_studio.teachers.embedder import SentenceEmbedder
from distill_studio.teachers.models import ModelHost
from distill_studio.teachers.static_embedder import StaticEmbedder

WORDS = (
    "how do i bake bread what is the way to a loaf of stock market fell by three percent on monday"
    " quick brown fox jumps over lazy dog river boat water cat sleeps in warm sun dogs bark"
)


def test_ids_of_models():
    assert [
        canonical(name) for name in ("", "full", FULL, "sentence-transformers/all-MiniLM-L6-v2")
    ] == [FULL] * 4
    assert [canonical(name) for name in ("fast", " Fast ", "static:full", f"static:{FULL}")] == [
        FAST
    ] * 4
    assert canonical("static:owner/Name") == "static:owner/Name"
    assert canonical("owner/Name") == "owner/Name"


def test_frequent_tokens_have_the_larger_share():
    rare = [f"rare{k}" for k in range(30)]
    tokens = ["é", "。", "a", ".", "the", "of", "##ing", "zebra", *rare]
    shares = dict(zip(tokens, static_distillation.zipf_shares(tokens), strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["the"] > shares["of"] > shares["##ing"] > shares["zebra"]
    assert shares["the"] / shares["zebra"] == pytest.approx(4)  # Zipf: ranks 1 and 4
    assert shares["zebra"] > shares["a"] == shares["."] > shares["rare20"]
    assert shares["é"] == shares["。"] == min(shares.values())


@pytest.fixture(scope="module")
def full(starter_cache):
    return ModelHost(Settings(cache=starter_cache, device="cpu")).embedder()


def ids_of(full, words=WORDS):
    return sorted(set(full.tokenizer.encode(words, add_special_tokens=False).ids))


@pytest.fixture(scope="module")
def some(full):
    """Ids of some 900 tokens: those of `WORDS` and frequent ones."""
    return sorted({*ids_of(full), *range(1997, 2900)})


@pytest.fixture(scope="module")
def fast(full, some, tmp_path_factory):
    folder = static_distillation.static_folder(full, tmp_path_factory.mktemp("cache"), tokens=some)
    return StaticEmbedder(folder, FAST)


@pytest.mark.models
def test_a_text_is_the_mean_of_its_tokens(full, fast, some):
    vectors = static_distillation.token_vectors(full, tokens=some)
    assert (fast.dim, vectors.shape[1]) == (256, 256)
    text = "The quick brown fox jumps over the lazy dog"
    ids = fast._tokenizer.encode(text, add_special_tokens=False).ids
    mean = vectors[ids].mean(axis=0)
    found = fast.embed([text, "", "bread"])
    assert found.dtype == np.float32
    assert np.allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert fast.embed([]).shape == (0, 256)
    near, far = (
        fast.embed(["a cat sleeps in the sun", "cat asleep in warm sun", "the stock market fell"])[
            :2
        ],
        found[0],
    )
    assert near[0] @ near[1] > near[0] @ far + 0.2


@pytest.mark.models
def test_sentence_transformers_reads_the_folder_and_gives_the_same_vectors(fast):
    from sentence_transformers import SentenceTransformer

    texts = ["The quick brown fox", "How do I bake bread? " * 300, "stock"]
    theirs = SentenceTransformer(str(fast.folder), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    assert np.allclose(fast.embed(texts), theirs, atol=1e-5)


@pytest.mark.models
def test_the_windows_are_those_of_the_full_model(full, fast):
    text = "The quick brown fox jumps over the lazy dog. " * 80
    assert fast.windows(text) == full.windows(text)
    assert len(fast.windows(text)) > 2
    assert fast.windows("short") == ["short"]


@pytest.mark.slow
@pytest.mark.models
def test_distilled_twice_the_coordinates_are_the_same(full, some):
    """Machines round differently; their vectors must fit each other all the same."""
    exact = SentenceEmbedder(full.folder, "exact", dtype="float32")
    rough = SentenceEmbedder(full.folder, "rough", dtype="bfloat16")
    one, other = (static_distillation.token_vectors(e, tokens=some)[some] for e in (exact, rough))
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.85
    assert np.median(cosine) > 0.97


@pytest.mark.models
def test_it_is_made_once_and_a_stop_leaves_nothing(full, some, tmp_path, monkeypatch):
    token = CancelToken()
    monkeypatch.setattr(static_distillation, "_CHUNK_TOKENS", 100)
    said = []

    def stop(done, total=None, note=""):
        said.append(done)
        if done >= 200:
            token.cancel()

    with pytest.raises(Cancelled):
        static_distillation.static_folder(full, tmp_path, stop, token, tokens=some)
    assert said == [0, 100, 200]
    assert [p for p in (tmp_path / "models").iterdir() if p.is_dir()] == []
    folder = static_distillation.static_folder(full, tmp_path, tokens=some[:300])
    host = ModelHost(Settings(cache=tmp_path, device="cpu"))
    monkeypatch.setattr(host._embedders, "_read", None)  # the full model is not read again
    assert host.embedder("fast").folder == folder
    assert host.embedder(f"static:{FULL}") is host.embedder("fast")
    assert host.embedder("fast").model == FAST


@pytest.mark.slow
@pytest.mark.models
def test_any_other_model_by_its_folder_and_what_is_none(full, fast, tmp_path):
    host = ModelHost(Settings(cache=tmp_path, device="cpu"))
    assert host.embedder(str(fast.folder)).dim == 256
    assert host.embedder(str(full.folder)).dim == 384
    with pytest.raises(InvalidInput, match="static already"):
        host.embedder(f"static:{fast.folder}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="no sentence-transformers model"):
        host.embedder(str(tmp_path / "other"))
    (tmp_path / "other" / "modules.json").write_text("[]")
    with pytest.raises(StudioError):
        host.embedder(str(tmp_path / "other"))
    with pytest.raises(StudioError, match="no model"):
        host.embedder("/nowhere/at/all")


@pytest.mark.models
def test_threads_embed_at_once(fast):
    texts = [f"the quick brown fox {word}" for word in WORDS.split()]
    expected = fast.embed(texts)
    wrong = []

    def run():
        if not np.array_equal(fast.embed(texts), expected):
            wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
