"""The trigram pattern rules rows out, never in, and never one that holds the needle."""

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.store import search

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


def matches(text: str, needle: str, *, with_pattern: bool = True) -> bool:
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t (words VARCHAR, bits BIT)")
        bits = search.bit_pattern(text) if with_pattern else None
        db.execute("INSERT INTO t VALUES (?, ?)", [text, bits])
        sql = f"SELECT count(*) FROM t WHERE {search.condition('words', 'bits', needle)}"
        return db.execute(sql, [needle]).fetchall()[0][0] == 1


@given(TEXTS, st.integers(0, 60), st.integers(0, 60))
def test_every_part_of_a_text_is_found(text: str, start: int, end: int):
    assert matches(text, text[start:end].split("\0")[0])  # a needle holds no NUL


@given(TEXTS, TEXTS)
def test_it_agrees_with_python(text: str, needle: str):
    assert matches(text, needle) == (needle in text)


def test_a_row_without_a_pattern_is_read():
    assert matches("some words", "e wor", with_pattern=False)
    assert not matches("some words", "e war", with_pattern=False)


def test_the_pattern_rules_out():
    text = "The quick brown fox jumps over the lazy dog"
    bits = "".join(f"{byte:08b}" for byte in search.bit_pattern(text))
    assert len(bits) == 4096
    assert 30 < bits.count("1") <= len(text) - 2
