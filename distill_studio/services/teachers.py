"""Teachers: who is asked. Keys live in this process's memory or in the environment only."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    StudioError,
)
from distill_studio.core.protocols import ChatModel
from distill_studio.core.reach import Reach
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.services import hub_tokens
from distill_studio.services.base import Service
from distill_studio.services.jobs import NeedsKey
from distill_studio.services.teacher_costs import Estimate, TeacherPrice, estimated, priced
from distill_studio.services.teacher_testing import TeacherTest, failed, tested
from distill_studio.store import teachers as table
from distill_studio.teachers.addresses import check_reach, checked_url, checked_variable
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.teachers.prices import price_of
from distill_studio.teachers.rate_limit import RateLimit

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

STARTER = TeacherConfig(
    id="starter",
    name="SmolLM2 135M (this machine)",
    kind=TeacherKind.LOCAL,
    model="smollm2-135m-instruct",
    licence_note="Apache-2.0: its outputs may train other models.",
    created_at=datetime(2024, 11, 1, tzinfo=UTC),
)
_PRESETS = Path(__file__).resolve().parents[2] / "assets" / "teachers.json"
_TEST_TIMEOUT_S = 60.0


class TeachersService(Service):
    """Configure, list and test teachers; hand out their models to other services."""

    word = "teachers"

    def __init__(self, workspace: "Workspace") -> None:
        super().__init__(workspace)
        self._limits: dict[tuple[str, int, int], RateLimit] = {}

    # -- operations -----------------------------------------------------------------------

    def page(self, actor: Actor) -> list[TeacherConfig]:
        """All teachers: the starter model of this machine first, then those saved, by name."""
        actor.require(Role.VIEWER)
        return [STARTER, *table.everyone(self.db)]

    def presets(self, actor: Actor) -> list[dict[str, str]]:
        """Well-known addresses: `label`, `base_url`, `key_env`, `note` on terms, `source`."""
        actor.require(Role.VIEWER)
        return list(json.loads(_PRESETS.read_text(encoding="utf-8")))

    def save(self, actor: Actor, teacher: TeacherConfig, session_key: str = "") -> TeacherConfig:
        """Add a teacher, or replace the one of the same name.

        The key is sent to its addresses. Where the app is not on loopback, private ones are
        refused unless the settings allow them. A session key stays in memory until the app
        stops, and is dropped when an address is added or changed.
        """
        actor.require(Role.OWNER)
        if teacher.name == STARTER.name:
            raise Conflict("The starter teacher is built in.", "Choose another name.")
        if teacher.name.strip() == hub_tokens.HUB:
            raise Conflict(f"'{hub_tokens.HUB}' is what jobs wait for.", "Choose another name.")
        old = next((t for t in table.everyone(self.db) if t.name == teacher.name), None)
        checked = _checked(teacher)
        for url in set(checked.urls) - set(old.urls if old else ()):
            check_reach(url, self.reach)
        session_key = session_key.strip() if checked.kind is TeacherKind.OPENAI else ""
        keeps_key = old is not None and old.needs_key and set(checked.urls) <= set(old.urls)
        has_key = bool(session_key) or (keeps_key and not checked.key_env)
        same = {"id": old.id, "created_at": old.created_at} if old else {}
        checked = checked.model_copy(update={"needs_key": has_key, **same})
        table.save(self.db, checked)
        if session_key:
            self._keys[self._key_id(checked.name)] = session_key
        elif not has_key:
            self._keys.pop(self._key_id(checked.name), None)
        return checked

    def delete(self, actor: Actor, name: str) -> None:
        """Forget a teacher and its session key; its answers stay."""
        actor.require(Role.OWNER)
        if name == STARTER.name:
            raise Conflict("The starter teacher is built in and stays.")
        self._config(name)
        table.delete(self.db, name)
        self._keys.pop(self._key_id(name), None)

    def key(self, actor: Actor, name: str, session_key: str) -> list[str]:
        """Give a teacher's session key again (after a restart).

        Where a job waits for the Hugging Face Hub, its token is what is given.

        Returns:
            The ids of the jobs that waited for it and go on now.
        """
        actor.require(Role.OWNER)
        if name == hub_tokens.HUB:
            waiting = [job.id for job in self.workspace.jobs.waiting_for(name)]
            self.workspace.hub.token(actor, session_key)
            return waiting
        config = self._config(name)
        if not session_key.strip():
            raise InvalidInput("The key is empty.")
        table.save(self.db, config.model_copy(update={"needs_key": True, "key_env": ""}))
        self._keys[self._key_id(name)] = session_key.strip()
        jobs = self.workspace.jobs
        return [jobs.resume(actor, job.id).id for job in jobs.waiting_for(name)]

    def models(
        self, actor: Actor, base_url: str, session_key: str = "", key_env: str = ""
    ) -> list[str]:
        """The models that a server offers. The key is sent to that address, whatever it is."""
        actor.require(Role.OWNER)
        config = TeacherConfig(
            name="The server",
            kind=TeacherKind.OPENAI,
            model="(any)",
            base_url=checked_url(base_url),
            key_env=checked_variable(key_env),
            timeout_s=20.0,
        )
        check_reach(config.base_url, self.reach)
        key = session_key.strip() or self._named_key(config)
        return asyncio.run(OpenAIChatModel(config, key, reach=self.reach).list_models())

    def test(
        self,
        actor: Actor,
        name: str = "",
        teacher: TeacherConfig | None = None,
        session_key: str = "",
    ) -> TeacherTest:
        """Ask one short question, of a saved teacher by name or of one not saved yet.

        Each of its addresses is asked; `urls` tells what came of it. Failures are results here,
        not errors: `message` and `hint` say what is wrong.
        """
        actor.require(Role.REVIEWER if teacher is None else Role.OWNER)
        try:
            config = _checked(teacher) if teacher else self._config(name)
            models = self._at_each_address(config, session_key.strip())
        except StudioError as err:
            return failed(err)
        return tested(models)

    def prices(self, actor: Actor) -> list[TeacherPrice]:
        """What each teacher's tokens cost: its own prices, else the table that comes along."""
        actor.require(Role.VIEWER)
        return [priced(teacher) for teacher in (STARTER, *table.everyone(self.db))]

    def estimate(
        self,
        actor: Actor,
        name: str,
        requests: int,
        prompt_characters: int,
        max_tokens: int = 256,
    ) -> Estimate:
        """About what so many requests to a teacher will take and cost.

        Args:
            name: Of the teacher.
            requests: How many.
            prompt_characters: Of all their prompts together.
            max_tokens: Of one answer; counted as half where the teacher has not answered yet.
        """
        actor.require(Role.VIEWER)
        mean = table.mean_completion_tokens(self.db, name)
        return estimated(self._config(name), requests, prompt_characters, max_tokens, mean)

    # -- for other services ---------------------------------------------------------------

    def cost(self, name: str, prompt_tokens: float, completion_tokens: float) -> float | None:
        """What so many tokens of a teacher cost in USD; None where its price is unknown.

        Raises:
            NotFound: No teacher of that name.
        """
        price = price_of(self._config(name))
        return None if price is None else price.cost(prompt_tokens, completion_tokens)

    def model(self, name: str, spent_usd: float = 0.0) -> ChatModel:
        """The teacher of that name, ready to be asked, for one generation.

        All models of one teacher share its rate limit; each counts its own spending.

        Args:
            name: Of the teacher.
            spent_usd: What this generation cost before a restart (see `cost`).

        Raises:
            NotFound: No teacher of that name.
            NeedsKey: Its key was given for a session that is over.
            Unavailable: The variable that should hold its key is empty.
        """
        return self._chat_model(self.config(name), spent_usd=spent_usd)

    def licence_notes(self) -> dict[str, str]:
        """Teacher name -> what its terms say of training on its outputs ('' where unknown)."""
        return {t.name: t.licence_note for t in (STARTER, *table.everyone(self.db))}

    def key_of(self, name: str) -> str:
        """The key that goes to a teacher, '' for none: for a child's environment, nowhere else.

        Raises:
            NotFound: No teacher of that name.
            NeedsKey: Its key was given for a session that is over, or its variable is empty.
        """
        return self._key_of(self._config(name))

    def config(self, name: str) -> TeacherConfig:
        """The configuration of the teacher of that name.

        Raises:
            NotFound: No teacher of that name.
        """
        return self._config(name)

    @property
    def reach(self) -> Reach:
        """Where a teacher's URL may lead: as the settings say, and to servers started here."""
        settings = self.workspace.studio.settings
        return replace(settings.reach, own_ports=self.workspace.servers.own_ports)

    # -- inside ---------------------------------------------------------------------------

    @property
    def _keys(self) -> dict[str, str]:
        return self.workspace.studio.session_keys

    def _key_id(self, name: str) -> str:
        return f"{self.workspace.name}/{name}"

    def _config(self, name: str) -> TeacherConfig:
        for config in (STARTER, *table.everyone(self.db)):
            if config.name == name:
                return config
        raise NotFound(f"There is no teacher '{name}' in this workspace.", "Add it first.")

    def _chat_model(
        self, config: TeacherConfig, session_key: str = "", spent_usd: float = 0.0
    ) -> ChatModel:
        if config.kind is TeacherKind.LOCAL:
            return self.workspace.studio.models.chat_model(config.model)
        key = session_key or self._key_of(config)
        pace = (config.name, config.requests_per_min, config.tokens_per_min)
        limit = self._limits.setdefault(pace, RateLimit(*pace[1:]))
        return OpenAIChatModel(config, key, limit=limit, spent_usd=spent_usd, reach=self.reach)

    def _at_each_address(self, config: TeacherConfig, session_key: str) -> dict[str, ChatModel]:
        """The teacher once for each of its URLs, impatient; '' for one of this machine."""
        timeout_s = min(config.timeout_s, _TEST_TIMEOUT_S)
        brief = config.model_copy(update={"max_retries": 0, "timeout_s": timeout_s})
        return {
            url: self._chat_model(
                brief.model_copy(update={"base_url": url, "base_urls": ()}), session_key
            )
            for url in config.urls or ("",)
        }

    def _key_of(self, config: TeacherConfig) -> str:
        key = self._keys.get(self._key_id(config.name), "")
        if not key and config.needs_key:
            raise NeedsKey(
                f"The key of {config.name} was given for a session that is over.",
                "Give it again on the Generate tab; the job then goes on by itself.",
                config.name,
            )
        return key or self._named_key(config)

    def _named_key(self, config: TeacherConfig) -> str:
        """The key in the variable that a teacher names; '' where it names none.

        HF_TOKEN at Hugging Face's router is the Hub's token, also one of the session.

        Raises:
            NeedsKey: It is not there.
        """
        if config.key_env == hub_tokens.VARIABLE and all(map(hub_tokens.goes_to, config.urls)):
            if found := hub_tokens.find(self.workspace)[0]:
                return found
            raise NeedsKey(
                f"{config.name} takes your token of the Hub, and there is none.",
                "Give one for this session (Seeds, From the Hub), or set HF_TOKEN where the app is"
                " started and restart.",
                hub_tokens.HUB,
            )
        return _key_from(config.key_env, config.name)


def _checked(teacher: TeacherConfig) -> TeacherConfig:
    """The configuration in canonical form.

    Raises:
        InvalidInput: An address, variable name or limit cannot be used.
    """
    if teacher.kind is TeacherKind.LOCAL:
        nothing = {"base_url": "", "base_urls": (), "key_env": "", "needs_key": False}
        return teacher.model_copy(update=nothing)
    checked = teacher.model_copy(
        update={
            "base_url": checked_url(teacher.base_url),
            "base_urls": _more_urls(teacher),
            "key_env": checked_variable(teacher.key_env),
            "model": teacher.model.strip(),
        }
    )
    if (checked.price_in is None) != (checked.price_out is None):
        raise InvalidInput("Only one of the two prices is given.", "Give both, or none of them.")
    if checked.spend_limit_usd and price_of(checked) is None:
        raise InvalidInput(
            f"Nobody knows what {checked.model} costs at that address, so a spend limit cannot"
            " hold.",
            "Give its prices per million tokens, or take the limit away.",
        )
    return checked


def _more_urls(teacher: TeacherConfig) -> tuple[str, ...]:
    first = checked_url(teacher.base_url)
    others = (checked_url(url) for url in teacher.base_urls if url.strip())
    return tuple(url for url in dict.fromkeys(others) if url != first)


def _key_from(key_env: str, teacher: str) -> str:
    if not key_env:
        return ""
    key = os.environ.get(key_env, "").strip()
    if not key:
        raise NeedsKey(
            f"{teacher} takes its key from the variable {key_env}, which is not set.",
            "Set it where the app is started and restart, or give a key for this session.",
            teacher,
        )
    return key
