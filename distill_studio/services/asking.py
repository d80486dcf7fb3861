"""The teachers that one piece of work asks, and what the ledger keeps of it.

Start at `Asking`. A model that it gives is asked like any other; that its requests are counted,
its cost goes on from before a restart, the ledger is written and its connections are closed when
nobody asks any more, is seen to here. Generation does the same with its `Endpoint`s.
`Asking.each` asks a list of requests and has each reply stored as it comes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from distill_studio.core.errors import TeacherError, TeacherSpendLimit
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import (
    ChatModel,
    ChatReply,
    ChatRequest,
    CountedChatModel,
)
from distill_studio.core.records import AskedTotals
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.generate.tally import Tally
from distill_studio.services.jobs import JobContext
from distill_studio.store import ledger
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.teachers.openai_stream import Heard, nobody
from distill_studio.teachers.spending import limit_reached

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_SAVE_EVERY_S = 0.25
_FIRST, _AT_ONCE = 8, 100  # requests handed over together: few until one was answered

Took = Callable[[ChatReply], str]
"""Stores a reply and says what became of it; '' where that needs another reply as well."""


class Asking:
    """Hands out teachers' models for one piece of work, each opened once.

    As a context it saves at its end, and fails there when a teacher refused for its spend limit:
    the job can then be resumed, and goes on counting.

    Args:
        workspace: Whose teachers.
        about: What is counted together, in the ledger and against spend limits: a job's id, or
            what several jobs go on with.
        kind: What it is, where no job says so.
        title: In words, where no job says so.
    """

    def __init__(self, workspace: Workspace, about: str, kind: str = "", title: str = "") -> None:
        self._workspace = workspace
        self._about, self._kind, self._title = about, kind, title
        self._open: dict[str, CountedModel] = {}
        self._lock = threading.Lock()  # models are made ready in threads
        self._saved_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.save()
        if self.refused and error is None:
            raise TeacherSpendLimit(self.refused)

    def teacher(self, name: str) -> ChatModel:
        """The teacher of that name.

        Raises:
            NotFound: There is none.
            NeedsKey: Its key is not there.
        """
        return self._counted(name, lambda: self._workspace.teachers.model(name))

    def source(self, card: ModelCard) -> Callable[[], ChatModel]:
        """As `ComparableModels.source`; of teachers what they are asked is counted."""
        ready = self._workspace.evaluate.comparable.source(card)
        role, _, name = card.id.partition(":")
        return (lambda: self._counted(name, ready)) if role == ModelRole.TEACHER else ready

    @property
    def refused(self) -> str:
        """Why a teacher refused for its spend limit; '' where none did."""
        return next((one.refused for one in list(self._open.values()) if one.refused), "")

    @property
    def cost_usd(self) -> float | None:
        """Of all that was asked, before a restart too; None where no price is known."""
        costs = [each.cost_usd for each in self._asked() if each.cost_usd is not None]
        return round(sum(costs), 6) if costs else None

    def said(self, note: str) -> str:
        """The note of a job's progress, with what it has cost where that is anything."""
        return f"{note}, {self.cost_usd:.4f} USD so far" if self.cost_usd else note

    def raise_if_spent(self) -> None:
        """Before asking several models together: no answer is paid for that goes to waste.

        Raises:
            TeacherSpendLimit: One of those asked so far may cost no more.
        """
        for each in self._asked():
            if each.cost_usd:
                limit_usd = self._workspace.teachers.config(each.teacher).spend_limit_usd
                if limit_usd and each.cost_usd >= limit_usd:
                    raise limit_reached(each.teacher, each.cost_usd, limit_usd)

    def save(self) -> None:
        """Write what was asked into the ledger."""
        self._saved_at = time.monotonic()
        asked = [one.totals() for one in list(self._open.values())]
        ledger.save(
            self._workspace.db,
            self._about,
            [each for each in asked if each.requests],
            kind=self._kind,
            title=self._title,
        )

    def each(
        self,
        model: ChatModel,
        requests: Iterable[ChatRequest],
        take: Took,
        context: JobContext,
        *,
        total: int,
        words: Callable[[Counter[str]], str],
        said: Counter[str] | None = None,
    ) -> Counter[str]:
        """Ask all; each reply is stored, in a thread, as it comes.

        A request that is refused for the spend limit is not taken; then no more are begun, and
        what is under way is still taken. Leaving this context raises `TeacherSpendLimit`.

        Args:
            model: Who is asked: one that this context gave.
            requests: Made a hundred at a time, where that costs something.
            take: Stores a reply.
            context: Of the job, told of each that was taken.
            total: What there is to take, with what was taken before.
            words: What the job's progress says.
            said: What `take` said before; goes on from there.

        Returns:
            What `take` said, with how often.

        Raises:
            Cancelled: Somebody stopped it; what was taken is stored.
            TeacherError: None of the first eight replies, or of all where they are fewer, was an
                answer.
        """
        said = Counter() if said is None else said
        context.cancel.raise_if_cancelled()
        context.progress(said.total(), total, self.said("asking"))

        def store(reply: ChatReply) -> None:
            if word := take(reply):
                said[word] += 1
                context.progress(said.total(), total, self.said(words(said)))

        asyncio.run(self._each(model, iter(requests), store, context.cancel))
        return said

    # -- inside ---------------------------------------------------------------------------

    async def _each(
        self,
        model: ChatModel,
        rest: Iterator[ChatRequest],
        store: Callable[[ChatReply], None],
        cancel: CancelToken,
    ) -> None:
        heard = answered = 0
        reason, size = "", _FIRST
        while not self.refused and (some := list(islice(rest, size))):
            replies = cast(AsyncGenerator[ChatReply, None], model.generate(some, cancel))
            async with aclosing(replies):
                async for reply in replies:
                    if reply.error_code == TeacherSpendLimit.code:
                        continue
                    heard, answered = heard + 1, answered + reply.is_ok
                    reason = reason if reply.is_ok else reply.error or reply.error_code
                    await asyncio.to_thread(store, reply)
            cancel.raise_if_cancelled()  # a local model just ends
            if heard and not answered:
                raise TeacherError(f"None of {heard} requests was answered: {reason}")
            size = _AT_ONCE

    @cached_property
    def _before(self) -> dict[str, AskedTotals]:
        """What was asked before a restart."""
        return {each.teacher: each for each in ledger.of_job(self._workspace.db, self._about)}

    def _counted(self, name: str, ready: Callable[[], ChatModel]) -> CountedModel:
        with self._lock:
            made = self._open.get(name)
        if made is None:
            model, before = ready(), self._before.get(name)
            if isinstance(model, OpenAIChatModel) and before and before.cost_usd:
                model.spending.spent_usd = before.cost_usd
            with self._lock:
                made = self._open.setdefault(
                    name, CountedModel(name, model, before, self._save_now_and_then)
                )
        return made

    def _asked(self) -> Sequence[AskedTotals]:
        now = {name: one.totals() for name, one in list(self._open.items())}
        return list({**self._before, **now}.values())

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at >= _SAVE_EVERY_S:
            self.save()


class CountedModel:
    """A teacher's model whose requests are counted; everything else is the model's own.

    Args:
        teacher: Its name.
        model: Who is asked.
        before: What was asked before a restart.
        told: Called when replies have come, on the thread that asks.
    """

    def __init__(
        self,
        teacher: str,
        model: ChatModel,
        before: AskedTotals | None,
        told: Callable[[], None],
    ) -> None:
        self.name = model.name
        self.refused = ""
        self._teacher, self._model, self._told = teacher, model, told
        self._tally = Tally(time.monotonic, before)
        self._askers = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the model has)
        return getattr(self._model, name)

    def totals(self) -> AskedTotals:
        """What it was asked so far."""
        return self._tally.totals(self._teacher, cost_usd(self._model))

    async def generate(
        self, requests: Sequence[ChatRequest], cancel: CancelToken | None = None
    ) -> AsyncIterator[ChatReply]:
        """See `ChatModel`."""
        async with self._asked():
            replies = cast(AsyncGenerator[ChatReply, None], self._model.generate(requests, cancel))
            async with aclosing(replies):
                async for reply in replies:
                    self._heard(reply)
                    self._told()
                    yield reply

    def stream(self, request: ChatRequest, cancel: CancelToken | None = None) -> AsyncIterator[str]:
        """See `ChatModel`."""
        return self.stream_counted(request, cancel, nobody)

    async def stream_counted(
        self, request: ChatRequest, cancel: CancelToken | None, heard: Heard
    ) -> AsyncIterator[str]:
        """See `CountedChatModel`. It writes nothing to the store: pages wait on this thread."""

        def both(reply: ChatReply) -> None:
            self._heard(reply)
            heard(reply)

        async with self._asked(), aclosing(self._pieces(request, cancel, both)) as pieces:
            async for piece in pieces:
                yield piece

    async def _pieces(
        self, request: ChatRequest, cancel: CancelToken | None, heard: Heard
    ) -> AsyncGenerator[str, None]:
        if isinstance(self._model, CountedChatModel):
            pieces = self._model.stream_counted(request, cancel, heard)
            async with aclosing(cast(AsyncGenerator[str, None], pieces)):
                async for piece in pieces:
                    yield piece
            return
        reply = ChatReply(key=request.key)
        try:
            async with aclosing(
                cast(AsyncGenerator[str, None], self._model.stream(request, cancel))
            ) as own:
                async for piece in own:
                    yield piece
        except TeacherError as err:
            reply = ChatReply(key=request.key, error_code=err.code, error=str(err))
            raise
        finally:
            heard(reply)

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        """While somebody asks; the last who leaves closes the connections of the event loop."""
        self._askers += 1
        try:
            with self._tally.busy():
                yield
        finally:
            self._askers -= 1
            if not self._askers and isinstance(self._model, OpenAIChatModel):
                await self._model.aclose()

    def _heard(self, reply: ChatReply) -> None:
        self._tally.ended(reply)
        if reply.error_code == TeacherSpendLimit.code:
            self.refused = reply.error


def cost_usd(model: ChatModel) -> float | None:
    """What a model's answers have cost in this piece of work; None where its price is unknown."""
    if not isinstance(model, OpenAIChatModel):
        return 0.0
    spending = model.spending
    return None if spending.price is None else round(spending.spent_usd, 6)
