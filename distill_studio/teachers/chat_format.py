"""Conversations to token ids by the model's own chat template, and what ends an answer.

Start at `ChatFormat.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from distill_studio.core.errors import TeacherContextTooLong, TeacherError
from distill_studio.core.protocols import ChatRequest
from distill_studio.core.records.seed import Message
from distill_studio.teachers.answer import Answer
from distill_studio.teachers.answer_text import AnswerText
from distill_studio.teachers.sampling import RowSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}
_PLAIN_STOP = "\nUser:"


class ChatFormat:
    """A tokenizer with what its model needs.

    Args:
        tokenizer: With or without a chat template; without one, plain `User:` lines are written.
        model: Gives the context length and the tokens that end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
        self._tokenizer: Any = tokenizer
        self.context_tokens = _context_tokens(tokenizer, model)
        self.end_ids = _end_ids(tokenizer, model)
        self.has_template = bool(tokenizer.chat_template)

    def answer(
        self,
        request: ChatRequest,
        *,
        on_piece: Callable[[str], None],
        on_end: Callable[[Answer], None],
        is_unwanted: Callable[[], bool],
    ) -> Answer:
        """The engine's order for one request.

        Raises:
            TeacherContextTooLong: Prompt plus answer do not fit.
            TeacherError: The template refuses the conversation.
        """
        prompt_ids = self.prompt_ids(request.messages)
        sampling = request.sampling
        if len(prompt_ids) + sampling.max_tokens > self.context_tokens:
            raise TeacherContextTooLong(
                f"The prompt has {len(prompt_ids)} tokens and the answer may have "
                f"{sampling.max_tokens}, but the model reads {self.context_tokens} in all.",
                "Shorten the prompt or allow fewer tokens in the answer.",
            )
        stops = sampling.stop if self.has_template else (*sampling.stop, _PLAIN_STOP)
        return Answer(
            prompt_ids=prompt_ids,
            max_tokens=sampling.max_tokens,
            sampler=RowSampler.seeded(sampling.temperature, sampling.top_p, sampling.seed),
            text=AnswerText(self.decode, stops),
            on_piece=on_piece,
            on_end=on_end,
            is_unwanted=is_unwanted,
        )

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the conversation, ready for the assistant's turn."""
        turns = [{"role": m.role, "content": m.content} for m in messages]
        if not self.has_template:
            ids: list[int] = self._tokenizer(_plain(messages)).input_ids
            return ids
        try:
            text = self._render(turns)
        except TemplateError as err:
            try:  # some templates know no system role: put it before the first question
                text = self._render(_fold_system(turns))
            except TemplateError:
                raise TeacherError(
                    f"The model's chat template refuses this conversation: {err}",
                    "Conversations alternate user and assistant and end with a user turn.",
                ) from err
        ids = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, without special ones."""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    def opens_thinking(self, prompt_ids: Sequence[int]) -> bool:
        """True when the template itself wrote `<think>`, so that the answer starts inside."""
        tail = self._tokenizer.decode(list(prompt_ids[-8:]), skip_special_tokens=False)
        return bool(tail.rstrip().endswith("<think>"))

    def _render(self, turns: list[dict[str, str]]) -> str:
        text: str = self._tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False
        )
        return text


def _plain(messages: Sequence[Message]) -> str:
    lines = [f"{_PLAIN_NAMES[m.role]}: {m.content}" for m in messages]
    return "\n\n".join([*lines, "Assistant:"])


def _fold_system(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    system = "\n\n".join(t["content"] for t in turns if t["role"] == "system")
    others = [dict(t) for t in turns if t["role"] != "system"]
    if system and others:
        others[0]["content"] = f"{system}\n\n{others[0]['content']}"
    return others


def _context_tokens(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    return int(min((n for n in limits if n), default=2048))


def _end_ids(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> set[int]:
    generation = getattr(model, "generation_config", None)
    ends = (tokenizer.eos_token_id, getattr(generation, "eos_token_id", None))
    ids = [i for end in ends for i in (end if isinstance(end, list) else [end])]
    return {int(i) for i in ids if i is not None}
