"""Relatives are named, and what most samples say is counted."""

import pytest

from distill_studio.core.lenient_json import Unreadable
from distill_studio.judge import families, family_warning, majority
from distill_studio.judge.families import _load
from distill_studio.verify.final_answer import final_answer


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", ("llama",)),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", ("deepseek", "qwen")),
        ("nvidia/Llama-3.1-Nemotron-70B", ("llama", "nemotron")),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", ("qwen",)),
        ("gpt-4o-mini", ("gpt",)),
        ("o3-mini", ("gpt",)),
        ("openai/gpt-oss-120b", ("gpt",)),
        ("claude-sonnet-4-5", ("claude",)),
        ("google/gemma-3-4b-it", ("gemini",)),
        ("models/gemini-2.0-flash", ("gemini",)),
        ("mistralai/Mixtral-8x7B", ("mistral",)),
        ("microsoft/phi-4", ("phi",)),
        ("cognitivecomputations/dolphin-2.9", ()),
        ("smollm2-135m-instruct", ("smollm",)),
        ("vicuna-7b", ("llama",)),
        ("my-student", ()),
        ("", ()),
    ],
)
def test_families(model: str, expected: tuple[str, ...]) -> None:
    assert families(model) == expected


def test_a_word_belongs_to_one_family() -> None:
    words = [word for entry in _load().values() for word in entry["words"]]
    assert len(words) == len(set(words))


def test_relatives_are_warned_of() -> None:
    words = family_warning("Qwen/Qwen3-32B", ["gpt-4o", "deepseek-r1-distill-qwen-7b"])
    assert "teacher deepseek-r1-distill-qwen-7b are of one family, Qwen (Alibaba)." in words
    assert "10%" in words
    assert "judges its own answers" in family_warning("mine", ["mine"])
    assert family_warning("gpt-4o", ["Qwen3-32B", "mine"]) == ""
    assert family_warning("mine", ["yours"]) == ""


def key(answer: str) -> str:
    final = final_answer(answer)
    return final.text.lower() if final.mark else ""


def test_the_majority_wins_and_the_first_of_equals() -> None:
    found = majority(["x\n#### 3", "#### 4", "no idea", "so\n#### 4", "#### 3", "#### 4"], key)
    assert (found.index, found.key, found.count, found.answered) == (1, "4", 3, 5)
    assert found.counts == {"4": 3, "3": 2}
    assert found.is_clear
    tie = majority(["#### 7", "#### 8", "#### 8", "#### 7"], key)
    assert (tie.index, tie.key, tie.is_clear) == (0, "7", False)
    with pytest.raises(Unreadable, match="no majority"):
        majority(["hm", ""], key)
