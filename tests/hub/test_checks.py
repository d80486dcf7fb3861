"""What is said before something is published."""

import pytest

from distill_studio.hub.checks import dataset_warnings, model_warnings, notices, teacher_warnings
from distill_studio.hub.licences import families, family_of, is_limiting


def teacher(model: str = "", note: str = "", rows: int = 3) -> dict:
    return {"rows": rows, "models": [model] if model else [], "licence_note": note}


def codes(found: list) -> list[tuple[str, str]]:
    return [(one.code, one.level) for one in found]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1"),
        ("llama3.1:8b", "Llama 3.1"),
        ("meta-llama/Llama-3.3-70B-Instruct", "Llama 3.3"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "Llama 3"),
        ("llama-3-3b", "Llama 3"),
        ("meta-llama/Llama-2-7b-chat-hf", "Llama 2"),
        ("meta-llama/Llama-4-Scout-17B-16E", "Llama 4"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Llama 3.1"),
        ("google/gemma-2-9b-it", "Gemma"),
        ("google/gemma-4-4b", "Gemma 4"),
        ("gpt-4o-mini", "OpenAI"),
        ("openai/gpt-oss-20b", "gpt-oss"),
        ("o3-mini", "OpenAI"),
        ("claude-sonnet-4-5", "Anthropic"),
        ("gemini-2.5-pro", "Gemini"),
        ("Qwen/Qwen2.5-3B-Instruct", "Qwen2.5 3B"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5"),
        ("smollm2-135m-instruct", "SmolLM"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", ""),
        ("my-own-model", ""),
        ("solo-1b", ""),
    ],
)
def test_families_by_their_ids(model: str, family: str) -> None:
    found = family_of([model])
    assert (found.name if found else "") == family


def test_every_family_has_a_source_and_says_what_it_limits() -> None:
    for family in families():
        assert family.source.startswith("https://"), family.name
        assert family.outputs == "free" or family.says, family.name


@pytest.mark.parametrize(
    ("note", "limits"),
    [
        ("Apache-2.0: its outputs may train other models.", False),
        ("MIT", False),
        ("Read Mistral's terms on training with outputs first.", True),
        ("OpenAI's services agreement forbids using outputs to build models.", True),
        ("CC-BY-NC: non-commercial use", True),
        ("You may not train on its answers", True),
    ],
)
def test_notes_that_speak_of_limits(note: str, limits: bool) -> None:
    assert is_limiting(note) is limits


def test_terms_that_forbid_or_are_not_known() -> None:
    found = teacher_warnings({
        "Free": teacher("smollm2-135m-instruct"),
        "Noted": teacher("own", "Apache-2.0"),
        "GPT": teacher("gpt-4o"),
        "Careful": teacher("x", "Answers must not train other models."),
        "Nobody knows": teacher("x"),
    })
    assert codes(found) == [("terms", "warn"), ("terms", "warn"), ("unknown_terms", "warn")]
    assert "GPT (3 rows)" in found[0].message
    assert "compete" in found[0].message
    assert "must not train" in found[1].message
    assert found[2].message == "No terms are stated for: Nobody knows."


def test_a_clean_private_snapshot_needs_no_yes() -> None:
    manifest = {"teachers": {"Free": teacher("smollm2-135m-instruct")}, "benchmarks": []}
    assert dataset_warnings(manifest, {}, private=True) == []
    assert codes(dataset_warnings(manifest, {}, private=False)) == [("public", "warn")]


def test_personal_data_secrets_and_leaks() -> None:
    leaked = {"name": "GSM8K", "leaked": 2, "unchecked": 0}
    manifest = {"teachers": {}, "benchmarks": [leaked]}
    found = dataset_warnings(manifest, {"secret": 1, "e-mail addresses": 4}, private=True)
    assert codes(found) == [("secrets", "warn"), ("personal", "warn"), ("leaks", "warn")]
    assert "e-mail addresses in 4 rows" in found[1].message
    assert "GSM8K (2 rows)" in found[2].message


def test_a_licence_that_needs_naming() -> None:
    taught = {"Big": teacher("meta-llama/Llama-3.1-8B-Instruct")}
    wrong = model_warnings(taught, ["smollm2-135m-instruct"], "small", private=True)
    assert codes(wrong) == [("naming", "warn")]
    assert 'Begin the name with "Llama"' in wrong[0].hint
    assert model_warnings(taught, ["smollm2-135m-instruct"], "Llama-small", private=True) == []
    assert notices(taught, ["smollm2-135m-instruct"]) == ("Built with Llama",)
    of_data = dataset_warnings({"teachers": taught}, {}, private=True)
    assert codes(of_data) == [("naming", "info")]
    base = model_warnings({}, ["meta-llama/Llama-3.2-1B"], "llama-mine", private=True)
    assert codes(base) == [("base_terms", "info")]
