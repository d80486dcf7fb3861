"""The two routes of signing in with Hugging Face: to there, and back."""

import logging
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from distill_studio.services.outsiders import NotInvited
from distill_studio.web.cookies import put_cookie
from distill_studio.web.hub_sign_in import CALLBACK, FLOW_S, START, HubSignIn, SignInFailed
from distill_studio.web.identity import Identity
from distill_studio.web.leading_on import local_path, with_session
from distill_studio.web.pages import failed_page, refused_page

FLOW_COOKIE = "distill_studio_sign_in"
_NO_STORE = {"cache-control": "no-store"}

logger = logging.getLogger(__name__)


def add_hub_login(app: FastAPI, identity: Identity, hub: HubSignIn) -> None:
    """Add the routes."""

    @app.get(START)
    async def begin(request: Request, next: str = "/", moved: int = 0) -> Any:  # noqa: ANN401
        # Hugging Face leads back to the Space's first host alone, and a cookie of a domain of
        # one's own does not reach it: so the flow begins there.
        asked = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
        if asked.casefold() != hub.host.casefold() and not moved:
            query = urlencode({"next": local_path(next), "moved": 1})
            return RedirectResponse(f"https://{hub.host}{START}?{query}", status_code=303)
        try:
            begun = await hub.begin(local_path(next))
        except SignInFailed as err:
            return _failed(err)
        answer = RedirectResponse(begun.url, status_code=303, headers=_NO_STORE)
        put_cookie(answer, request, FLOW_COOKIE, begun.cookie, FLOW_S)
        return answer

    @app.get(CALLBACK)
    async def finish(request: Request) -> Any:  # noqa: ANN401
        address = request.client.host if request.client else ""
        try:
            identity.check_sign_ins(address)
            cookie = request.cookies.get(FLOW_COOKIE, "")
            who, next_path = await hub.finish(cookie, request.query_params)
            session = await run_in_threadpool(identity.log_in_signed_in, who)
        except NotInvited as err:
            logger.info("Signed in with Hugging Face and not let in: %s", err.user_message)
            page = refused_page(
                err.user_message, err.hint, identity.whom_to_ask, signed_in_as=who.login
            )
            answer: Any = HTMLResponse(page, status_code=403, headers=_NO_STORE)
        except SignInFailed as err:
            identity.note_failed_sign_in(address)
            answer = _failed(err)
        except PermissionError as err:
            return HTMLResponse(failed_page(str(err), ""), status_code=429, headers=_NO_STORE)
        else:
            answer = with_session(request, next_path, session)
        put_cookie(answer, request, FLOW_COOKIE, "", 0)  # an answer of that flow counts once
        return answer


def _failed(err: SignInFailed) -> HTMLResponse:
    page = failed_page(err.user_message, err.hint)
    return HTMLResponse(page, status_code=err.http_status, headers=_NO_STORE)
