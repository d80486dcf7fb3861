"""What the student will see of one row, token by token, and what of it is learned. Torch-free."""

from pydantic import Field

from distill_studio.core.records.base import Record
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import AnswerRun, RunConfig
from distill_studio.distill.data import MASKED, Row, encode_preference, encode_prompt
from distill_studio.distill.reasoning import encode_answer, is_mixed, mixed


class TokenPiece(Record):
    """One token as it will be trained."""

    text: str = Field(description="Its text.")
    id: int = Field(description="In the vocabulary.")
    learned: bool = Field(description="True when the loss counts it.")


class TokenRow(Record):
    """One sequence of a row: the row for SFT, one side of a pair for DPO."""

    title: str = Field(description="row, chosen or rejected.")
    pieces: list[TokenPiece] = Field(description="In order, cut to the longest length.")
    tokens: int = Field(description="Before cutting.")
    learned: int = Field(description="Learned tokens after cutting.")
    is_cut: bool = Field(description="True when its end is cut off.")


def token_view(tokenizer: ChatTokenizer, config: RunConfig, row: Row) -> list[TokenRow]:
    """What the model will see of a row, token by token.

    Raises:
        InvalidInput: The template cannot render it.
    """
    limit = config.max_length
    if config.method == "on_policy":
        ids = encode_prompt(tokenizer, row)
        title = "prompt; the student writes the answer itself"
        return [_token_row(tokenizer, title, ids, [MASKED] * len(ids), limit)]
    if config.method != "dpo":
        encoded = encode_answer(tokenizer, config, row)
        title = "row"
        if isinstance(config, AnswerRun) and is_mixed(config):
            fate = mixed(tokenizer, config, row)[1]
            title = "row, its reasoning left out" if fate in ("left_out", "over_budget") else "row"
        return [_token_row(tokenizer, title, encoded.input_ids, encoded.labels, limit)]
    pair = encode_preference(tokenizer, row)
    masked = [MASKED] * len(pair.prompt_ids)
    return [
        _token_row(tokenizer, title, pair.prompt_ids + ids, masked + ids, limit)
        for title, ids in (("chosen", pair.chosen_ids), ("rejected", pair.rejected_ids))
    ]


def _token_row(
    tokenizer: ChatTokenizer, title: str, ids: list[int], labels: list[int], limit: int
) -> TokenRow:
    shown, marks = ids[:limit], labels[:limit]
    pieces = [
        TokenPiece(text=text, id=token, learned=label != MASKED)
        for token, label, text in zip(shown, marks, tokenizer.pieces(shown), strict=True)
    ]
    return TokenRow(
        title=title,
        pieces=pieces,
        tokens=len(ids),
        learned=sum(p.learned for p in pieces),
        is_cut=len(ids) > limit,
    )
