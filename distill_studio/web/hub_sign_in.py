"""Sign in with Hugging Face: OpenID Connect's authorization code flow with state, nonce and PKCE.

What a flow needs at its end (state, nonce, verifier) waits in a signed cookie of the browser that
began it; nothing is kept here. Of what Hugging Face answers, only who it is stays, and no token.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from httpx2 import HTTPError
from itsdangerous import BadSignature, URLSafeTimedSerializer
from joserfc.errors import JoseError

from distill_studio.core.errors import StudioError
from distill_studio.core.space import OAuthClient
from distill_studio.services.outsiders import Outsider

FLOW_S = 600  # from the button to the way back, a consent page and a password between them
CLOCKS_DIFFER_S = 60
START, CALLBACK = "/login/huggingface", "/login/callback"
_TIMEOUT_S = 15.0
_SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
# An organisation asks for more than the person has done: it would not let them in itself.
_PENDING = ("pendingSSO", "missingMFA", "securityRestrictions")

logger = logging.getLogger(__name__)


class SignInFailed(StudioError):
    """The way through Hugging Face did not work; nobody is logged in."""

    code = "sign_in_failed"


class SignInUnreachable(SignInFailed):
    """Hugging Face does not answer."""

    code = "sign_in_unreachable"
    http_status = 502


@dataclass(frozen=True)
class Begun:
    """A flow that has begun: where the browser goes, and the cookie that it keeps meanwhile."""

    url: str
    cookie: str


class _Client(Protocol):
    """What is used of authlib's client."""

    server_metadata: dict[str, Any]

    async def load_server_metadata(self) -> dict[str, Any]: ...
    async def create_authorization_url(self, redirect_uri: str) -> dict[str, str]: ...
    async def fetch_access_token(self, **kwargs: str) -> dict[str, Any]: ...
    async def parse_id_token(self, token: Any, **kwargs: Any) -> dict[str, Any]: ...  # noqa: ANN401
    async def userinfo(self, *, token: Any) -> dict[str, Any]: ...  # noqa: ANN401


class HubSignIn:
    """The flow of one Space.

    Args:
        client: As the Space's environment tells it.
        host: The Space's public host: the only one that Hugging Face leads back to.
        key: Signs the flow's cookie.
    """

    def __init__(self, client: OAuthClient, host: str, key: str) -> None:
        self.host = host
        self._id = client.id
        self._provider = client.provider
        self._back = f"https://{host}{CALLBACK}"
        self._signer = URLSafeTimedSerializer(key, salt="hub-sign-in")
        self._client: _Client = OAuth().register(
            name="huggingface",
            client_id=client.id,
            client_secret=client.secret.get_secret_value(),
            server_metadata_url=f"{client.provider}/.well-known/openid-configuration",
            client_kwargs={
                "scope": client.scopes,
                "code_challenge_method": "S256",
                "timeout": _TIMEOUT_S,
            },
        )

    async def begin(self, next_path: str) -> Begun:
        """Where to send the browser; `next_path` is where it goes at the end.

        Raises:
            SignInUnreachable: The provider's description cannot be read.
        """
        try:
            await self._describe()
            made = await self._client.create_authorization_url(self._back)
        except (HTTPError, ValueError, RuntimeError, KeyError) as err:
            raise _unreachable() from err
        kept = {name: made[name] for name in ("state", "nonce", "code_verifier")}
        return Begun(made["url"], self._signer.dumps(kept | {"next": next_path}))

    async def finish(self, cookie: str, query: Mapping[str, str]) -> tuple[Outsider, str]:
        """Who it is, and where they were going.

        Raises:
            SignInFailed: Another browser's flow, too late, refused there, or an answer that does
                not hold: wrong code, signature, issuer, audience, nonce or time.
            SignInUnreachable: The provider does not answer.
        """
        try:
            flow = self._signer.loads(cookie, max_age=FLOW_S)
        except BadSignature as err:
            raise SignInFailed(
                "This sign-in was not begun in this browser, or more than ten minutes ago.",
                "Begin again. In a frame that keeps no cookies, open the app in a tab of its own.",
            ) from err
        if not query.get("state") or query["state"] != flow["state"]:
            raise SignInFailed("This answer belongs to another sign-in.", "Begin again.")
        if query.get("error"):
            raise SignInFailed("Hugging Face did not sign you in.", "Begin again, and allow it.")
        try:
            told = await self._ask(query.get("code", ""), flow)
        except HTTPError as err:
            raise _unreachable() from err
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError, RuntimeError) as err:
            logger.warning("A sign-in with Hugging Face was refused: %s", type(err).__name__)
            raise SignInFailed("What Hugging Face answered does not hold.", "Begin again.") from err
        return _outsider(told), str(flow["next"])

    async def _ask(self, code: str, flow: Mapping[str, str]) -> dict[str, Any]:
        metadata = await self._describe()
        token = await self._client.fetch_access_token(
            code=code, redirect_uri=self._back, code_verifier=flow["code_verifier"]
        )
        if not token.get("id_token"):
            raise ValueError("no id token")
        claims = await self._client.parse_id_token(
            token,
            nonce=flow["nonce"],
            leeway=CLOCKS_DIFFER_S,
            claims_options={
                "iss": {"essential": True, "values": [metadata["issuer"]]},
                "aud": {"essential": True, "values": [self._id]},
                "sub": {"essential": True},
                "exp": {"essential": True},
            },
        )
        told = await self._client.userinfo(token=token)
        if not told.get("sub") or told["sub"] != claims["sub"]:
            raise ValueError("userinfo of somebody else")
        return told

    async def _describe(self) -> dict[str, Any]:
        """The provider's description, read once; its word is not taken for how to sign."""
        metadata = await self._client.load_server_metadata()
        if str(metadata["issuer"]).rstrip("/") != self._provider:
            raise ValueError("another issuer")
        offered = metadata.get("id_token_signing_alg_values_supported") or []
        kept = [name for name in offered if name in _SIGNATURES] or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = kept
        return metadata


def _outsider(told: Mapping[str, Any]) -> Outsider:
    login = told.get("preferred_username")
    if not isinstance(login, str) or not login:
        raise SignInFailed("Hugging Face did not say your user name.", "Begin again, and allow it.")
    orgs = told.get("orgs") or []
    groups = {
        str(org["preferred_username"]): str(org.get("roleInOrg") or "")
        for org in orgs
        if isinstance(org, dict)
        and org.get("preferred_username")
        and not any(org.get(more) for more in _PENDING)
    }
    return Outsider("huggingface", login, str(told["sub"]), groups)


def _unreachable() -> SignInUnreachable:
    return SignInUnreachable("Hugging Face does not answer.", "Try again in a minute.")
