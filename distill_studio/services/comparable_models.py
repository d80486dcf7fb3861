"""Which models a workspace can compare, and how each is reached.

Start from `ComparableModels.cards` (for lists) and `ComparableModels.source` (to ask one).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.protocols import ChatModel
from distill_studio.core.records import Run, RunState, TeacherConfig, TeacherKind
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.services import origins
from distill_studio.services.checkpoints import (
    answering_folder,
    checkpoint_name,
    checkpoint_steps,
)
from distill_studio.teachers.models import hub_id, list_models
from distill_studio.teachers.prices import FREE, Price, price_of

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MOST_RUNS = 200


class ComparableModels:
    """Teachers, base models, finished runs and the checkpoints that runs keep, as cards."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def cards(self, actor: Actor) -> list[ModelCard]:
        """Teachers, then base models, then students (newest first). Loads nothing.

        A run has a card per checkpoint that it keeps, and one of its student once it is done.
        """
        return _told_apart([*self._teachers(actor), *self._bases(), *self._students(actor)])

    def card(self, actor: Actor, name: str) -> ModelCard:
        """The card with this id; a label, or the name in an id, will do when only one has it.

        Raises:
            NotFound: No model is called so.
            InvalidInput: Several are; names their ids.
        """
        cards = self.cards(actor)
        found = [c for c in cards if c.id == name] or [c for c in cards if c.label == name]
        found = found or [c for c in cards if c.id.partition(":")[2] == name]
        ids = list(dict.fromkeys(c.id for c in found))
        if len(ids) > 1:
            raise InvalidInput(
                f"Several models are called '{name}'.", f"Say which: {' or '.join(ids)}."
            )
        if not found:
            raise NotFound(
                f"There is no model '{name}' to compare.",
                "Known are: " + ", ".join(c.id for c in cards) + ".",
            )
        return found[0]

    def defaults(self, actor: Actor) -> list[str]:
        """Ids of the first teacher, the newest student, and between them what it started from.

        A base that is the teacher itself is left out: two equal columns tell nothing.
        """
        cards = [card for card in self.cards(actor) if card.step is None]
        done = [run for run in self._runs(actor) if run.state is RunState.DONE]
        roots = {origins.root(self._workspace, run.name) for run in done[:1]}
        firsts: dict[ModelRole | None, ModelCard] = {}
        for card in sorted(cards, key=lambda c: c.role is ModelRole.BASE and c.model not in roots):
            firsts.setdefault(card.role, card)
        chosen = [firsts[role] for role in ModelRole if role in firsts]
        base, teacher = firsts.get(ModelRole.BASE), firsts.get(ModelRole.TEACHER)
        if len(chosen) > 2 and base and teacher and base.model == teacher.model:
            chosen.remove(base)
        return [card.id for card in chosen]

    def same(self, cards: Sequence[ModelCard]) -> list[list[ModelCard]]:
        """Those among them that are the very same model, by group; mostly there are none."""
        groups: dict[str, list[ModelCard]] = {}
        for card in cards:
            groups.setdefault(self._identity(card), []).append(card)
        return [group for group in groups.values() if len(group) > 1]

    def source(self, card: ModelCard) -> Callable[[], ChatModel]:
        """A function that returns the model with its weights loaded; slow, for a thread."""
        role, _, name = card.id.partition(":")

        def ready() -> ChatModel:
            model = self._model(ModelRole(role), name, card.model)
            load = getattr(model, "load", None)
            if load is not None:
                load()
            return model

        return ready

    def price(self, card: ModelCard) -> Price | None:
        """What its tokens cost; None where nobody said."""
        role, _, name = card.id.partition(":")
        if role != ModelRole.TEACHER:
            return FREE
        try:
            return price_of(self._workspace.teachers.config(name))
        except NotFound:  # deleted meanwhile: its answer says so
            return None

    def is_local(self, card: ModelCard) -> bool:
        """Whether its weights are read in this process."""
        role, _, name = card.id.partition(":")
        if role != ModelRole.TEACHER:
            return True
        return self._workspace.teachers.config(name).kind is TeacherKind.LOCAL

    def folder(self, card: ModelCard, *, download: bool = False) -> Path | None:
        """The files of a local model; None while they would have to be downloaded."""
        role, _, name = card.id.partition(":")
        if role == ModelRole.STUDENT:
            return answering_folder(self._workspace, name)
        is_teacher = role == ModelRole.TEACHER
        model_id = self._workspace.teachers.config(name).model if is_teacher else card.model
        models = self._workspace.studio.models
        return models.resolve(model_id) if download or models.is_here(model_id) else None

    def _identity(self, card: ModelCard) -> str:
        """One text for the same weights: an id on the Hub, a folder, a name at a server."""
        if card.step is not None:
            return card.id
        if not self.is_local(card):
            return card.model
        folder = Path(card.model).expanduser()
        if card.role is ModelRole.STUDENT:
            folder = self._workspace.folder / "runs" / card.model / "model"
        elif hub := hub_id(card.model):
            return hub
        return str(folder.resolve())

    def _model(self, role: ModelRole, name: str, model_id: str) -> ChatModel:
        studio = self._workspace.studio
        if role is ModelRole.TEACHER:
            return self._workspace.teachers.model(name)
        if role is ModelRole.BASE:
            return cast(ChatModel, studio.models.chat_model(model_id))
        folder = answering_folder(self._workspace, name)
        return cast(ChatModel, studio.models.chat_model(str(folder)))

    def _teachers(self, actor: Actor) -> list[ModelCard]:
        return [_teacher_card(config) for config in self._workspace.teachers.page(actor)]

    def _bases(self) -> list[ModelCard]:
        rows = list_models(self._workspace.studio.settings.cache_folder)
        return [
            ModelCard(
                id=f"base:{_short(row['id'])}",
                label=_short(row["id"]),
                role=ModelRole.BASE,
                model=row["id"],
            )
            for row in rows
            if row["use"] == "chat" and row["is_present"]
        ]

    def _students(self, actor: Actor) -> list[ModelCard]:
        cards = []
        for run in self._runs(actor):
            if run.state is RunState.DONE:
                cards.append(_student_card(run))
            steps = checkpoint_steps(self._workspace.folder / "runs" / run.name)
            cards += [_checkpoint_card(run, step) for step in steps]
        return cards

    def _runs(self, actor: Actor) -> list[Run]:
        """Newest first."""
        return self._workspace.distill.page(actor, limit=_MOST_RUNS)


def _told_apart(cards: list[ModelCard]) -> list[ModelCard]:
    """Labels that several cards share get the role added: votes are counted by label."""
    counts = Counter(card.label for card in cards)
    return [
        card.model_copy(update={"label": f"{card.label} ({card.role})"})
        if counts[card.label] > 1
        else card
        for card in cards
    ]


def facts_of(model: ChatModel, card: ModelCard) -> ModelCard:
    """The card with what a loaded local model knows of itself."""
    if not hasattr(model, "parameters"):
        return card
    return card.model_copy(
        update={
            "parameters": model.parameters,
            "size_bytes": getattr(model, "size_bytes", None),
            "dtype": getattr(model, "dtype", ""),
        }
    )


def _teacher_card(config: TeacherConfig) -> ModelCard:
    where = "" if config.kind is TeacherKind.LOCAL else config.base_url
    return ModelCard(
        id=f"teacher:{config.name}",
        label=config.name,
        role=ModelRole.TEACHER,
        model=config.model if not where else f"{config.model} at {where}",
    )


def _student_card(run: Run) -> ModelCard:
    return ModelCard(
        id=f"student:{run.name}", label=run.name, role=ModelRole.STUDENT, model=run.name
    )


def _checkpoint_card(run: Run, step: int) -> ModelCard:
    name = checkpoint_name(run.name, step)
    return ModelCard(
        id=f"student:{name}",
        label=f"{run.name}, step {step}",
        role=ModelRole.STUDENT,
        model=name,
        step=step,
    )


def _short(model_id: str) -> str:
    """A folder's name; other ids as they are."""
    return model_id.rstrip("/").rpartition("/")[2] if model_id.startswith("/") else model_id
