"""The filters' form is made from their settings: what it reads is what it was filled with."""

import gradio as gr
import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.curate.filters import (
    FILTERS,
    LanguageConfig,
    LengthConfig,
    PrivacyConfig,
    RepetitionConfig,
    default_filters,
)
from distill_studio.curate.reports import FilterPreview, FiltersPreview, TopicCount
from distill_studio.ui.panels import curate_html as draw
from distill_studio.ui.panels.curate_filters import FilterForm, build_filter_form

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def form() -> FilterForm:
    with gr.Blocks():
        return build_filter_form()


def on_form(filters):
    return [config for config in filters if config.kind != "set_aside"]


def test_every_filter_but_the_hidden_one_has_a_fold(form):
    assert sorted(form.folds) == sorted(kind for kind in FILTERS if kind != "set_aside")
    ids = [widget.elem_id for widget in form.widgets]
    assert len(set(ids)) == len(ids)
    assert {"curate-length-min-words", "curate-privacy-kinds"} <= set(ids)


def test_reads_what_it_was_filled_with(form):
    changed = [
        LengthConfig(min_words=7, max_characters=0, drop_truncated=False),
        RepetitionConfig(is_on=False, max_score=3.5),
        LanguageConfig(is_on=True, keep=("en", "de")),
        PrivacyConfig(action="drop", kinds=("card",)),
    ]
    by_kind = {config.kind: config for config in changed}
    asked = [by_kind.get(config.kind, config) for config in default_filters()]
    read = form.read(form.fill(asked))
    assert {c.kind: c for c in read} == {c.kind: c for c in on_form(asked)}


def test_a_missing_filter_is_off_and_the_first_values_are_the_defaults(form):
    assert not any(config.is_on for config in form.read(form.fill([])))
    first = form.read([widget.value for widget in form.widgets])
    assert {c.kind: c for c in first} == {c.kind: c for c in on_form(default_filters())}


def test_an_empty_box_is_the_default_and_a_bad_value_is_told(form):
    values = form.fill(default_filters())
    at = form.widgets.index(next(w for w in form.widgets if w.elem_id.endswith("-min-words")))
    values[at] = None
    assert LengthConfig() in form.read(values)
    values[at] = -3
    with pytest.raises(InvalidInput, match=r"Length, Fewest words: .*greater than or equal to 0"):
        form.read(values)


def preview(**fields) -> FilterPreview:
    base = {"label": "Length", "about": "", "is_on": True, "drops": 2, "dropped": [], "kept": []}
    return FilterPreview(**{"kind": "length", **base, **fields})


def test_titles_say_the_count():
    assert draw.filter_title(preview()) == "Length · 2 beyond the line"
    assert draw.filter_title(preview(is_on=False)) == "Length · off"
    assert draw.filter_title(preview(only_warns=True)) == "Length · 2 found, stay"


def test_topics_that_lose_most_are_said_first_and_escaped():
    topics = [
        TopicCount(topic="poems", total=400, removed=4, by_reason={"near": 4}),
        TopicCount(
            topic=HOSTILE, total=100, removed=40, by_reason={"length": 40}, warning="Loses 40%."
        ),
    ]
    shown = draw.filters_html(
        FiltersPreview(
            considered=500, dropped=44, protected=0, unmeasured=0, filters=[preview()],
            by_topic=topics,
        )
    )  # fmt: skip
    assert "Loses 40%." in shown
    assert "Mostly length (40)." in shown
    assert HOSTILE not in shown
    assert shown.index("&lt;img") < shown.index("poems")
