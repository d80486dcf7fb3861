"""Which settings of the curate stage count: those in force, and those that an operation names.

Start at `settings_of`; what an operation leaves out is as it is in force.
"""

from pydantic import ValidationError

from distill_studio.core import embedding_models
from distill_studio.core.errors import InvalidInput
from distill_studio.curate.filters import AnyFilter, LikelihoodConfig, SetAsideConfig
from distill_studio.curate.reports import CurateSettings, DedupField, NearChoices
from distill_studio.store import curation_actions, likelihoods
from distill_studio.store.database import Database


def settings_in_force(db: Database) -> CurateSettings:
    """The settings in force, or the first ones."""
    action = curation_actions.latest_action(db)
    return CurateSettings.model_validate(action["settings"]) if action else CurateSettings()


def settings_of(
    db: Database,
    filters: list[AnyFilter] | None,
    field: DedupField | None,
    threshold: float | None,
    remove_accepted: bool | None = None,
    near: NearChoices | None = None,
    model: str | None = None,
) -> CurateSettings:
    """Settings from an operation's arguments; None means what is in force.

    Raises:
        InvalidInput: They cannot be used.
    """
    in_force = settings_in_force(db)
    try:
        return CurateSettings(
            filters=filters_of(db, filters),
            field=in_force.field if field is None else field,
            threshold=in_force.threshold if threshold is None else threshold,
            near=in_force.near if near is None else near,
            remove_accepted=(
                in_force.remove_accepted if remove_accepted is None else remove_accepted
            ),
            model=in_force.model if model is None else model,
        )
    except ValidationError as err:
        raise InvalidInput(
            f"These settings cannot be used: {err.errors()[0]['msg']}.",
            "A threshold lies between 0.5 and 1.",
        ) from err


def filters_of(db: Database, filters: list[AnyFilter] | None) -> list[AnyFilter]:
    """What was asked; what people set aside stays in force unless the request names it.

    A filter on likelihoods that names no model means the one that scored last.
    """
    in_force = settings_in_force(db).filters
    if filters is None:
        return in_force
    named = any(isinstance(one, SetAsideConfig) for one in filters)
    kept = [one for one in in_force if isinstance(one, SetAsideConfig) and not named]
    return [_with_model(db, one) for one in filters] + kept


def model_of(db: Database, asked: str | None) -> str:
    """The id of the embedding model that was asked for, else of the one in force."""
    return settings_in_force(db).model if asked is None else embedding_models.canonical(asked)


def check_floor(floor: float) -> None:
    """Refuse a floor under which nearly everything is near.

    Raises:
        InvalidInput: It is not between 0.5 and 1.
    """
    if not 0.5 <= floor <= 1.0:
        raise InvalidInput(f"A floor of {floor:g} cannot be used.", "Give 0.5 to 1.")


def _with_model(db: Database, config: AnyFilter) -> AnyFilter:
    if not isinstance(config, LikelihoodConfig) or config.model:
        return config
    scored = likelihoods.models(db)
    return config.model_copy(update={"model": scored[0]["model"] if scored else ""})
