"""No URL of a file makes the server fetch it, by whichever of Gradio's ways."""

import asyncio

import pytest
from gradio import processing_utils

from tests.stub_openai import StubServer


@pytest.mark.parametrize(
    "url", ["http://100.100.100.200/latest", "http://93.184.216.34/x", "https://huggingface.co/x"]
)
def test_the_file_route_and_the_proxy_fetch_nothing(serve, url):
    with serve() as client:
        refused = client.get(f"/gradio_api/file={url}")
        assert refused.status_code == 403, refused.text
        assert client.get(f"/gradio_api/proxy={url}").status_code == 400


def test_the_argument_of_an_event_fetches_nothing(serve, monkeypatch):
    stub = StubServer()
    with serve() as client:
        config = client.get("/config").json()
        files = {c["id"] for c in config["components"] if c["type"] == "file"}
        event = next(d for d in config["dependencies"] if files & {i for i in d["inputs"]})
        path = f"{stub.url}/models"
        data = [
            {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "x.jsonl"}
            if i in files
            else None
            for i in event["inputs"]
        ]
        said = client.post("/gradio_api/run/predict", json={"data": data, "fn_index": event["id"]})
        assert said.status_code == 500, said.text
    stub.close()
    assert stub.paths == []
    for url in ("https://huggingface.co/x", "http://93.184.216.34/x"):
        with pytest.raises(ValueError, match="fetches no files by URL"):
            asyncio.run(processing_utils.async_ssrf_protected_get(url))
