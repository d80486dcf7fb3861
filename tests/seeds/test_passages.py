"""Passages hold every word of a document once, and only a small tail makes one too long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.seeds.passages import count_words, split_passages

WORD = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=6)
SENTENCE = st.lists(WORD, min_size=1, max_size=12).map(lambda words: " ".join(words) + ".")
PARAGRAPH = st.lists(SENTENCE, min_size=1, max_size=6).map(" ".join)
DOCUMENT = st.lists(PARAGRAPH | st.just("# Heading"), min_size=1, max_size=10).map("\n\n".join)


@settings(max_examples=50, deadline=None)
@given(DOCUMENT, st.integers(5, 60))
def test_no_word_is_lost_or_doubled(text: str, limit: int) -> None:
    passages = split_passages(text, limit)
    assert " ".join(p.text for p in passages).split() == text.split()
    for passage in passages:
        assert passage.text == passage.text.strip() != ""
        assert passage.text.splitlines()[0] in text.splitlines()[passage.line - 1]
    for passage in passages[:-1]:
        assert count_words(passage.text) <= limit
    assert count_words(passages[-1].text) < limit + limit / 5 + 1


@given(st.text(max_size=200), st.integers(1, 20))
def test_any_text_is_cut(text: str, limit: int) -> None:
    passages = split_passages(text, limit)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())


def words(count: int, name: str = "w") -> str:
    return " ".join(f"{name}{n}" for n in range(count))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n\n \n", []),
        ("One.\n\nTwo.", ["One.\n\nTwo."]),
        (f"{words(6)}\n\n{words(6, 'x')}", [words(6), words(6, "x")]),
        (f"{words(9)}\n\nend", [f"{words(9)}\n\nend"]),
        (f"{words(10)}\n\nend", [f"{words(10)}\n\nend"]),  # a small tail joins
        (f"{words(8)}\n\n# Head\n\n{words(5, 'x')}", [words(8), f"# Head\n\n{words(5, 'x')}"]),
        ("A b c d e f. G h i j k l.", ["A b c d e f.", "G h i j k l."]),
        (
            words(25),
            [words(10), " ".join(words(25).split()[10:20]), " ".join(words(25).split()[20:])],
        ),
        (f"```\na\n\nb\n```\n\n{words(9)}", ["```\na\n\nb\n```", words(9)]),
        ("一二三四五六。七八九十甲乙。", ["一二三四五六。", "七八九十甲乙。"]),
    ],
)
def test_where_cuts_fall(text: str, expected: list[str]) -> None:
    assert [p.text for p in split_passages(text, 10)] == expected
