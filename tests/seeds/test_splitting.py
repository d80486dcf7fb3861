"""Long conversations become several; no turn is lost or doubled."""

import itertools
import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.core.records import Message
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.drafts import open_file
from distill_studio.seeds.rows import to_drafts
from distill_studio.seeds.splitting import estimated_tokens, split_conversation

TURN = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "system"]),
    content=st.text(max_size=60) | st.just(""),
)
EXCHANGE = st.tuples(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))


def turns(exchanges: list[tuple[str, str]], system: str = "") -> list[Message]:
    made = [Message(role="system", content=system)] if system else []
    for asked, answered in exchanges:
        made += [Message(role="user", content=asked), Message(role="assistant", content=answered)]
    return made


@given(st.lists(TURN, min_size=1, max_size=12), st.integers(1, 60))
def test_pieces_one_after_the_other_are_the_conversation(
    conversation: list[Message], limit: int
) -> None:
    system = conversation[:1] if conversation[0].role == "system" else []
    pieces = split_conversation(conversation, limit)
    joined = [turn for piece in pieces for turn in piece.messages[len(system) :]]
    assert [*system, *joined] == conversation
    assert all(piece.messages[: len(system)] == system for piece in pieces)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(EXCHANGE, min_size=1, max_size=8).filter(lambda e: all(a.strip() for _, a in e)),
    st.sampled_from(["", "Be brief."]),
    st.integers(10, 120),
)
def test_each_piece_is_a_conversation_that_fits(
    exchanges: list[tuple[str, str]], system: str, limit: int
) -> None:
    pieces = split_conversation(turns(exchanges, system), limit)
    for piece in pieces:
        own = piece.messages[bool(system) :]
        assert (own[0].role, own[-1].role) == ("user", "assistant")
        is_long = estimated_tokens(piece.messages) > limit
        assert piece.is_long == is_long
        assert not is_long or len(own) == 2
    for first, second in itertools.pairwise(pieces):  # none could have taken more
        more = [*first.messages, *second.messages[bool(system) :][:2]]
        assert estimated_tokens(more) > limit


def test_rows_are_split_only_when_asked() -> None:
    row = {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "One?"},
            {"from": "gpt", "value": "1"},
            {"from": "human", "value": "Two?"},
            {"from": "gpt", "value": "2 " * 300},
            {"from": "human", "value": "Three?"},
            {"from": "gpt", "value": "3", "reasoning": "because"},
        ],
        "id": "x",
        "gold": "3",
    }
    mapping = ColumnMapping(messages="conversations", reference="gold")
    [whole] = to_drafts(row, mapping)
    assert len(whole.messages) == 6
    parts = to_drafts(row, mapping.model_copy(update={"split_tokens": 60}))
    assert [d.messages[-1].content for d in parts] == ["One?", "Two?", "Three?"]
    assert [d.answers[0].text for d in parts] == ["1", "2 " * 300, "3"]
    assert [d.messages[0].content for d in parts] == ["Be brief."] * 3
    assert [d.reference for d in parts] == [None, None, "3"]
    assert [d.answers[0].reasoning for d in parts] == ["", "", "because"]
    assert parts[1].remark.startswith("Part 2 is one exchange of about")
    assert parts[0].remark == ""
    assert parts[2].extra == {"id": "x", "split_conversation": {"part": 3, "of": 3}}


def test_real_conversations_keep_every_turn(shared_data: Path) -> None:
    path = shared_data / "sharegpt_conversations.json"
    plain = open_file(path)
    cut = open_file(path, plain.mapping.model_copy(update={"split_tokens": 60}))
    grown = 0
    for before, after in zip(plain.rows(), cut.rows(), strict=True):
        assert before.problem == after.problem
        for whole in before.drafts:
            texts = [m.content for m in whole.messages] + [a.text for a in whole.answers]
            pieces = [
                text
                for part in after.drafts
                for text in (*(m.content for m in part.messages), *(a.text for a in part.answers))
            ]
            assert pieces == texts
        grown += len(after.drafts) > 1
    assert grown > 50
    json.dumps([d.extra for row in cut.rows() for d in row.drafts])
