"""What a Hugging Face Space says in the environment: its name, address and OAuth client."""

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_OAUTH = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OPENID_PROVIDER_URL", "SPACE_HOST")
_NEEDED_SCOPES = ("openid", "profile")


class OAuthClient(BaseModel):
    """The OAuth client of a Space whose metadata says `hf_oauth: true`."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="OAUTH_CLIENT_ID.")
    secret: SecretStr = Field(description="OAUTH_CLIENT_SECRET.")
    scopes: str = Field(description="OAUTH_SCOPES, with what the log-in needs.")
    provider: str = Field(description="OPENID_PROVIDER_URL, without a slash at the end.")


class Space(BaseModel):
    """The Space that the app runs in."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="author/name.")
    author: str = Field(description="User or organisation whose Space it is.")
    host: str = Field(description="Its public host name; '' when it is not told.")
    oauth: OAuthClient | None = Field(default=None, description="None without `hf_oauth: true`.")

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> "Space | None":
        """The Space, or None elsewhere. With a domain of its own the first host is hf.space's."""
        env = os.environ if env is None else env
        if "SPACE_ID" not in env:
            return None
        host = env.get("SPACE_HOST", "").split(",")[0].strip().rstrip("/")
        author = env.get("SPACE_AUTHOR_NAME") or env["SPACE_ID"].split("/")[0]
        return cls(id=env["SPACE_ID"], author=author, host=host, oauth=_client(env))


def _client(env: Mapping[str, str]) -> OAuthClient | None:
    if not all(env.get(name) for name in _OAUTH):
        return None
    scopes = env.get("OAUTH_SCOPES", "").split()
    scopes += [scope for scope in _NEEDED_SCOPES if scope not in scopes]
    return OAuthClient(
        id=env["OAUTH_CLIENT_ID"],
        secret=SecretStr(env["OAUTH_CLIENT_SECRET"]),
        scopes=" ".join(scopes),
        provider=env["OPENID_PROVIDER_URL"].rstrip("/"),
    )
