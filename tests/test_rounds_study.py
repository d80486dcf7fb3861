"""The study of two rounds: what its lines become."""

import json
import random
from pathlib import Path

import pytest
from scipy import stats

from tests.benchmarks import rounds_table

PROMPTS = 30


def cell(seed: int, arm: str, kl: list[float]) -> dict[str, object]:
    topics = ["a", "b"] * (PROMPTS // 2)
    figures = dict.fromkeys(("kl", "agreement", "ce"), kl)
    return {"seed": seed, "arm": arm, "items": list(range(PROMPTS)), "topics": topics, **figures}


def test_arms_are_compared_prompt_by_prompt_and_a_prompt_is_one_cluster(tmp_path: Path) -> None:
    dice = random.Random(0)
    first = [dice.random() for _ in range(PROMPTS)]
    second = [value - 0.1 + dice.gauss(0, 0.02) for value in first]
    into = tmp_path / "found.jsonl"
    arms = {"round-1": first, "feedback": second}
    lines = [cell(seed, arm, kl) for seed in (1, 2) for arm, kl in arms.items()]
    into.write_text("\n".join(map(json.dumps, lines)) + '\n{"seed": 3, "ar', encoding="utf-8")
    found = rounds_table.done_cells(into)
    assert sorted(found) == [(1, "feedback"), (1, "round-1"), (2, "feedback"), (2, "round-1")]
    pair = found[1, "feedback"], found[1, "round-1"]
    once = rounds_table.compared([pair], "kl")
    assert once.p_value == pytest.approx(stats.ttest_rel(second, first).pvalue)
    twice = rounds_table.compared([pair, pair], "kl")  # nothing new was seen
    assert twice.p_value == pytest.approx(once.p_value)
    text = rounds_table.table(found)
    assert "| round 2, what was lost | 2 |" in text
    assert text.count("| round 2 − round 1 |") == 3  # a line for each seed, and all
    assert "control" not in text  # not measured yet
