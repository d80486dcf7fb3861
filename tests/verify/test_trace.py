import json

import pytest

from distill_studio.core.scripts import script_shares
from distill_studio.verify.trace import check_languages, check_loops, check_trace, ending_loop

STEP = "Next we add the apples of each child and find how many are left in the basket. "


def test_script_shares():
    assert script_shares("abc где") == {"Latin": 0.5, "Cyrillic": 0.5}
    assert set(script_shares("東京タワーのひと")) == {"Han", "Kana"}
    assert script_shares("12 + 3 = 𝑥") == {}


@pytest.mark.parametrize(
    ("text", "prompt", "is_one"),
    [
        ("We add two and three.", "How much is 2 + 3?", True),
        ("We add 所以我们把两个数字相加然后得到答案五", "How much is 2 + 3?", False),
        ("所以我们把两个数字相加 x 得到五", "二加三等于多少", True),
        ("We add two and three", "Сколько будет два плюс три?", True),  # Latin is at home anywhere
        ("Складываем числа " * 3, "How much is 2 + 3?", False),
        ("Складываем числа", "2 + 3 = ?", True),  # nothing asked in letters
        ("東京タワーはたかい", "日本の塔は?", True),
        ("where $\\alpha\\beta$ and α + β is the sum of angles", "Find the sum", True),
        ("The word for tea is 茶, spelled out in a long enough sentence.", "What is tea?", True),
        ("", "x", True),
    ],
)
def test_mixed_languages(text, prompt, is_one):
    assert check_languages(text, prompt).ok is is_one


def test_the_foreign_passage_is_shown():
    verdict = check_languages("We add " + "然后我们得到" * 5, "How much?")
    assert "Han" in verdict.reason
    assert "然后" in verdict.extracted


def test_a_loop_at_the_end_is_found():
    assert ending_loop(STEP + "so wait let me check that " * 4) == "so wait let me check that"
    assert ending_loop(STEP + "wait " * 12) == "wait"
    assert ending_loop(STEP + "no no no no") == ""
    assert ending_loop(STEP * 3) == ""
    assert not check_loops("x y. " + STEP * 5).ok
    # The last turn may be cut anywhere between words.
    assert ending_loop((STEP + "let me check that again slowly " * 6).rstrip()[:-14]) != ""


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("The answer is 5", "length", "token limit"),
        ("<think>We add", "stop", "never ends"),
        ("<think>We add</think>", "stop", "no answer"),
        ("```python\nx = 1", "stop", "code block"),
        (" ", "stop", "empty"),
        ("x" * 101, "stop", "too long"),
        ("The answer is 5.", "stop", "complete"),
    ],
)
def test_endings(text, finish_reason, reason):
    verdict = check_trace(text, "How much?", finish_reason, max_characters=100)
    assert reason in verdict.reason
    assert verdict.ok is (reason == "complete")


def test_reference_solutions_are_good_traces(shared_data):
    lines = (shared_data / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    bad = [v for r in rows if not (v := check_trace(r["answer"], r["question"], "stop")).ok]
    assert len(bad) <= 0.005 * len(rows), bad[:5]
