"""The app as a Space starts it, and a visitor who comes through the Space's proxy."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.fake_hub_login import CLIENT_ID, CLIENT_SECRET, SPACE_HOST, FakeHubLogin, Person

AUTHOR = "me"


def space_environment(hub: FakeHubLogin | None = None, **more: str) -> dict[str, str]:
    """What a Space sets: with `hub`, what it sets for `hf_oauth: true` as well."""
    env = {
        "SPACE_ID": f"{AUTHOR}/studio",
        "SPACE_AUTHOR_NAME": AUTHOR,
        "SPACE_REPO_NAME": "studio",
        "SPACE_TITLE": "Distill Studio",
        "SPACE_HOST": SPACE_HOST,
        "SPACE_CREATOR_USER_ID": "0123456789abcdef",
        "SYSTEM": "spaces",
    }
    if hub is not None:
        env |= {
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            "OAUTH_SCOPES": "openid profile",
            "OPENID_PROVIDER_URL": hub.url,
        }
    return env | more


class Visitor:
    """A browser at the Space's public address, as far as HTTP goes: it keeps cookies itself,
    since they are for https alone, and its requests carry what the Space's proxy adds.
    """

    def __init__(self, url: str, address: str = "203.0.113.7") -> None:
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []
        self.address = address
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; no redirect is followed."""
        headers = {
            "host": SPACE_HOST,
            "x-forwarded-proto": "https",
            "x-forwarded-for": self.address,
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        } | more.pop("headers", {})
        answer = self._client.request(method, path, headers=headers, **more)
        for line in answer.headers.get_list("set-cookie"):
            self.set_cookies.append(line)
            parsed: SimpleCookie = SimpleCookie(line.replace("; Partitioned", ""))
            for name, morsel in parsed.items():
                self.cookies.pop(name, None)
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        return answer

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET as a browser asks for a page."""
        headers = {"accept": "text/html"} | more.pop("headers", {})
        return self.request("GET", path, headers=headers, **more)

    def call(self, operation: str, **arguments: Any) -> httpx.Response:
        """An operation, as a page's script asks for it."""
        return self.request("POST", f"/api/main/{operation}", json=arguments)

    def begin(self, next_path: str = "/") -> str:
        """Press the button; returns the provider's address."""
        answer = self.get("/login/huggingface", params={"next": next_path})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def come_back(self, location: str) -> httpx.Response:
        """Follow the provider's redirect."""
        split = urlsplit(location)
        assert (split.scheme, split.netloc) == ("https", SPACE_HOST), location
        return self.get(f"{split.path}?{split.query}")

    def sign_in(self, hub: FakeHubLogin, person: Person, next_path: str = "/") -> httpx.Response:
        """The whole way; the answer of the callback."""
        return self.come_back(hub.consent(self.begin(next_path), person))

    def close(self) -> None:
        """Close."""
        self._client.close()
