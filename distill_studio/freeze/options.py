"""How rows are shaped on their way into a snapshot."""

from pydantic import Field

from distill_studio.core.records import Message, Pair, Record


class FreezeOptions(Record):
    """Choices of the person who freezes."""

    validation_share: float = Field(
        default=0.1, ge=0.0, le=0.5, description="Share of rows kept for validation."
    )
    include_reasoning: bool = Field(
        default=False, description="Put the chain of thought before the answer, in <think>."
    )
    system_prompt: str = Field(
        default="", description="System prompt of every row, instead of the row's own."
    )


def shaped_prompt(messages: tuple[Message, ...], options: FreezeOptions) -> list[Message]:
    """The conversation before the answer, with the chosen system prompt."""
    if not options.system_prompt.strip():
        return list(messages)
    rest = [m for m in messages if m.role != "system"]
    return [Message(role="system", content=options.system_prompt), *rest]


def shaped_answer(pair: Pair, options: FreezeOptions) -> str:
    """The answer in force, with its reasoning where wanted and there."""
    if not (options.include_reasoning and pair.reasoning.strip()):
        return pair.final_answer
    return f"<think>\n{pair.reasoning.strip()}\n</think>\n\n{pair.final_answer}"
