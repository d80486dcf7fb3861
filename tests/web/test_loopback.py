"""On loopback without a password: this machine's own pages get in, other sites' pages do not."""

import pytest
from starlette.websockets import WebSocketDisconnect

HERE = "http://127.0.0.1:7860"
EVIL = "http://evil.example"


def test_this_machine_needs_no_password(serve):
    with serve() as client:
        assert client.get("/api/status").status_code == 200
        assert client.post("/api/main/overview_counts", json={}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:7860", "[::1]:7860"])
def test_local_names_are_served(serve, host):
    with serve() as client:
        assert client.get("/api/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example"])
def test_a_name_that_was_pointed_here_is_refused(serve, host):
    with serve() as client:
        for path in ("/", "/api/status", "/config"):
            answer = client.get(path, headers={"host": host})
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize(
    "headers",
    [{"origin": EVIL}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}],
    ids=["origin", "null-origin", "fetch-site"],
)
def test_a_post_of_another_site_is_refused(serve, headers):
    with serve() as client:
        for path in ("/api/main/overview_counts", "/gradio_api/queue/join", "/api/workspaces"):
            answer = client.post(path, json={"name": "stolen"}, headers=headers)
            assert answer.status_code == 403, path
            assert answer.json()["error"]["code"] == "wrong_origin"
        assert client.get("/api/status").json()["workspaces"] == ["main"]


def test_another_site_can_neither_read_nor_open_a_web_socket(serve):
    with serve() as client:
        answer = client.get("/config", headers={"origin": EVIL})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        with (
            pytest.raises(WebSocketDisconnect) as refusal,
            client.websocket_connect("/ws", headers={"origin": EVIL}),
        ):
            pass
        assert refusal.value.code == 1008


def test_our_own_page_may_post(serve):
    with serve() as client:
        answer = client.post("/api/main/overview_counts", json={}, headers={"origin": HERE})
        assert answer.status_code == 200
