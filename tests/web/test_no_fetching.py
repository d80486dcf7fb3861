"""No URL and no path of a file makes the server take it, by whichever of Gradio's ways."""

import asyncio
from pathlib import Path

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


def test_the_argument_of_an_event_names_no_file_that_was_not_sent(
    serve, tmp_path: Path, monkeypatch
):
    """Whatever the component: Gradio looks for files within any argument."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "sent"))
    hidden = tmp_path / "home" / "server.json"
    hidden.parent.mkdir()
    hidden.write_text('{"token": "of the owner"}')
    named = {"path": str(hidden), "meta": {"_type": "gradio.FileData"}, "orig_name": "x.json"}
    with serve() as client:
        config = client.get("/config").json()
        kinds = {c["id"]: c["type"] for c in config["components"]}
        events = {}
        for event in config["dependencies"]:
            if event["backend_fn"]:
                events |= {kinds[i]: (event, i) for i in event["inputs"] if kinds[i] != "state"}
        assert len(events) > 8
        for kind, (event, at) in events.items():
            for given in (named, [named], {"deep": [named]}):
                data = [given if i == at else None for i in event["inputs"]]
                asked = {"data": data, "fn_index": event["id"]}
                said = client.post("/gradio_api/run/predict", json=asked)
                assert said.status_code == 500, f"{kind}: {said.text}"
                assert "of the owner" not in said.text
        sent = client.post("/gradio_api/upload", files={"files": ("a.jsonl", b'{"prompt": "a"}')})
        event, at = events["file"]
        named["path"] = sent.json()[0]
        data = [[named] if i == at else None for i in event["inputs"]]
        said = client.post(
            "/gradio_api/run/predict", json={"data": data, "fn_index": event["id"]}
        ).json()
        assert "not uploaded" not in str(said)
    assert [p.name for p in (tmp_path / "sent").rglob("*.json")] == []


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
