"""Log in, log out, and the page of an invitation."""

from typing import Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.services.accounts import SHORTEST_PASSWORD
from distill_studio.services.studio import Studio
from distill_studio.web.cookies import put_cookie
from distill_studio.web.hub_login import add_hub_login
from distill_studio.web.identity import COOKIE, Identity
from distill_studio.web.leading_on import local_path, with_session
from distill_studio.web.pages import WaysIn, join_page, lapsed_page, login_page

_NO_STORE = {"cache-control": "no-store"}


def add_login(app: FastAPI, studio: Studio, identity: Identity) -> None:
    """Add the routes; `studio` is told who leaves."""
    _add_login(app, identity)
    _add_join(app, identity)
    if identity.hub is not None:
        add_hub_login(app, identity, identity.hub)

    @app.post("/logout")
    def log_out(request: Request) -> RedirectResponse:
        actor = identity.actor(request)
        identity.log_out(request)
        if actor is not None:
            studio.release_leases(actor.user)
        answer = RedirectResponse("/login", status_code=303)
        put_cookie(answer, request, COOKIE, "", 0)
        return answer


def _add_login(app: FastAPI, identity: Identity) -> None:
    def page(request: Request, next: str, problem: str = "", user: str = "", why: str = "") -> str:
        ways = WaysIn(
            hub=identity.hub is not None,
            passwords=identity.has_passwords or identity.hub is None,
            in_frame=request.headers.get("sec-fetch-dest") == "iframe",
        )
        return login_page(next, problem, user=user, ways=ways, why=why)

    @app.get("/login")
    def show_login(request: Request, next: str = "/", user: str = "", why: str = "") -> Response:
        if identity.proxy is not None and identity.proxy.person(request) is not None:
            return RedirectResponse(local_path(next), status_code=303)  # nothing to ask
        return HTMLResponse(page(request, next, user=user[:100], why=why), headers=_NO_STORE)

    @app.post("/login")
    def log_in(
        request: Request,
        user: str = Form(max_length=200),
        password: str = Form(max_length=2000),
        next: str = Form("/"),
    ) -> Any:  # noqa: ANN401
        address = request.client.host if request.client else ""
        try:
            session = identity.log_in(address, user, password)
        except PermissionError as err:
            return HTMLResponse(page(request, next, str(err), user), status_code=429)
        if session is None:
            problem = "That name or password is not right."
            return HTMLResponse(page(request, next, problem, user), status_code=401)
        return with_session(request, local_path(next), session)


def _add_join(app: FastAPI, identity: Identity) -> None:
    @app.get("/join")
    def show_join(code: str = "") -> HTMLResponse:
        account = identity.accounts.invited(code)
        if account is None:
            return HTMLResponse(lapsed_page(), status_code=404, headers=_NO_STORE)
        page = join_page(code, account.name, shortest=SHORTEST_PASSWORD)
        return HTMLResponse(page, headers=_NO_STORE)

    @app.post("/join")
    def join(
        request: Request,
        code: str = Form(max_length=200),
        password: str = Form(max_length=2000),
        again: str = Form(max_length=2000),
    ) -> Any:  # noqa: ANN401
        account = identity.accounts.invited(code)
        try:
            if account is None:
                raise NotFound("This invitation does not hold.")
            if password != again:
                raise InvalidInput("The two passwords differ.")
            session = identity.log_in_invited(code, password)
        except NotFound:
            return HTMLResponse(lapsed_page(), status_code=404)
        except InvalidInput as err:
            assert account is not None
            page = join_page(code, account.name, str(err), shortest=SHORTEST_PASSWORD)
            return HTMLResponse(page, status_code=400)
        return with_session(request, "/", session)
