"""What people paste for a dataset or a collection."""

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds.hub_address import (
    DatasetAddress,
    read_collection,
    read_dataset,
    read_list,
)

HUB = "https://huggingface.co"
SLUG = "ann/benchmarks-64f9a55bb3115b4f513ec026"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("openai/gsm8k", ("openai/gsm8k",)),
        (" squad\n", ("squad",)),
        ("datasets/openai/gsm8k", ("openai/gsm8k",)),
        (f"{HUB}/datasets/openai/gsm8k", ("openai/gsm8k",)),
        (f"{HUB}/datasets/openai/gsm8k/", ("openai/gsm8k",)),
        ("huggingface.co/datasets/openai/gsm8k?row=1#x", ("openai/gsm8k",)),
        ("hf.co/datasets/squad/viewer/plain_text/train", ("squad", "", "plain_text", "train")),
        (f"{HUB}/datasets/a/b/tree/v1.0/data", ("a/b", "v1.0")),
        (f"{HUB}/datasets/a/b/blob/{'0' * 40}/x.csv", ("a/b", "0" * 40)),
        (f"{HUB}/datasets/a/b/viewer/ARC%2DEasy", ("a/b", "", "ARC-Easy")),
        (f"{HUB}/datasets/a/b/viewer", ("a/b",)),
        ("hf://datasets/a/b@v2/x.parquet", ("a/b", "v2")),
        ("hf://datasets/a/b", ("a/b",)),
    ],
)  # fmt: skip
def test_a_dataset(text, found):
    assert read_dataset(text) == DatasetAddress(*found)


@pytest.mark.parametrize(
    "text",
    ["", "a/b/c", "a b", "../x", "/etc/passwd", "a/..", f"{HUB}/openai/gsm8k", f"{HUB}/spaces/a/b",
     "https://huggingface.co.example.org/datasets/a/b", "https://ann@huggingface.co/datasets/a/b",
     "https://huggingface.co:8443/datasets/a/b", "ftp://huggingface.co/datasets/a/b",
     "file:///datasets/a/b", "hf://buckets/a/b", "a/%2e%2e", f"{HUB}/datasets/a%2Fb%2Fc"],
)  # fmt: skip
def test_no_dataset(text):
    with pytest.raises(InvalidInput):
        read_dataset(text)


def test_another_hub():
    with pytest.raises(InvalidInput, match="not an address of the Hugging Face Hub"):
        read_dataset("https://hub.example/datasets/a/b")
    assert read_dataset("https://hub.example/datasets/a/b", {"hub.example"}).dataset == "a/b"


def test_a_collection():
    assert read_collection(SLUG) == SLUG
    assert read_collection(f"{HUB}/collections/{SLUG}") == SLUG
    assert read_collection("openai/gsm8k") is None
    assert read_collection(f"{HUB}/datasets/openai/gsm8k") is None


def test_a_list_in_its_order_each_once():
    text = f"openai/gsm8k, cais/mmlu\n openai/gsm8k {HUB}/datasets/a/b/viewer/c/test"
    assert [one.dataset for one in read_list(text)] == ["openai/gsm8k", "cais/mmlu", "a/b"]
    assert read_list(text)[-1].split == "test"
    for nothing in ("", " , ", "openai/gsm8k, a/b/c"):
        with pytest.raises(InvalidInput):
            read_list(nothing)
