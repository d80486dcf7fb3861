"""Every public service method as a named operation `<word>_<method>` with checked arguments.

The HTTP API, Gradio's named endpoints and the command line all go through `call`, so they can do
the same things, with the same checks.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.services.base import Service
from distill_studio.services.workspace import Workspace


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked of a workspace."""

    name: str
    word: str
    method: str
    summary: str
    arguments: type[BaseModel]
    result: TypeAdapter[Any]


@cache
def operations() -> dict[str, Operation]:
    """All operations by name, found in the service classes' signatures."""
    found: dict[str, Operation] = {}
    for service in _service_classes():
        for method, function in inspect.getmembers(service, inspect.isfunction):
            parameters = list(inspect.signature(function).parameters.values())[1:]
            is_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
                function
            )
            if method.startswith("_") or is_stream or not parameters:
                continue
            if parameters[0].name != "actor":
                continue
            operation = _operation(service.word, method, function, parameters[1:])
            found[operation.name] = operation
    return dict(sorted(found.items()))


def call(workspace: Workspace, actor: Actor, name: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Run an operation; arguments and result are JSON values.

    Raises:
        NotFound: No such operation.
        InvalidInput: An argument is missing, unknown or of the wrong kind; says which.
        StudioError: Whatever the operation itself refuses.
    """
    operation = operations().get(name)
    if operation is None:
        raise NotFound(f"There is no operation '{name}'.")
    try:
        checked = operation.arguments.model_validate(dict(arguments))
    except ValidationError as err:
        raise InvalidInput(f"{name}: {_explain(err)}") from err
    values = {field: getattr(checked, field) for field in operation.arguments.model_fields}
    service = getattr(workspace, operation.word)
    result = getattr(service, operation.method)(actor, **values)
    return operation.result.dump_python(result, mode="json")


def _service_classes() -> list[type[Service]]:
    return [
        hint
        for hint in get_type_hints(Workspace).values()
        if inspect.isclass(hint) and issubclass(hint, Service)
    ]


def _operation(
    word: str,
    method: str,
    function: Callable[..., Any],
    parameters: list[inspect.Parameter],
) -> Operation:
    hints = get_type_hints(function)
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is inspect.Parameter.empty else p.default)
        for p in parameters
    }
    arguments = create_model(
        f"{word}_{method}_arguments", __config__=ConfigDict(extra="forbid"), **fields
    )
    summary = (inspect.getdoc(function) or "").split("\n\n", maxsplit=1)[0]
    return Operation(
        f"{word}_{method}", word, method, summary, arguments, TypeAdapter(hints["return"])
    )


def _explain(err: ValidationError) -> str:
    parts = []
    for problem in err.errors()[:5]:
        where = ".".join(str(p) for p in problem["loc"])
        parts.append(f"{where}: {problem['msg']}")
    return "; ".join(parts)
