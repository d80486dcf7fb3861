"""Conversations to token ids by the model's own chat template, and what ends an answer.

Start at `ChatFormat.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from distill_studio.core.errors import TeacherContextTooLong, TeacherError
from distill_studio.core.protocols import ChatRequest, TokenLogprobs
from distill_studio.core.records import UserTurn
from distill_studio.core.records.seed import Message
from distill_studio.teachers.answer import Answer
from distill_studio.teachers.answer_text import AnswerText
from distill_studio.teachers.sampling import RowSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from distill_studio.teachers.sampling import TokenChoice

_PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}
_PLAIN_STOP = "\nUser:"
_MARK = "\ue000"  # private use: in no template
OWN_TEMPLATE = "own"


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
        self._begins_with = _added_beginning(tokenizer)
        self._token_texts: dict[int, str] = {}

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
        prompt_ids = self.raw_ids(request.raw) if request.raw else self.prompt_ids(request.messages)
        sampling = request.sampling
        if len(prompt_ids) + sampling.max_tokens > self.context_tokens:
            raise TeacherContextTooLong(
                f"The prompt has {len(prompt_ids)} tokens and the answer may have "
                f"{sampling.max_tokens}, but the model reads {self.context_tokens} in all.",
                "Shorten the prompt or allow fewer tokens in the answer.",
            )
        needs_stop = not (self.has_template or request.raw)
        stops = (*sampling.stop, _PLAIN_STOP) if needs_stop else sampling.stop
        return Answer(
            prompt_ids=prompt_ids,
            max_tokens=sampling.max_tokens,
            sampler=RowSampler.seeded(sampling.temperature, sampling.top_p, sampling.seed),
            text=AnswerText(self.decode, stops),
            on_piece=on_piece,
            on_end=on_end,
            is_unwanted=is_unwanted,
            top_logprobs=sampling.top_logprobs,
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

    def raw_ids(self, text: str) -> list[int]:
        """Token ids of text as it stands, special tokens recognised.

        What the tokenizer puts before every text (BOS) comes first, once.
        """
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        start = self._begins_with
        return ids if ids[: len(start)] == start else [*start, *ids]

    def answer_start_ids(self) -> list[int]:
        """Token ids of the bare beginning of an assistant's turn, without any conversation.

        A template that writes nothing there gives what the tokenizer puts before every text, else
        the token that ends a text: never nothing, so that a first token can be predicted.
        """
        if self.has_template:
            turns = [{"role": "user", "content": "a"}]
            whole = self._render(turns)
            before: str = self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=False, tokenize=False
            )
            start = whole[len(before) :] if whole.startswith(before) else ""
            ids: list[int] = self._tokenizer(start, add_special_tokens=False).input_ids
        else:
            ids = self._tokenizer("Assistant:").input_ids
        return ids or self._begins_with or sorted(self.end_ids)[:1]

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer's text as it follows the beginning of its turn."""
        text = answer if self.has_template else f" {answer}"
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def logprobs(self, choices: Sequence[TokenChoice]) -> tuple[TokenLogprobs, ...]:
        """The engine's token choices with their texts."""
        return tuple(
            TokenLogprobs(
                token=self.token_text(choice.token_id),
                token_id=choice.token_id,
                logprob=choice.logprob,
                top=tuple(
                    (self.token_text(i), i, logprob)
                    for i, logprob in zip(choice.top_ids, choice.top_logprobs, strict=True)
                ),
            )
            for choice in choices
        )

    def token_text(self, token_id: int) -> str:
        """One token as text, special ones by name."""
        if token_id not in self._token_texts:
            self._token_texts[token_id] = self._tokenizer.decode(
                [token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        return self._token_texts[token_id]

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


def user_turn(tokenizer: Any) -> UserTurn:  # noqa: ANN401  (any tokenizer)
    """What the template writes before a user's first words: Magpie lets the model go on there.

    Raises:
        TeacherError: The model has no chat template, or one that hides the user's words.
    """
    system, words = f"{_MARK}system{_MARK}", f"{_MARK}user{_MARK}"
    turns = [{"role": "system", "content": system}, {"role": "user", "content": words}]
    bare, end = _around(tokenizer, turns[1:], words)
    try:
        steered, _ = _around(tokenizer, turns, words)
    except TemplateError:  # it knows no system role
        steered, _ = _around(tokenizer, _fold_system(turns), words)
    stops = [*end.split()[:1], tokenizer.eos_token]
    return UserTurn(
        name=OWN_TEMPLATE,
        bare=bare,
        with_system=steered.replace(system, "${content}"),
        stop=tuple(dict.fromkeys(stop for stop in stops if stop)),
    )


def _around(tokenizer: Any, turns: list[dict[str, str]], words: str) -> tuple[str, str]:  # noqa: ANN401
    """What the template puts before and after a user's words."""
    if tokenizer.chat_template:
        text: str = tokenizer.apply_chat_template(
            turns, add_generation_prompt=False, tokenize=False
        )
        before, found, after = text.partition(words)
        if found and before:
            return before, after
    raise TeacherError(
        "This model has no chat template to continue.",
        "Take an instruction-tuned model whose tokenizer has a chat template.",
    )


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


def _added_beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that the tokenizer itself puts before a text."""
    bare: list[int] = tokenizer("a", add_special_tokens=False).input_ids
    full: list[int] = tokenizer("a").input_ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start]
    return []


def _end_ids(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> set[int]:
    generation = getattr(model, "generation_config", None)
    ends = (tokenizer.eos_token_id, getattr(generation, "eos_token_id", None))
    ids = [i for end in ends for i in (end if isinstance(end, list) else [end])]
    return {int(i) for i in ids if i is not None}
