"""The registry, and each filter on texts it must and must not drop."""

import pytest
from pydantic import TypeAdapter, ValidationError

from distill_studio.core.repetition import duplicate_ngram_share, top_ngram_share
from distill_studio.curate.filters import (
    FILTERS,
    Answer,
    AnyFilter,
    LengthConfig,
    RefusalConfig,
    RepetitionConfig,
    WellFormedConfig,
    default_filters,
    first_drop,
    judge,
    measure_all,
)

PROSE = (
    "Photosynthesis turns light into chemical energy. Plants take up water through their roots and "
    "carbon dioxide through small openings in the leaves; chlorophyll absorbs sunlight, which "
    "splits the water, and the hydrogen is used to build sugars while oxygen escapes."
)


def test_registry_keys_are_the_config_tags():
    for kind, filter_ in FILTERS.items():
        assert filter_.kind == kind
        assert TypeAdapter(AnyFilter).validate_python({"kind": kind}) == filter_.config()
    assert [config.kind for config in default_filters()] == list(FILTERS)
    with pytest.raises(ValidationError):
        TypeAdapter(AnyFilter).validate_python({"kind": "none such"})


BAD = {
    "well_formed": ("", "```\nx", "<think>no end", "\\begin{align} x", '{"a": 1,'),
    "length": (PROSE,),
    "repetition": ("word " * 200,),
    "refusal": ("I'm sorry, but I can't help with that.",),
    "language": ("Die Dampfmaschine wandelt Wärme in Bewegung um und treibt Räder an.",),
    "privacy": (
        "Mail ann@ford.org or call +49 30 2345 6789, IBAN DE89 3704 0044 0532 0130 00, card"
        " 4539 1488 0343 6467, key AKIAQ3EGRZ7MLWX2PTYN.",
    ),
    "verification": (PROSE,),
}


@pytest.mark.parametrize("kind", [kind for kind, f in FILTERS.items() if f.version])
def test_every_limit_names_a_measure_that_its_filter_makes(kind):
    wrong = {"verified": {"ok": False, "reason": "4 is not 5"}}
    made = set()
    for text in BAD[kind]:
        made |= set(FILTERS[kind].measure(Answer(text, "length", provenance=wrong)))
    named = {limit.measure for limit in FILTERS[kind].config().limits()}
    assert named <= made
    assert named, "a filter without limits drops nothing"


def test_every_setting_has_a_label_and_every_choice_a_name():
    for filter_ in FILTERS.values():
        for name, field in filter_.config.model_fields.items():
            assert name == "kind" or field.title, (filter_.kind, name)


def drop_of(config, text, finish_reason=""):
    return judge(config, measure_all(Answer(text, finish_reason)))


def test_good_prose_passes_everything():
    assert first_drop(default_filters(), measure_all(Answer(PROSE, "stop"))) is None


@pytest.mark.parametrize(
    ("config", "text", "finish_reason", "reason"),
    [
        (LengthConfig(min_characters=10), "short", "", "5 characters, fewer than 10"),
        (LengthConfig(max_characters=10), "x" * 11, "", "11 characters, more than 10"),
        (LengthConfig(min_words=3), "two words", "", "2 words, fewer than 3"),
        (LengthConfig(max_words=1), "two words", "", "2 words, more than 1"),
        (LengthConfig(), PROSE, "length", "cut off by the token limit"),
        (WellFormedConfig(), " \n", "", "empty answer"),
        (WellFormedConfig(), "```python\nprint(1)\n", "", "a code block is never closed"),
        (WellFormedConfig(), "<think>Let me see", "", "<think> is never closed"),
        (WellFormedConfig(), "\\begin{align}\nx &= 1", "", "\\begin{align} is never closed"),
        (WellFormedConfig(), "So \\[ x = 1", "", "\\[ is never closed"),
        (WellFormedConfig(), "Thus\n$$\nx = 1", "", "$$ is never closed"),
        (
            WellFormedConfig(),
            '{"name": "Ann", "tags": ["a", ',
            "",
            "starts as JSON that is never closed",
        ),
        (RefusalConfig(), "As an AI, I have no opinion.", "", "boilerplate: “As an AI”"),
    ],
)
def test_reason_in_words(config, text, finish_reason, reason):
    drop = drop_of(config, text, finish_reason)
    assert drop is not None
    assert drop.reason == reason


def test_limits_are_included_and_off_means_off():
    assert drop_of(LengthConfig(min_words=2, max_words=2), "two words") is None
    assert drop_of(LengthConfig(drop_truncated=False), PROSE, "length") is None
    assert drop_of(LengthConfig(is_on=False, min_words=9), "two words") is None


@pytest.mark.parametrize(
    "text",
    [
        "```\na\n```\ntext\n~~~\nb\n~~~",
        "````\n```\ninner\n````",
        "inline ``` is no fence",
        "``` not a fence ``` at all",
    ],
)
def test_closed_code_passes(text):
    assert drop_of(WellFormedConfig(), text) is None


@pytest.mark.parametrize(
    "text",
    [
        "<think>First this.</think> Then that.",
        "Write `<think>` to begin.",
        "```\n<think>\n\\begin{align}\n```",
        "\\begin{align} x \\end{align} and \\[ y \\] and $$z$$",
        "The shell's own number is $$ and costs $5.",
        "A line \\\\[2pt] with space below",
        '{"a": [1, 2, {"b": "}"}]}',
        '["x", "y"] are the letters',
        "[Verse 1] The road goes on",
        "{name}, welcome",
    ],
)
def test_closed_or_no_such_form_passes(text):
    assert drop_of(WellFormedConfig(), text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, but I cannot help with that.",
        "I cannot provide medical advice.",
        "Unfortunately, I am unable to browse the internet.",
        "I apologize, but I won't write this.",
        "I must decline this request.",
        "As an AI language model, I cannot generate such content.",
    ],
)
def test_refusals(text):
    drop = drop_of(RefusalConfig(strictness="refusals"), text)
    assert drop is not None
    assert drop.score == 1.0


@pytest.mark.parametrize(
    "text",
    [
        PROSE + " The robot said: \"I'm sorry, but I can't do that.\" Then it left.",
        "In the film the computer answers “As an AI, I cannot help you.” It is a famous line.",
        "> I'm sorry, but I can't come.\n\nThis reply to an invitation is polite.",
        "```\nI'm sorry, but I can't\n```\nis what the program prints.",
        "I can't help but smile when the sun rises over the hills.",
        "Dear Anna, I am sorry to hear about your loss.",
        "An AI model is a program that was trained on data.",
        "You can not open the box without the key; help is on its way.",
    ],
)
def test_not_refusals(text):
    assert drop_of(RefusalConfig(), text) is None


def test_remarks_can_be_allowed():
    text = "Here are three films. As an AI, I have not seen them. " + PROSE
    assert drop_of(RefusalConfig(), text) is not None
    assert drop_of(RefusalConfig(strictness="refusals"), text) is None


@pytest.mark.parametrize(
    "text",
    [
        "The cat sat on the mat. " * 30,
        "I think that this is fine and " * 40,
        "\n".join(["- item one", "- item two"] * 20),
        PROSE + " And so on and so forth until the end of time." * 12,
    ],
)
def test_loops(text):
    drop = drop_of(RepetitionConfig(), text)
    assert drop is not None
    assert "repeats itself" in drop.reason


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "yes yes yes yes yes",
        "ha " * 10,
        "```python\n" + "x = 1\ny = 2\n" * 30 + "```\nDone.",
    ],
)
def test_not_loops(text):
    assert drop_of(RepetitionConfig(), text) is None


def test_ngram_shares_by_hand():
    words = ["aa", "bb", "aa", "bb", "cc"]  # 10 characters; "aa bb" twice makes 8
    assert top_ngram_share(words, 2) == pytest.approx(0.8)
    assert duplicate_ngram_share(words, 2) == pytest.approx(0.4)  # the second one only
    assert top_ngram_share(["a", "b", "c"], 2) == 0.0
    assert duplicate_ngram_share(["a"], 2) == 0.0
