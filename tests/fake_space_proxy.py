"""The way from a browser to a Space: https before the app under the Space's host, and a page of
huggingface.co that shows the Space in a frame.

A reverse proxy with a certificate made here; browsers are told to resolve both hosts to it.
"""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fake_hub_login import SPACE_HOST

HUB_HOST = "huggingface.co"
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}
_FRAME = f"""<!doctype html><title>me/studio - a Hugging Face Space</title>
<style>body {{ margin: 0 }} iframe {{ width: 100vw; height: 95vh; border: 0 }}</style>
<iframe id="space" src="https://{SPACE_HOST}/"></iframe>"""


class FakeSpaceProxy:
    """Serves https on a free port of this machine until closed.

    Args:
        app_url: Where the app answers.
        folder: For the certificate.
    """

    def __init__(self, app_url: str, folder: Path) -> None:
        self.app_url = app_url
        self.takes_away = b""  # of the app's headers, to see what it is good for
        self._client = httpx.AsyncClient(base_url=app_url, timeout=None, trust_env=False)
        pages = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)])
        key, certificate = _certificate(folder)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            pages,
            log_level="error",
            ssl_keyfile=str(key),
            ssl_certfile=str(certificate),
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.05)

    @property
    def resolver_rules(self) -> str:
        """For Chromium: both hosts are this machine, nothing else is anywhere."""
        hosts = (f"MAP {host}:443 127.0.0.1:{self.port}" for host in (SPACE_HOST, HUB_HOST))
        return ", ".join([*hosts, "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"])

    def close(self) -> None:
        """Stop."""
        self._server.should_exit = True
        self._thread.join(20)

    async def _answer(self, request: Request) -> Response:
        if request.url.hostname == HUB_HOST:
            return HTMLResponse(_FRAME, headers={"x-frame-options": "SAMEORIGIN"})
        headers = [(n, v) for n, v in request.headers.items() if n not in _OF_ONE_HOP]
        headers += [
            ("host", SPACE_HOST),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "203.0.113.5"),
        ]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        asked = self._client.build_request(
            request.method, path, headers=headers, content=await request.body()
        )
        answer = await self._client.send(asked, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        given = StreamingResponse(pieces(), status_code=answer.status_code)
        given.raw_headers = [
            (name.lower(), value.replace(self.takes_away, b"") if self.takes_away else value)
            for name, value in answer.headers.raw
            if name.lower().decode() not in _OF_ONE_HOP - {"content-length"}
        ]
        return given


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SPACE_HOST)])
    now = datetime.datetime.now(datetime.UTC)
    hosts = x509.SubjectAlternativeName([x509.DNSName(SPACE_HOST), x509.DNSName(HUB_HOST)])
    made = (
        x509
        .CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(hosts, critical=False)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file
