"""A foreign row and a column mapping to prompts, answers and a judgement. Start: `to_drafts`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.records.seed import Message
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.conversation import (
    RowError,
    is_conversation,
    text_of,
    to_messages,
    unpack,
)
from distill_studio.seeds.json_text import describe
from distill_studio.seeds.splitting import (
    ConversationPiece,
    estimated_tokens,
    split_conversation,
)

_GSM8K_ANSWER = re.compile(r"\n#### *(.+?)\s*\Z")
_THINKING = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)
_FIRST = {"1", "a", "first", "left", "model_a", "win"}
_SECOND = {"2", "b", "second", "right", "model_b"}
_MAX_EXTRA_CHARS = 20_000
_SAME_TEXT = "Both answers are the same text: counted as a tie, no row for preference training."

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerDraft:
    """One answer of a row."""

    text: str
    teacher: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What one row says about one prompt.

    Args:
        messages: The conversation before the answer; ends with a user turn.
        answers: None, one, or two where the row compares two (the better one first).
        outcome: '' or, for two answers, `win`, `tie` or `both_bad`.
        is_split: True for a part of a conversation that was too long.
        remark: What is odd about it although it goes in.
        judge: Name of the model that compared the two; '' when no judge is named.
    """

    messages: tuple[Message, ...]
    answers: tuple[AnswerDraft, ...] = ()
    outcome: str = ""
    topic: str = ""
    reference: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    is_split: bool = False
    remark: str = ""
    judge: str = ""


def to_drafts(row: Row, mapping: ColumnMapping) -> list[Draft]:
    """The prompts of a row with their answers; several where it has several instances.

    Raises:
        RowError: The row has no prompt, or a value of the wrong kind; says which column.
    """
    if mapping.messages and mapping.split_tokens:
        return _split_drafts(row, mapping)
    topic = _cell(row, mapping.topic) or mapping.default_topic
    extra = _extra(row, mapping)
    return [
        Draft(
            messages=tuple(messages),
            answers=tuple(_finish(answer, mapping) for answer in answers),
            outcome=outcome,
            topic=topic,
            reference=_reference(row, mapping, answers),
            extra=extra,
            judge=_judge(row, mapping) if outcome else "",
            remark=_SAME_TEXT if len({a.text for a in answers}) < len(answers) else "",
        )
        for messages, answers, outcome in _contents(row, mapping)
    ]


def _split_drafts(row: Row, mapping: ColumnMapping) -> list[Draft]:
    """A conversation in pieces of a limited length; each piece with a prompt and its answer.

    What the row says of its answer (reference, reasoning) is said of the last one.
    """
    messages, reasoning = to_messages(row.get(mapping.messages), mapping.messages)
    whole = _with_system(messages, row, mapping)
    _cut(whole, reasoning, row, mapping)  # refuses what would be refused whole
    pieces = split_conversation(whole, mapping.split_tokens)
    topic = _cell(row, mapping.topic) or mapping.default_topic
    drafts = []
    for number, piece in enumerate(pieces, start=1):
        is_last = number == len(pieces)
        own = mapping if is_last else mapping.model_copy(update={"reasoning": ""})
        asked, answers, _ = _cut(piece.messages, reasoning if is_last else "", row, own)
        extra = _extra(row, mapping)
        if len(pieces) > 1:
            extra["split_conversation"] = {"part": number, "of": len(pieces)}
        draft = Draft(
            messages=tuple(asked),
            answers=tuple(_finish(answer, mapping) for answer in answers),
            topic=topic,
            reference=_reference(row, mapping, answers) if is_last else None,
            extra=extra,
            is_split=len(pieces) > 1,
            remark=_too_long(piece, number, mapping.split_tokens),
        )
        drafts.append(draft)
    return drafts


def _too_long(piece: ConversationPiece, number: int, limit: int) -> str:
    if not piece.is_long:
        return ""
    about = estimated_tokens(piece.messages)
    return f"Part {number} is one exchange of about {about:,} tokens (limit {limit:,}): kept whole."


_Content = tuple[list[Message], list[AnswerDraft], str]


def _contents(row: Row, mapping: ColumnMapping) -> list[_Content]:
    if mapping.messages:
        messages, reasoning = to_messages(row.get(mapping.messages), mapping.messages)
        return [_cut(_with_system(messages, row, mapping), reasoning, row, mapping)]
    if mapping.chosen:
        return [_comparison(row, mapping)]
    if mapping.instances:
        return _instances(row, mapping)
    messages = _prompt(row, mapping)
    answer = _answer(row, mapping.answer, mapping)
    return [(messages, [answer] if answer else [], "")]


def _prompt(row: Row, mapping: ColumnMapping) -> list[Message]:
    value = row.get(mapping.prompt) if mapping.prompt else None
    if is_conversation(value):
        messages, _ = to_messages(value, mapping.prompt)
        if messages[-1].role != "user":
            raise RowError(f"'{mapping.prompt}' does not end with a turn of the user.")
        return _with_system(messages, row, mapping)
    if isinstance(value, list) and value:  # MT-Bench: the later turns are kept aside
        value = value[0]
    text = _below(text_of(value, mapping.prompt), _cell(row, mapping.input))
    return _with_system([*_history(row, mapping), _user(text, mapping.prompt)], row, mapping)


def _user(text: str, column: str) -> Message:
    if not text.strip():
        raise RowError(f"The prompt ('{column}') is empty.")
    return Message(role="user", content=text)


def _below(text: str, more: str) -> str:
    return f"{text}\n\n{more}" if text.strip() and more.strip() else text if text else more


def _history(row: Row, mapping: ColumnMapping) -> list[Message]:
    turns = unpack(row.get(mapping.history)) if mapping.history else None
    messages: list[Message] = []
    for turn in turns if isinstance(turns, list) else []:
        if not isinstance(turn, list) or len(turn) != 2:
            raise RowError(f"'{mapping.history}' must be a list of [request, answer].")
        messages.append(_user(text_of(turn[0], mapping.history), mapping.history))
        messages.append(Message(role="assistant", content=text_of(turn[1], mapping.history)))
    return messages


def _with_system(messages: list[Message], row: Row, mapping: ColumnMapping) -> list[Message]:
    system = _cell(row, mapping.system)
    if not system.strip() or messages[0].role == "system":
        return messages
    return [Message(role="system", content=system), *messages]


def _cut(messages: list[Message], reasoning: str, row: Row, mapping: ColumnMapping) -> _Content:
    first = next((m for m in messages if m.role != "system"), None)
    if first is None or first.role != "user":
        raise RowError("The conversation does not begin with a turn of the user.")
    if messages[-1].role == "user":
        return messages, [], ""
    if messages[-1].role != "assistant" or messages[-2].role != "user":
        raise RowError("The conversation does not end with a question and its answer.")
    answer = AnswerDraft(
        messages[-1].content,
        _cell(row, mapping.teacher),
        _cell(row, mapping.reasoning) or reasoning,
    )
    if not answer.text.strip():
        raise RowError("The last answer of the conversation is empty.")
    return messages[:-1], [answer], ""


def _answer(row: Row, column: str, mapping: ColumnMapping) -> AnswerDraft | None:
    value = row.get(column) if column else None
    reasoning = _cell(row, mapping.reasoning)
    if is_conversation(value):
        messages, own_reasoning = to_messages(value, column)
        if len(messages) != 1 or messages[0].role != "assistant":
            raise RowError(f"'{column}' is more than one turn of the assistant.")
        text, reasoning = messages[0].content, reasoning or own_reasoning
    else:
        text = text_of(value, column)
    if not text.strip():
        return None
    return AnswerDraft(text, _cell(row, mapping.teacher), reasoning)


def _instances(row: Row, mapping: ColumnMapping) -> list[_Content]:
    instances = unpack(row.get(mapping.instances))
    if not isinstance(instances, list) or not all(isinstance(i, dict) for i in instances):
        raise RowError(f"'{mapping.instances}' holds {describe(instances)}, not a list of objects.")
    request = _cell(row, mapping.prompt)
    contents: list[_Content] = []
    for instance in instances or [{}]:
        text = _below(request, text_of(instance.get("input"), "input"))
        answer = text_of(instance.get("output"), "output")
        draft = AnswerDraft(answer, _cell(row, mapping.teacher))
        messages = _with_system([_user(text, mapping.prompt)], row, mapping)
        contents.append((messages, [draft] if answer.strip() else [], ""))
    return contents


def _comparison(row: Row, mapping: ColumnMapping) -> _Content:
    prompt = _prompt(row, mapping) if mapping.prompt and row.get(mapping.prompt) else []
    before_a, first = _option(row, mapping.chosen, mapping.teacher)
    before_b, second = _option(row, mapping.rejected, mapping.rejected_teacher)
    if before_a != before_b and not (prompt and not (before_a and before_b)):
        raise RowError(f"'{mapping.chosen}' and '{mapping.rejected}' answer different prompts.")
    messages = before_a or before_b or prompt
    if not messages or messages[-1].role != "user":
        raise RowError("There is no prompt that both answers answer.")
    if first.text == second.text and not mapping.verdict:
        raise RowError("Both answers are the same text.")
    outcome, swapped = _verdict(row, mapping)
    if first.text == second.text and outcome == "win":
        outcome = "tie"  # a judge cannot tell them apart
    return messages, [second, first] if swapped else [first, second], outcome


def _option(row: Row, column: str, teacher_column: str) -> tuple[list[Message], AnswerDraft]:
    """(the conversation before the answer where the column has one, the answer)."""
    value, teacher = row.get(column), _cell(row, teacher_column)
    messages: list[Message] = []
    reasoning = ""
    if is_conversation(value):
        messages, reasoning = to_messages(value, column)
        if messages[-1].role != "assistant":
            raise RowError(f"'{column}' does not end with an answer.")
        value = messages.pop().content
    text = text_of(value, column)
    if not text.strip():
        raise RowError(f"The answer in '{column}' is empty.")
    return messages, AnswerDraft(text, teacher, reasoning)


def _verdict(row: Row, mapping: ColumnMapping) -> tuple[str, bool]:
    """(outcome, whether the second option is the better one)."""
    if not mapping.verdict:
        return "win", False
    text = _cell(row, mapping.verdict).strip().lower()
    if text in _FIRST | _SECOND:
        return "win", text in _SECOND
    if text in ("tie", "both", "equal", "tie (bothbad)", "both_bad"):
        return ("both_bad" if "bad" in text else "tie"), False
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 2:
        raise RowError(f"'{mapping.verdict}' is {text!r}: expected 1 to 2, a, b or tie.")
    return ("tie", False) if value == 1.5 else ("win", value > 1.5)


def _judge(row: Row, mapping: ColumnMapping) -> str:
    return (_cell(row, mapping.judge).strip() or mapping.default_judge.strip())[:200]


def _finish(answer: AnswerDraft, mapping: ColumnMapping) -> AnswerDraft:
    teacher = answer.teacher or mapping.default_teacher
    thinking = _THINKING.match(answer.text) if mapping.split_thinking else None
    if thinking is None or answer.reasoning or not answer.text[thinking.end() :].strip():
        return AnswerDraft(answer.text, teacher, answer.reasoning)
    return AnswerDraft(answer.text[thinking.end() :], teacher, thinking.group(1).strip())


def _reference(row: Row, mapping: ColumnMapping, answers: list[AnswerDraft]) -> str | None:
    value = unpack(row.get(mapping.reference)) if mapping.reference else None
    if isinstance(value, list):
        value = value[0] if value else None
    if value not in (None, ""):
        return text_of(value, mapping.reference) or None
    match = _GSM8K_ANSWER.search(answers[0].text) if answers else None
    return match.group(1) if match else None


def _extra(row: Row, mapping: ColumnMapping) -> dict[str, Any]:
    """The other columns, and what a used column holds beyond the part that was used."""
    used = set(mapping.columns().values())
    extra = {name: _plain(value) for name, value in row.items() if name not in used}
    prompt = row.get(mapping.prompt) if mapping.prompt else None
    if isinstance(prompt, list) and len(prompt) > 1 and not is_conversation(prompt):
        extra[mapping.prompt] = _plain(prompt)
    return {name: value for name, value in extra.items() if value not in (None, "")}


def _plain(value: Any) -> Any:  # noqa: ANN401  (any value a file can hold)
    """A value that can be stored as JSON; long or foreign ones as shortened text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_EXTRA_CHARS else text[:_MAX_EXTRA_CHARS] + " ..."


def _cell(row: Row, column: str) -> str:
    return text_of(row.get(column), column) if column else ""
