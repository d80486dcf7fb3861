"""MiniLM: windows cover the text, vectors are those of sentence-transformers."""

import numpy as np
import pytest

from distill_studio.core.settings import Settings
from distill_studio.teachers.models import ModelHost

pytestmark = pytest.mark.models
TEXTS = [
    "How do I bake bread?",
    "What is the way to bake a loaf of bread?",
    "The stock market fell by three percent on Monday.",
    "",
    "Ünïcödé 😀 and   blanks\n\n",
    "long " * 400,
]


@pytest.fixture(scope="module")
def embedder(starter_cache):
    return ModelHost(Settings(cache=starter_cache, device="cpu")).embedder()


def test_vectors_are_unit_and_those_of_sentence_transformers(embedder, starter_cache):
    from sentence_transformers import SentenceTransformer

    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 384) == (len(TEXTS), embedder.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    folder = ModelHost(Settings(cache=starter_cache)).resolve("all-minilm-l6-v2")
    plain = SentenceTransformer(str(folder), device="cpu")
    one_by_one = np.stack([plain.encode(t, normalize_embeddings=True) for t in TEXTS])
    allowed = {"float32": 1e-5, "bfloat16": 1e-3}[embedder.dtype]
    assert (1 - (vectors * one_by_one).sum(1)).max() < allowed
    assert vectors[0] @ vectors[1] > 0.8 > 0.3 > vectors[0] @ vectors[2]


def test_no_texts_give_no_rows(embedder):
    assert embedder.embed([]).shape == (0, 384)


def test_windows_cover_the_text_and_fit(embedder, starter_cache):
    from tokenizers import Tokenizer

    folder = ModelHost(Settings(cache=starter_cache)).resolve("all-minilm-l6-v2")
    cutter = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cutter.no_truncation()
    cutter.no_padding()
    assert embedder.window_tokens == 254
    for text in [
        *TEXTS,
        "word, " * 1000,
        "x" * 3000,
        "😀é" * 900,
        "abc\n\n" * 300,
        "antidisestablishmentarianism " * 90,
    ]:
        windows = embedder.windows(text)
        assert "".join(windows) == text
        counts = [len(cutter.encode(w, add_special_tokens=False)) for w in windows]
        assert max(counts) <= embedder.window_tokens
        if len(windows) > 1:
            assert min(counts[:-1]) > embedder.window_tokens - 20


def test_windows_of_equal_beginnings_are_equal(embedder):
    text = "The quick brown fox jumps over the lazy dog. " * 80
    one, other = embedder.windows(text + "A"), embedder.windows(text + "B completely different")
    assert len(one) == len(other) > 2
    assert one[:-1] == other[:-1]
    assert len(embedder.windows("short")) == 1


def test_windows_while_another_thread_embeds(embedder):
    import threading

    text = "The quick brown fox jumps over the lazy dog. " * 80
    expected = embedder.windows(text)
    thread = threading.Thread(target=embedder.embed, args=([text, "short"] * 3,))
    thread.start()
    while thread.is_alive():
        assert embedder.windows(text) == expected
    thread.join()


def test_bfloat16_is_used_only_while_it_keeps_the_vectors(embedder, starter_cache, monkeypatch):
    from distill_studio.teachers import embedder as module

    folder = ModelHost(Settings(cache=starter_cache)).resolve("all-minilm-l6-v2")
    rough = module.SentenceEmbedder(folder, "rough", dtype="bfloat16")
    assert rough.dtype == "bfloat16"
    assert (1 - (rough.embed(TEXTS[:3]) * embedder.embed(TEXTS[:3])).sum(1)).max() < 1e-2
    monkeypatch.setattr(module, "_MAX_COSINE_ERROR", 0.0)
    strict = module.SentenceEmbedder(folder, "strict", dtype="bfloat16")
    assert strict.dtype == "float32"
    exact = module.SentenceEmbedder(folder, "exact", dtype="float32")
    assert np.allclose(strict.embed(TEXTS[:3]), exact.embed(TEXTS[:3]), atol=1e-5)


@pytest.mark.slow
def test_bfloat16_keeps_the_vectors_of_many_texts(embedder, starter_cache):
    import builtins
    import inspect

    from distill_studio.teachers.embedder import SentenceEmbedder

    found = {inspect.getdoc(getattr(builtins, name)) or name for name in dir(builtins)}
    texts = sorted(text[: 15 * len(text[:20])] for text in found)
    assert len(texts) > 100
    rough = SentenceEmbedder(embedder.folder, "rough", dtype="bfloat16")
    exact = SentenceEmbedder(embedder.folder, "exact", dtype="float32")
    assert (rough.embed(texts) * exact.embed(texts)).sum(1).min() > 0.999
