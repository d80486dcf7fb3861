"""What goes wrong with the Hub, in words that say what to do. Start at `in_words`."""

from collections.abc import Iterator
from typing import TypeVar
from zipfile import BadZipFile

from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound, StudioError, Unavailable

E = TypeVar("E", bound=BaseException)
_TOKEN = (
    "Give a token that may read it: HF_TOKEN where the app starts, or, as an owner, on the Seeds"
    " tab under From the Hub."
)
_LATER = "Nothing is lost: try again later; what was stored is not stored twice."


def expected() -> tuple[type[BaseException], ...]:
    """What the libraries raise for reasons that lie outside this app."""
    # Seconds to import: not at the app's start.
    import httpx2  # noqa: PLC0415
    import yaml  # noqa: PLC0415
    from datasets.exceptions import DatasetsError  # noqa: PLC0415

    return (
        *(DatasetsError, httpx2.HTTPError, OSError, ValueError, RuntimeError, TypeError, KeyError),
        *(AttributeError, EOFError, BadZipFile, yaml.YAMLError),
    )


def in_words(err: BaseException, what: str, *, revision: str = "", has_token: bool) -> StudioError:
    """An error of `expected` as one for the user.

    Args:
        err: As it was raised.
        what: The dataset or collection that was asked for.
        revision: Which of its revisions.
        has_token: Whether the Hub was asked with a token.
    """
    import httpx2  # noqa: PLC0415
    from huggingface_hub import errors  # noqa: PLC0415

    chain = list(_chain(err))
    if own := _first(chain, StudioError):
        return own
    if gated := _first(chain, errors.GatedRepoError):
        return _gated(gated, what, has_token=has_token)
    if _first(chain, errors.RevisionNotFoundError):
        return NotFound(
            f"'{what}' has no revision '{revision or 'main'}'.",
            "Give one of its branches or tags, or the hash of a commit.",
        )
    if _first(chain, errors.RepositoryNotFoundError):
        return _missing(what, has_token=has_token)
    refused = _first(chain, errors.HfHubHTTPError)
    if refused and not isinstance(refused, errors.EntryNotFoundError):  # one file of many
        return _status(refused.response.status_code, what, has_token=has_token)
    if _first(chain, ConnectionError) or _first(chain, httpx2.TransportError):
        return Unavailable(
            f"The Hugging Face Hub cannot be reached, so '{what}' was not read.",
            "Without a network, download the dataset elsewhere and bring it in as a file.",
        )
    return _unreadable(err, what)


def _gated(err: Exception, what: str, *, has_token: bool) -> StudioError:
    page = f"https://huggingface.co/datasets/{what}"
    if not has_token:
        return NotAllowed(
            f"'{what}' is gated: the Hub shows it only to those who accepted its terms.",
            f"Accept them on {page}. {_TOKEN}",
        )
    return NotAllowed(
        f"'{what}' is gated, and the account of your token has not been let in.",
        f"Accept its terms, or ask for access, on {page}; then try again.",
    )


def _missing(what: str, *, has_token: bool) -> StudioError:
    if has_token:
        return NotFound(
            f"The Hub has no '{what}', or it is private and your token may not see it.",
            "Check the spelling; for a private one use a token of an account that may read it.",
        )
    return NotFound(
        f"The Hub has no '{what}' that everybody may see.",
        f"Check the spelling. If it is private: {_TOKEN}",
    )


def _status(status: int, what: str, *, has_token: bool) -> StudioError:
    if status == 401:
        told = "it has expired or was mistyped" if has_token else "it wants one"
        return NotAllowed(f"The Hub did not take the token ({told}) for '{what}'.", _TOKEN)
    if status == 403:
        return NotAllowed(f"The Hub does not let this token read '{what}'.", _TOKEN)
    if status == 404:
        return NotFound(f"The Hub has no '{what}'.", "Check the spelling.")
    if status == 429:
        more = "" if has_token else " With a token the Hub allows more requests."
        return Unavailable(
            f"The Hub asks to slow down (429), so '{what}' was not read to its end.",
            f"Wait some minutes. {_LATER}{more}",
        )
    if status >= 500:
        return Unavailable(f"The Hub has trouble of its own ({status}) with '{what}'.", _LATER)
    return InvalidInput(f"The Hub refused to show '{what}' ({status}).", "Check the spelling.")


def _unreadable(err: BaseException, what: str) -> StudioError:
    text = first_line(err)
    if "scripts are no longer supported" in text:
        return InvalidInput(
            f"'{what}' is made by a program of its own, and programs of datasets are never run.",
            "Look for a version of it in Parquet, or bring it in as a file.",
        )
    if "Protocol not known" in text:
        return InvalidInput(
            f"'{what}' consists of files that do not lie in its repository.",
            "Download them yourself and bring them in as files.",
        )
    if type(err).__name__ in ("EmptyDatasetError", "DataFilesNotFoundError"):
        return InvalidInput(
            f"'{what}' holds no data file that can be read.",
            "Parquet, JSON, JSON Lines, CSV, Arrow and text files can.",
        )
    return InvalidInput(
        f"'{what}' could not be read: {text}",
        "Look at its files on the Hub; what is sound can be brought in as a file.",
    )


def first_line(err: BaseException) -> str:
    """The first line of an error, shortened."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        yield err
        err = err.__cause__ or err.__context__


def _first(chain: list[BaseException], kind: type[E]) -> E | None:
    return next((err for err in chain if isinstance(err, kind)), None)
