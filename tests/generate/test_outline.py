"""Titles out of lists as models write them, and where they stand."""

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from distill_studio.core.lenient_json import Unreadable
from distill_studio.generate.outline import Leaf, coverage, read_titles, topic_of


def test_titles_lose_what_stands_around_them() -> None:
    text = """Here is an outline:

1. **The water cycle**: how water moves
2. Chapter 2: Clouds
3. "Rain" - drops that fall
4. Snow and/or hail
5. Wind / storm
6. Weather in the tropics:
"""
    assert read_titles(text, 10, ()) == {
        1: "The water cycle",
        2: "Clouds",
        3: "Rain",
        4: "Snow and/or hail",
        5: "Wind/storm",
        6: "Weather in the tropics",
    }


def test_what_comes_twice_or_is_the_topic_is_left_out_and_places_stay() -> None:
    labelled = "Title 1: Rain\nTitle 2: Snow and ice: a guide\nTitle 3: Hail"
    assert read_titles(labelled, 3, ()) == {1: "Rain", 2: "Snow and ice", 3: "Hail"}
    text = "1. Weather\n2. Rain\n3. RAIN\n4. Snow\n5. Hail"
    assert read_titles(text, 2, ("Weather",)) == {2: "Rain", 4: "Snow"}


def test_a_whole_sentence_is_no_title() -> None:
    long = "1. " + "word " * 16 + "\n2. Rain\n3. /_<\n4. /_<"
    assert read_titles(long, 4, ()) == {2: "Rain"}


def test_no_list_is_unreadable_and_a_cut_one_loses_its_last() -> None:
    with pytest.raises(Unreadable):
        read_titles("Rain is wet.", 2, ())
    assert read_titles("1. Rain\n2. Sn", 2, (), is_cut=True) == {1: "Rain"}


def test_topics_are_one_short_line() -> None:
    assert topic_of("The\n weather.") == "The weather"
    assert topic_of("rain / snow") == "rain/snow"
    assert len(topic_of("word " * 100)) <= 120


def test_a_leaf_knows_its_path() -> None:
    leaf = Leaf("2.1", ("Weather", "Rain", "Drops"))
    assert (leaf.title, leaf.above, leaf.topic) == (
        "Drops",
        "Weather: Rain",
        "Weather / Rain / Drops",
    )


def test_coverage_names_what_is_missing() -> None:
    leaves = [Leaf("1", ("W", "Rain")), Leaf("2", ("W", "Snow"))]
    assert coverage(3, leaves, {"2": "empty"}) == {
        "asked": 3,
        "found": 2,
        "made": 1,
        "missing": {"W / Snow": "empty"},
    }


@effort(deadline=None, max_examples=50)
@given(st.lists(st.text(), min_size=1), st.integers(1, 5))
def test_whatever_the_items_titles_are_few_and_of_one_line(items: list[str], count: int) -> None:
    text = "\n".join(f"{i}. {item}" for i, item in enumerate(items, start=1))
    try:
        titles = read_titles(text, count, ())
    except Unreadable:
        return
    assert len(titles) <= count
    assert all(title and "\n" not in title and " / " not in title for title in titles.values())
    assert len(set(titles.values())) == len(titles)
