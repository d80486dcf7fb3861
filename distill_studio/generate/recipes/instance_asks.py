"""What is asked of a teacher to make instances: each question after some that were answered.

Models of any size follow such examples; people edit them with the other texts of the recipe.
"""

from collections.abc import Mapping
from typing import Any

from distill_studio.core.records import Message
from distill_studio.generate.asides import read_shots
from distill_studio.generate.prompts import fill
from distill_studio.generate.recipes.base import user

Texts = Mapping[str, str]
Asked = tuple[Message, ...]

KIND_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


def kind_asked(texts: Texts, instruction: str) -> Asked:
    """Is it a classification task?"""
    messages = [Message(role="system", content=texts["classify"])]
    for shown, (said, *_) in read_shots(texts["classify_shots"]):
        messages += user(fill(texts["classify_question"], instruction=shown))
        messages.append(_said(said))
    return (*messages, *user(fill(texts["classify_question"], instruction=instruction)))


def labels_asked(texts: Texts, instruction: str) -> Asked:
    """Which class labels does it have?"""
    messages: list[Message] = []
    for shown, labels in read_shots(texts["labels_shots"]):
        messages += user(fill(texts["labels"], instruction=shown))
        messages.append(_said("\n".join(f"{n}. {label}" for n, label in enumerate(labels, 1))))
    return (*messages, *user(fill(texts["labels"], instruction=instruction)))


def input_asked(texts: Texts, instruction: str, label: str) -> Asked:
    """Of what is this label right?"""
    messages: list[Message] = []
    for shown, (given, *_) in read_shots(texts["input_shots"]):
        task, _, its_label = shown.rpartition("\n\n")
        messages += user(fill(texts["input"], instruction=task, label=its_label))
        messages.append(_said(given))
    return (*messages, *user(fill(texts["input"], instruction=instruction, label=label)))


def inputs_asked(texts: Texts, instruction: str, count: int) -> Asked:
    """What is it done on?"""
    messages: list[Message] = []
    for shown, given in read_shots(texts["inputs_shots"]):
        messages += user(fill(texts["inputs"], instruction=shown, count=count))
        messages.append(_said("\n\n".join(f"Input: {each}" for each in given[:count])))
    return (*messages, *user(fill(texts["inputs"], instruction=instruction, count=count)))


def _said(text: str) -> Message:
    return Message(role="assistant", content=text)
