"""How to sample, from the values of an operation. Start at `sampling_of`."""

from pydantic import ValidationError

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams


def sampling_of(
    temperature: float, top_p: float, max_tokens: int, seed: int | None
) -> SamplingParams:
    """The settings.

    Raises:
        InvalidInput: A value is out of its range; says which and why.
    """
    try:
        return SamplingParams(
            temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
        )
    except ValidationError as err:
        problem = err.errors()[0]
        raise InvalidInput(f"{problem['loc'][0]}: {problem['msg']}.") from err
