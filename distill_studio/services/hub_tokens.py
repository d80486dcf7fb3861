"""Whose eyes the Hub is seen with: a token from the environment or the session, or none.

A token may see private datasets of whoever made it, so it is used for owners of the studio only;
others see what everybody sees. A session's token stays in memory until the app stops; one serves
for what comes from the Hub and for what goes there.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import constants

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.services.jobs import NeedsKey

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

HUB = "the Hugging Face Hub"  # what a job waits for
VARIABLE = "HF_TOKEN"
Token = str | Literal[False]  # False: as nobody
Origin = Literal["", "session", "environment", "login"]  # login: as `hf auth login` left it
_ROUTER = "https://router.huggingface.co"  # to Inference Providers
_TOKEN = re.compile(r"[!-~]{1,500}")


def checked(text: str) -> str:
    """A token without the spaces around it; '' stays.

    Raises:
        InvalidInput: It cannot be one.
    """
    given = text.strip()
    if given and not _TOKEN.fullmatch(given):
        raise InvalidInput(
            "This is no token of the Hub: it holds a space or a sign that no token has.",
            "Copy it again; a token begins with hf_.",
        )
    return given


def give(workspace: Workspace, token: str) -> None:
    """Keep a token for this session; an empty one forgets it.

    Raises:
        InvalidInput: It cannot be a token.
    """
    if given := checked(token):
        workspace.studio.session_keys[_key(workspace)] = given
    else:
        workspace.studio.session_keys.pop(_key(workspace), None)


def is_given(workspace: Workspace) -> bool:
    """Whether the session has a token."""
    return _key(workspace) in workspace.studio.session_keys


def find(workspace: Workspace) -> tuple[str, Origin]:
    """The token that owners use, and where it was found: the session's before the machine's.

    Raises:
        InvalidInput: The environment's cannot be one.
    """
    if kept := workspace.studio.session_keys.get(_key(workspace), ""):
        return kept, "session"
    given = os.environ.get(VARIABLE, "").strip()  # as it is: the library takes line breaks out
    found = given or huggingface_hub.get_token() or ""
    if found and not _TOKEN.fullmatch(found):
        raise InvalidInput(
            f"{VARIABLE} holds no token: there is a space or a sign in it that no token has.",
            "Correct it and restart, or give a token for this session.",
        )
    where: Origin = "environment" if given else "login"
    return (found, where) if found else ("", "")


def token(workspace: Workspace, *, is_owner: bool) -> Token:
    """What the Hub is asked with."""
    return (find(workspace)[0] or False) if is_owner else False


def needed(workspace: Workspace) -> str:
    """The token that owners use.

    Raises:
        NeedsKey: There is none.
    """
    found, _ = find(workspace)
    if not found:
        raise NeedsKey(
            "There is no token for the Hugging Face Hub.",
            f"Give one for this session (hub_token, or on the page), or set {VARIABLE} and restart."
            " It needs write access.",
            HUB,
        )
    return found


def goes_to(url: str) -> bool:
    """Whether a token of the Hub is meant for an address: Hugging Face's router, or the Hub itself.

    Inference Endpoints are not: anybody may rent one.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() in (_ROUTER, constants.ENDPOINT)


def for_job(workspace: Workspace, actor: Actor) -> dict[str, Any]:
    """What a job has to remember of it: never the token."""
    is_owner = actor.role >= Role.OWNER
    return {"as_owner": is_owner, "session_token": is_owner and is_given(workspace)}


def of_job(workspace: Workspace, params: dict[str, Any]) -> Token:
    """The token of a job, also of one that goes on after a restart.

    Raises:
        NeedsKey: It was given for a session that is over.
    """
    if params.get("session_token") and not is_given(workspace):
        raise NeedsKey(
            "The token of the Hub was given for a session that is over.",
            "Give it again on the Seeds tab, under From the Hub, or where something is pushed; the"
            " job then goes on by itself.",
            HUB,
        )
    return token(workspace, is_owner=bool(params.get("as_owner")))


def _key(workspace: Workspace) -> str:
    return f"hub:{workspace.name}"  # a teacher's key has a / after the workspace
