"""The list of prompts: conversations whole and escaped, counted as the preview counts them."""

from distill_studio.core.records import Message, Seed
from distill_studio.services.importing import ImportExample
from distill_studio.ui.panels import import_html
from distill_studio.ui.tabs.seeds import _LONGEST, _row

EVIL = "<img src=x onerror=alert(1)>"


def conversation(*turns: tuple[str, str]) -> Seed:
    return Seed(messages=tuple(Message(role=role, content=text) for role, text in turns))


def test_a_conversation_opens_with_all_its_turns() -> None:
    seed = conversation(
        ("system", f"Be kind. {EVIL}"), ("user", "First?"), ("assistant", "Yes."), ("user", "Why?")
    )
    html = _row(seed)
    shown = [f"<dt>{role}</dt><dd>" for role in ("system", "user", "assistant", "user")]
    places = [html.index(one) for one in shown[:3]]
    assert places == sorted(places)
    assert [html.count(one) for one in shown[:2]] == [1, 2]
    for text in ("Be kind. &lt;img", "First?", "Yes."):
        assert text in html
    assert EVIL not in html


def test_turns_are_counted_as_the_import_preview_counts_them() -> None:
    seed = conversation(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    example = ImportExample(line=1, prompt="c", turns=4, system="s")
    for html in (_row(seed), import_html._prompt_cell(example)):
        assert '">system prompt</span>' in html
        assert '">3 turns</span>' in html
    assert "turns" not in _row(conversation(("system", "s"), ("user", "a")))
    assert "<details" not in _row(conversation(("user", "short")))


def test_what_is_shown_of_a_very_long_conversation_is_bounded() -> None:
    long = "x" * _LONGEST
    html = _row(conversation(("user", long), ("assistant", long), ("user", "end")))
    assert len(html) < 1.2 * _LONGEST
    assert html.count("<dd>") == 3
