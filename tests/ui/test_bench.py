"""The benches' scripts and the one way by which markup enters them."""

import re
from importlib import resources

import pytest

from distill_studio.ui.bench import MOST_TEXTS, bench_value, render_texts

STATIC = resources.files("distill_studio.ui") / "static"


@pytest.mark.parametrize("name", ["bench.js", "review.js", "prefer.js"])
def test_markup_enters_only_through_set_html(name: str) -> None:
    script = (STATIC / name).read_text(encoding="utf-8")
    sinks = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert len(sinks) == (1 if name == "bench.js" else 0)
    calls = re.findall(r"setHtml\((?!node, safeHtml)[^)]*\)", script)
    assert calls in ([], ["setHtml(node, html)"])  # in drawText, with the server's HTML


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        assert not re.search(r"https?://", file.read_text(encoding="utf-8"))


def test_texts_come_back_safe_and_in_order() -> None:
    made = render_texts(["**a**", "<img src=x onerror=1> ${7*7}"])
    assert made[0].strip() == "<p><strong>a</strong></p>"
    assert "<img" not in made[1]
    assert "${" not in made[1]


def test_too_many_texts_are_not_parsed() -> None:
    assert len(render_texts(["*x*"] * (MOST_TEXTS + 5))) == MOST_TEXTS


def test_a_value_is_never_the_same_twice() -> None:
    assert bench_value(workspace="main") != bench_value(workspace="main")
