"""How a model's conversations begin, up to a user's first word."""

from pydantic import Field

from distill_studio.core.records.base import Record


class UserTurn(Record):
    """A chat template, as far as Magpie needs it."""

    name: str = Field(description="Of the template; 'own' where the model's tokenizer gave it.")
    bare: str = Field(description="What stands before a user's first word.")
    with_system: str = Field(description="The same with a system text; `${content}` is its place.")
    stop: tuple[str, ...] = Field(description="What ends the user's turn; at most four.")
