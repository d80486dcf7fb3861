"""Errors on screen: a StudioError becomes a toast in the user's words, anything else a code.

The one place in `ui/` that catches everything.
"""

import functools
import inspect
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar, cast

import gradio as gr

from distill_studio.core.errors import InvalidInput, StudioError

logger = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def as_toast(error: BaseException) -> gr.Error:
    """What the user sees of an error."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, StudioError):
        return gr.Error(
            _escaped(in_words(error)), duration=15, title="That did not work", print_exception=False
        )
    return gr.Error(in_words(error), duration=None, title="Unexpected error", print_exception=False)


def in_words(error: BaseException) -> str:
    """An error as plain text for the user; an unexpected one is logged and named by a code."""
    if isinstance(error, StudioError):
        return f"{error.user_message}\n{error.hint}" if error.hint else error.user_message
    code = secrets.token_hex(3)
    logger.error("error %s in a handler", code, exc_info=error)
    return f"Something unexpected went wrong (code {code}). The log says more."


def in_view(value: T | None, what: str) -> T:
    """The value; an error in words where there is none, as behind a button that should not be seen.

    Raises:
        InvalidInput: It is not there.
    """
    if value is None:
        raise InvalidInput(f"There is no {what} in view.", "Look again, and choose one.")
    return value


def contained(fill: Callable[..., tuple[Any, ...]], *args: Any) -> tuple[Any, ...] | str:  # noqa: ANN401
    """What `fill` gives; or, where it fails, the error in words, so that the rest goes on."""
    try:
        return fill(*args)
    except Exception as err:
        return in_words(err)


def guarded(handler: F) -> F:
    """Wrap an event handler (plain, async or generator) so that its errors become toasts."""
    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def async_generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: ANN401
            try:
                async for value in handler(*args, **kwargs):
                    yield value
            except Exception as err:
                raise as_toast(err) from err

        return cast(F, async_generator)
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401
            try:
                yield from handler(*args, **kwargs)
            except Exception as err:
                raise as_toast(err) from err

        return cast(F, generator)

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            return handler(*args, **kwargs)
        except Exception as err:
            raise as_toast(err) from err

    return cast(F, plain)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")
