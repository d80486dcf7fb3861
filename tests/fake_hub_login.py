"""A stand-in for Hugging Face's OpenID provider: a real HTTP server that checks what a provider
checks (client, redirect, PKCE, a code once) and signs id tokens with RS256.

What it answers can be spoilt, one thing at a time, to see that the app refuses it:
`spoil(aud="another")` changes claims, `sign_with="stranger"` the key, `sub_of_userinfo` the person.
Its discovery document, endpoints and claims are those that huggingface_hub's and Gradio's own OAuth
code read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "11111111-2222-3333-4444-555555555555", "oauth-secret-of-the-space"
SPACE_HOST = "me-studio.hf.space"
CODE_S = 60.0


@dataclass
class Person:
    """Somebody with an account at the Hub."""

    name: str
    sub: str = ""
    orgs: list[dict[str, Any]] = field(default_factory=list)

    def userinfo(self) -> dict[str, Any]:
        """What the userinfo endpoint answers."""
        return {
            "sub": self.sub or f"sub-of-{self.name.lower()}",
            "name": self.name.title(),
            "preferred_username": self.name,
            "profile": f"https://huggingface.co/{self.name}",
            "picture": "https://huggingface.co/avatars/x.svg",
            "isPro": False,
            "orgs": self.orgs,
        }


def org(name: str, **more: Any) -> dict[str, Any]:
    """An organisation as userinfo lists it."""
    return {"sub": f"org-{name}", "name": name.title(), "preferred_username": name} | more


class FakeHubLogin:
    """The provider. `person` is who sits at the browser and is logged in at the Hub."""

    def __init__(self) -> None:
        self.keys = {"k1": RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})}
        self.stranger = RSAKey.generate_key(2048, {"kid": "k1"})
        self.person = Person("nobody")
        self.asked: list[dict[str, str]] = []  # queries of the authorisation page
        self.tokens: list[str] = []  # access tokens and id tokens that were given
        self.forgives_replay = False
        self.calls: list[str] = []
        self.reset()
        self._codes: dict[str, dict[str, Any]] = {}
        self._people: dict[str, Person] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Answer truly again."""
        self.claims: dict[str, Any] = {}
        self.sign_with = "own"
        self.sub_of_userinfo = ""
        self.leaves_out = ""
        self.algorithms = ["RS256"]

    @contextmanager
    def spoilt(self, **changes: Any) -> Iterator[None]:
        """Answer with these attributes for a while."""
        try:
            for name, value in changes.items():
                assert hasattr(self, name), name
                setattr(self, name, value)
            yield
        finally:
            self.reset()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def consent(self, url: str, person: Person) -> str:
        """Do as a browser would on the authorisation page; returns where it leads back to."""
        self.person = person
        with httpx.Client(timeout=60, trust_env=False) as client:
            page = client.get(url)
            assert page.status_code == 200, page.text
            assert "Authorize" in page.text
            answer = client.post(url, data={"allow": "yes"})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    # -- what the handler asks ----------------------------------------------------------------

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "userinfo_endpoint": f"{self.url}/oauth/userinfo",
            "jwks_uri": f"{self.url}/oauth/jwks",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": [*self.algorithms, "none", "HS256"],
            "scopes_supported": ["openid", "profile", "email"],
        }

    def refuses(self, query: dict[str, str]) -> str:
        """Why an authorisation request will not do; '' when it will."""
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256"}
        for name, value in wanted.items():
            if query.get(name) != value:
                return f"{name} is {query.get(name)}"
        target = urlsplit(query.get("redirect_uri", ""))
        if (target.scheme, target.netloc) != ("https", SPACE_HOST):
            return "redirect_uri is not of the Space"
        missing = [n for n in ("state", "nonce", "code_challenge") if len(query.get(n, "")) < 16]
        if missing or "openid" not in query.get("scope", "").split():
            return f"missing: {missing or 'openid'}"
        return ""

    def give_code(self, query: dict[str, str]) -> str:
        self.asked.append(query)
        code = secrets.token_urlsafe(16)
        self._codes[code] = query | {"person": self.person, "until": time.time() + CODE_S}
        return code

    def give_token(self, form: dict[str, str], basic: str) -> tuple[int, dict[str, Any]]:
        if basic != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return 401, {"error": "invalid_client"}
        code = form.get("code", "")
        flow = self._codes.get(code) if self.forgives_replay else self._codes.pop(code, None)
        if flow is None or flow["until"] < time.time():
            return 400, {"error": "invalid_grant", "error_description": "code is used or unknown"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != flow["code_challenge"]:
            return 400, {"error": "invalid_grant", "error_description": "PKCE does not match"}
        if form.get("redirect_uri") != flow["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "redirect_uri differs"}
        access = f"hf_oauth_{secrets.token_urlsafe(24)}"
        self._people[access] = flow["person"]
        answer = {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": 28800,
            "scope": flow["scope"],
            "id_token": self._id_token(flow),
        }
        self.tokens += [access, answer["id_token"]]
        answer.pop(self.leaves_out, None)
        return 200, answer

    def userinfo(self, bearer: str) -> dict[str, Any] | None:
        person = self._people.get(bearer)
        if person is None:
            return None
        found = person.userinfo()
        return found | {"sub": self.sub_of_userinfo} if self.sub_of_userinfo else found

    def _id_token(self, flow: dict[str, Any]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": flow["person"].userinfo()["sub"],
            "preferred_username": flow["person"].name,
            "iat": now,
            "auth_time": now,
            "exp": now + 3600,
            "nonce": flow["nonce"],
        } | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": list(self.keys)[-1]}
        if self.sign_with == "nothing":
            parts = [{"alg": "none"}, claims]
            return ".".join(_b64(json.dumps(part).encode()) for part in parts) + "."
        if self.sign_with == "public":  # HMAC with what everybody can read
            public = self.keys["k1"].as_pem(private=False)
            parts = [{"alg": "HS256", "kid": "k1"}, claims]
            said = ".".join(_b64(json.dumps(part).encode()) for part in parts)
            return f"{said}.{_b64(hmac.digest(public, said.encode(), 'sha256'))}"
        key = self.stranger if self.sign_with == "stranger" else self.keys[header["kid"]]
        return jwt.encode(header, claims, key)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHubLogin

    def do_GET(self) -> None:
        path, query = self._asked()
        if path == "/.well-known/openid-configuration":
            self._json(200, self.hub.discovery())
        elif path == "/oauth/jwks":
            found = [key.as_dict(private=False) for key in self.hub.keys.values()]
            self._json(200, {"keys": found})
        elif path == "/oauth/userinfo":
            bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
            told = self.hub.userinfo(bearer)
            self._json(200 if told else 401, told or {"error": "invalid_token"})
        elif path == "/oauth/authorize":
            problem = self.hub.refuses(query)
            who = self.hub.person.name
            page = f"<h1>{who}, let Distill Studio know who you are?</h1><form method=post>"
            page += "<button name=allow value=yes>Authorize</button>"
            page += "<button name=allow value=no>Cancel</button></form>"
            self._send(400 if problem else 200, "text/html", problem or page)
        else:
            self._json(404, {"error": path})

    def do_POST(self) -> None:
        path, query = self._asked()
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if path == "/oauth/token":
            basic = self.headers.get("authorization", "").removeprefix("Basic ")
            self._json(*self.hub.give_token(form, base64.b64decode(basic).decode()))
            return
        problem = self.hub.refuses(query)
        if problem:
            self._send(400, "text/html", problem)
            return
        allowed = form.get("allow") == "yes"
        told = {"code": self.hub.give_code(query)} if allowed else {"error": "access_denied"}
        target = f"{query['redirect_uri']}?{urlencode(told | {'state': query['state']})}"
        self.send_response(302)
        self.send_header("location", target)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass

    def _asked(self) -> tuple[str, dict[str, str]]:
        split = urlsplit(self.path)
        self.hub.calls.append(split.path)
        return split.path, {name: values[0] for name, values in parse_qs(split.query).items()}

    def _json(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body))

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
