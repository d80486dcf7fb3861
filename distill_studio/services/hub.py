"""Hub: snapshots and trained models go to the Hugging Face Hub, after a look at what may not.

The token is given for the session, or the machine's (`hub_tokens`); it lives in memory only.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.core.records import Job, JobState, Record
from distill_studio.hub.checks import PushWarning
from distill_studio.hub.client import endpoint
from distill_studio.hub.repository import HubRepository, Pushed
from distill_studio.services import hub_tokens
from distill_studio.services.base import Service
from distill_studio.services.hub_upload import HubUploads, What, checked_form
from distill_studio.services.jobs import JobContext
from distill_studio.store import jobs

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KIND = "hub_push"
_REPO = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
_MB = 1_000_000
Form = Literal["merged", "adapter"]


class HubAccount(Record):
    """Whose token is used."""

    user: str = Field(default="", description="Name on the Hub; empty without a token.")
    orgs: tuple[str, ...] = Field(default=(), description="Organisations that it is in.")
    role: str = Field(default="", description="Of the token: read, write, fineGrained.")
    token_from: hub_tokens.Origin = Field(
        default="", description="Where the token was found; empty: nowhere."
    )
    endpoint: str = Field(description="Address of the Hub.")


class PushCheck(Record):
    """What a push would do, and what to look at before."""

    repo: str = Field(description="The name asked for, or one to start from.")
    kind: Literal["dataset", "model"] = Field(description="Of the repository.")
    tag: str = Field(description="The tag it would get.")
    licence: str = Field(description="The licence in its card.")
    private: bool = Field(description="Whether it would be private.")
    files: int = Field(description="How many files.")
    size_bytes: int = Field(description="Of all files.")
    warnings: list[PushWarning] = Field(description="Those that need a yes first.")

    @property
    def needs_yes(self) -> bool:
        """True when a warning asks for an explicit yes."""
        return any(one.level == "warn" for one in self.warnings)


class HubPush(Record):
    """Something that was pushed."""

    what: What = Field(description="snapshot or model.")
    name: str = Field(description="Of the snapshot or run.")
    repo: str = Field(description="Where it went.")
    url: str = Field(description="Its page.")
    commit: str = Field(description="Id of the commit.")
    tag: str = Field(description="Of this state; may be empty.")
    private: bool = Field(description="Whether it was private then.")


class HubService(Service):
    """The way to the Hugging Face Hub."""

    word = "hub"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._uploads = HubUploads(workspace)
        workspace.jobs.register(JOB_KIND, self._run, lane="io")

    # -- operations -----------------------------------------------------------------------

    def account(self, actor: Actor) -> HubAccount:
        """Whose token would be used; asks the Hub.

        Raises:
            NotAllowed: The Hub does not know the token.
            Unavailable: The Hub cannot be reached.
        """
        actor.require(Role.OWNER)
        found, where = hub_tokens.find(self.workspace)
        if not found:
            return HubAccount(endpoint=endpoint())
        account = HubRepository(found).account(attempts=2)
        return HubAccount(**asdict(account), token_from=where, endpoint=endpoint())

    def token(self, actor: Actor, session_token: str) -> HubAccount:
        """Give a token for the session, or forget it with an empty one.

        It stays in memory until the app stops; jobs that waited for it go on.
        """
        actor.require(Role.OWNER)
        given = hub_tokens.checked(session_token)
        if not given:
            hub_tokens.give(self.workspace, "")
            return self.account(actor)
        account = HubRepository(given).account(attempts=2)
        hub_tokens.give(self.workspace, given)
        for job in self.workspace.jobs.waiting_for(hub_tokens.HUB):
            self.workspace.jobs.resume(actor, job.id)
        return HubAccount(**asdict(account), token_from="session", endpoint=endpoint())

    def check(
        self,
        actor: Actor,
        what: What,
        name: str,
        repo: str = "",
        private: bool = True,
        form: Form = "merged",
        licence: str = "",
        tag: str = "",
    ) -> PushCheck:
        """What a push would do, and what to look at before; asks nobody, sends nothing.

        Args:
            actor: Who asks.
            what: snapshot or model.
            name: Of the snapshot, or of a finished run.
            repo: `namespace/name`, or a name of the token's owner; empty: a name is proposed.
            private: Whether only its owner is to see it.
            form: Of a model: merged (all weights) or adapter.
            licence: Identifier of the Hub's list; empty: what is known.
            tag: For this state; empty: the name of the snapshot or run.
        """
        actor.require(Role.VIEWER)
        form = checked_form(what, form)
        wanted = _checked_repo(repo) if repo else self._uploads.name_for(actor, what, name)
        upload = self._uploads.upload(
            actor, what, name, wanted, form,
            private=private, tag=_checked_tag(tag or name), licence=_checked_licence(licence),
        )  # fmt: skip
        sizes = [
            len(x) if isinstance(x, bytes) else x.stat().st_size for x in upload.files.values()
        ]
        return PushCheck(
            repo=wanted,
            kind=upload.kind,
            tag=upload.tag,
            licence=_licence_in(upload.card),
            private=private,
            files=len(upload.files) + 1,
            size_bytes=sum(sizes) + len(upload.card.encode()),
            warnings=self._uploads.warnings(actor, what, name, wanted, form, private=private),
        )

    def card(
        self, actor: Actor, what: What, name: str, form: Form = "merged", licence: str = ""
    ) -> str:
        """The card that would be pushed, as Markdown with its front matter."""
        actor.require(Role.VIEWER)
        form = checked_form(what, form)
        repo = self._uploads.name_for(actor, what, name)
        return self._uploads.upload(
            actor, what, name, repo, form,
            private=True, tag="", licence=_checked_licence(licence), datasets=self._datasets(name),
        ).card  # fmt: skip

    def push(
        self,
        actor: Actor,
        what: What,
        name: str,
        repo: str = "",
        private: bool = True,
        form: Form = "merged",
        licence: str = "",
        tag: str = "",
        anyway: bool = False,
    ) -> Job:
        """Push a snapshot or a model as a job; arguments as in `check`.

        Raises:
            Conflict: There are warnings, and `anyway` (push all the same) was not given.
            NeedsKey: There is no token.
        """
        actor.require(Role.OWNER)
        found = self.check(actor, what, name, repo, private, form, licence, tag)
        if found.needs_yes and not anyway:
            said = " ".join(one.message for one in found.warnings if one.level == "warn")
            raise Conflict(f"Look at this first. {said}", "Push all the same with anyway.")
        hub_tokens.needed(self.workspace)
        params = {
            "what": what,
            "name": name,
            "repo": found.repo,
            "private": private,
            "form": form,
            "licence": licence,
            "tag": found.tag,
        }
        title = f"Push {name} to {found.repo} (MB)"
        return self.workspace.jobs.submit_once(actor, JOB_KIND, title, params)

    def page(self, actor: Actor, limit: int = 50) -> list[HubPush]:
        """What was pushed, newest first."""
        actor.require(Role.VIEWER)
        done = jobs.page(self.db, kinds=[JOB_KIND], states=[JobState.DONE], limit=limit)
        return [HubPush(**_shown(job)) for job in done]

    # -- inside ---------------------------------------------------------------------------

    def _datasets(self, run: str) -> tuple[str, ...]:
        """Repositories that hold the snapshots a run learnt from."""
        by_name = {job.params["name"]: job for job in reversed(self._pushed("snapshot"))}
        steps = self.workspace.lineage.model(_READER, run).steps if self._is_run(run) else []
        found = (by_name.get(step.snapshot) for step in steps)
        return tuple(dict.fromkeys(str(job.result["repo"]) for job in found if job is not None))

    def _is_run(self, name: str) -> bool:
        return any(run.name == name for run in self.workspace.distill.page(_READER, limit=500))

    def _pushed(self, what: What) -> list[Job]:
        done = jobs.page(self.db, kinds=[JOB_KIND], states=[JobState.DONE], limit=500)
        return [job for job in done if job.params["what"] == what]

    def _run(self, context: JobContext) -> dict[str, Any]:
        asked = context.params
        what: What = asked["what"]
        done_mb = 0

        def progress(done: int, total: int | None = None, note: str = "") -> None:
            nonlocal done_mb
            done_mb = max(done_mb, done // _MB)
            context.progress(done_mb, None if total is None else -(-total // _MB), note)

        hub = HubRepository(hub_tokens.needed(self.workspace), context.cancel, progress)
        repo = asked["repo"]
        if "/" not in repo:
            repo = f"{hub.account().user}/{repo}"
        upload = self._uploads.upload(
            context.actor, what, asked["name"], repo, asked["form"],
            private=asked["private"], tag=asked["tag"], licence=asked["licence"],
            datasets=self._datasets(asked["name"]) if what == "model" else (),
        )  # fmt: skip
        pushed: Pushed = hub.push(upload)
        megabytes = -(-pushed.size_bytes // _MB)
        context.progress(megabytes, megabytes, "there")
        return {"repo": repo, **asdict(pushed)}


_READER = Actor(user="app", role=Role.VIEWER)


def _shown(job: Job) -> dict[str, Any]:
    named = {key: job.params[key] for key in ("what", "name")}
    return named | {key: job.result[key] for key in ("repo", "url", "commit", "tag", "private")}


def _checked_repo(repo: str) -> str:
    wanted = repo.strip()
    if not _REPO.fullmatch(wanted) or ".." in wanted or "--" in wanted or wanted.endswith(".git"):
        raise InvalidInput(
            f"'{wanted[:100]}' cannot name a repository.",
            "Use letters, digits, '.', '-' and '_', at most 96, as in name or owner/name.",
        )
    return wanted


def _checked_tag(tag: str) -> str:
    wanted = tag.strip()
    if not _TAG.fullmatch(wanted) or ".." in wanted or wanted.endswith((".lock", ".")):
        raise InvalidInput(
            f"'{wanted[:100]}' cannot be a tag.", "Use letters, digits, '.', '-' and '_'."
        )
    if wanted == "main":
        raise InvalidInput("'main' is the branch's name.", "Choose another tag.")
    return wanted


def _checked_licence(licence: str) -> str:
    wanted = licence.strip()
    if wanted and not _LICENCE.fullmatch(wanted):
        raise InvalidInput(
            f"'{wanted[:100]}' is no licence identifier.",
            "Such as apache-2.0: https://huggingface.co/docs/hub/repositories-licenses",
        )
    return wanted


def _licence_in(card: str) -> str:
    found = re.search(r"^license: *(\S+)", card, re.MULTILINE)
    return found[1] if found else ""
