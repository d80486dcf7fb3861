"""Which models are relatives: a judge prefers what its own family writes.

In MT-Bench GPT-4 favoured itself with a win rate 10% higher, and Claude-v1 with one 25% higher,
than people gave them; its authors call this not conclusive (arXiv 2306.05685, section 3.3).
"""

import functools
import json
import re
from collections.abc import Iterable

from distill_studio.judge.prompts import ASSETS

_WORD = re.compile(r"[a-z]+")
_DIGIT_NAMES = re.compile(r"(?<![a-z0-9])o[134](?![a-z0-9])")


def families(model_id: str) -> tuple[str, ...]:
    """The families of a model, in the order its name gives them; () when none is known.

    `DeepSeek-R1-Distill-Qwen-7B` has two: who taught it and what it grew from.
    """
    text = model_id.lower()
    words = [(m.start(), m.group()) for m in _WORD.finditer(text)]
    words += [(m.start(), m.group()) for m in _DIGIT_NAMES.finditer(text)]
    found = [_by_word().get(word, "") for _, word in sorted(words)]
    return tuple(dict.fromkeys(name for name in found if name))


def family_warning(
    judge_model: str, teacher_models: Iterable[str], who: str = "the teacher"
) -> str:
    """A sentence where judge and teacher are related or the same; '' where nothing is known of it.

    It warns and forbids nothing: people read the scores with it in mind.

    Args:
        judge_model: The judge.
        teacher_models: Whom it judges.
        who: What they are called.
    """
    teachers = list(dict.fromkeys(teacher_models))
    if judge_model in teachers:
        return f"{judge_model} judges its own answers. {_WHY}"
    own = families(judge_model)
    for teacher in teachers:
        for name in families(teacher):
            if name in own:
                return (
                    f"The judge {judge_model} and {who} {teacher} are of one family,"
                    f" {_labels()[name]}. {_WHY}"
                )
    return ""


_WHY = (
    "Judges tend to prefer what they or their relatives wrote (in MT-Bench GPT-4 by 10% and"
    " Claude-v1 by 25%, which its authors call not conclusive). Choose a judge of another family,"
    " or compare its scores with people's."
)


@functools.cache
def _by_word() -> dict[str, str]:
    return {word: name for name, entry in _load().items() for word in entry["words"]}


@functools.cache
def _labels() -> dict[str, str]:
    return {name: str(entry["label"]) for name, entry in _load().items()}


def _load() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads(
        (ASSETS / "families.json").read_text(encoding="utf-8")
    )
    return loaded
