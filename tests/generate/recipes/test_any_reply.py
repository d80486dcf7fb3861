"""Whatever a teacher writes, a unit ends with pairs that are sound or with a reason."""

from collections.abc import Iterator, Mapping
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from distill_studio.core.records import Message, Seed
from distill_studio.generate.effects import RECIPE_CODES, Dropped, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from tests.generate.play import ORIGIN, Said, play, reply

PASSAGE = "Rain falls when the drops of a cloud have grown so heavy that air cannot hold them. " * 3
PIECES = st.sampled_from((
    "1. Rain\n2. Snow\n3. Rain",
    "- **Hail**: ice\n- Fog",
    "step by step",
    "Strategy: direct answer",
    "Score: 4",
    '{"score": 5, "reason": "fine"}',
    "[END]",
    "User: And why does it snow?",
    "Assistant: Because.",
    "How does rain form in a cloud?",
    "1. Why do heavy drops fall? Solution: weight.",
    PASSAGE,
    "~~~",
    "${task}",
    " ",
))
REPLIES = st.lists(st.lists(PIECES | st.text(), max_size=3).map("\n".join), min_size=1, max_size=8)


class Talk(Mapping[str, Said]):
    """The next text of a list for whatever step is asked; every third one is cut off."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = cycle(enumerate(texts))

    def __getitem__(self, step: str) -> Said:
        number, text = next(self._texts)
        return reply(text, finish_reason="length" if number % 3 == 2 else "stop")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


MAKERS = ("self_instruct", "evol_instruct", "magpie", "multi_turn", "textbook", "explanation")


@pytest.mark.parametrize("name", [*MAKERS, "back_translation"])
@effort(deadline=None, max_examples=20)
@given(texts=REPLIES)
def test_any_replies(name: str, texts: list[str]) -> None:
    recipe = RECIPES[name]
    settings = Settings(
        texts={text.name: text.text for text in recipe.prompts.texts},
        options=recipe.prompts.chosen({}),
    )
    unit = Unit(Seed(messages=(Message(role="user", content=PASSAGE),)), 0, "T")
    ended = play(recipe, unit, settings, Talk(texts))
    rows = to_rows(ended, ORIGIN)
    if isinstance(ended.result, Dropped):
        assert rows.failure is not None
        assert ended.result.code in RECIPE_CODES
        assert ended.result.step in ended.forgotten
        return
    assert rows.pairs
    places = [(pair.seed_id, pair.sample) for pair in rows.pairs]
    assert len(set(places)) == len(places)
    hashes = [seed.content_hash for seed in rows.seeds]
    assert len(set(hashes)) == len(hashes)
    for pair in rows.pairs:
        assert pair.answer.strip()
        assert pair.messages[-1].role == "user"
        assert pair.prompt.strip()
