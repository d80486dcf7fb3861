"""Ensembles: who is kept, and what is said of it."""

import json
from typing import Any

import pytest

from distill_studio.core.records import Seed
from distill_studio.generate.effects import Dropped, Made, Unit
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import user
from tests.generate.play import Said, play

ENSEMBLE = RECIPES["ensemble"]


def run(replies: dict[str, Said], reference: str | None = None, **options: Any) -> Made | Dropped:
    seed = Seed(messages=user("What is 2 + 3?"), reference=reference)
    settings = Settings(
        options=ENSEMBLE.prompts.chosen(options), teachers=("A", "B", "C"), judge=""
    )
    return play(ENSEMBLE, Unit(seed, 0, "A"), settings, replies).result


def three(a: str, b: str, c: str) -> dict[str, Said]:
    return {"candidate/0": a, "candidate/1": b, "candidate/2": c}


def test_keep_all_gives_a_candidate_of_every_teacher() -> None:
    made = run(three("5", "five", "6"), keep="keep all")
    assert isinstance(made, Made)
    assert [(d.teacher, d.reply.text) for d in made.drafts] == [
        ("A", "5"),
        ("B", "five"),
        ("C", "6"),
    ]


def test_the_majority_wins_by_final_answer_and_is_named() -> None:
    made = run(
        three("So the answer is 6.", "2 + 3 = 5\n#### 5", "Five it is.\n\\boxed{5}"),
        keep="majority answer",
    )
    assert isinstance(made, Made)
    (draft,) = made.drafts
    found = draft.params["ensemble"]
    assert (draft.teacher, found["won"], found["answer"]) == ("B", "B", "5")
    assert found["counts"] == {"5": 2, "6": 1}
    assert found["asked"] == {"0": "A", "1": "B", "2": "C"}


def test_equal_answers_vote_each() -> None:
    seed = Seed(messages=user("What is 6 * 7?"))
    settings = Settings(
        options=ENSEMBLE.prompts.chosen({"keep": "majority answer"}), teachers=tuple("ABCDE")
    )
    said = ("#### 42", "#### 42", "#### 42", "It must be\n#### 41", "So, I say\n#### 41")
    replies: dict[str, Said] = {f"candidate/{n}": text for n, text in enumerate(said)}
    made = play(ENSEMBLE, Unit(seed, 0, "A"), settings, replies).result
    assert isinstance(made, Made)
    assert made.drafts[0].params["ensemble"]["counts"] == {"42": 3, "41": 2}
    assert made.drafts[0].reply.text == "#### 42"


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        (three("#### 1", "#### 2", "#### 3"), "No final answer has a majority"),
        (three(*(f"A long story {'of this and that ' * 9} {n}" for n in "abc")), "final answer"),
    ],
)
def test_no_majority_keeps_nothing(replies: dict[str, Said], said: str) -> None:
    dropped = run(replies, keep="majority answer")
    assert isinstance(dropped, Dropped)
    assert dropped.code == "eliminated"
    assert said in dropped.reason


def test_the_verifier_keeps_the_shortest_that_holds() -> None:
    replies = three("It is 6.\n#### 6", "Two and three are five, so\n#### 5", "#### 5")
    made = run(replies, reference="#### 5", keep="best by verifier")
    assert isinstance(made, Made)
    assert made.drafts[0].teacher == "C"
    verdicts = made.drafts[0].params["ensemble"]["verdicts"]
    assert verdicts["1"] == verdicts["2"] == "holds"
    assert verdicts["0"] != "holds"


def test_nothing_that_holds_is_said_with_a_reply() -> None:
    dropped = run(three("#### 6", "#### 7", "#### 8"), reference="#### 5", keep="best by verifier")
    assert isinstance(dropped, Dropped)
    assert (dropped.code, dropped.text) == ("not_verified", "#### 6")
    dropped = run(three("#### 6", "#### 7", "#### 8"), keep="best by verifier")
    assert isinstance(dropped, Dropped)
    assert "no reference answer" in dropped.reason


def test_the_judge_keeps_the_best_and_the_first_teacher_judges_without_one() -> None:
    aspects = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    told = {
        f"score/{n}": json.dumps({"reason": "", **dict.fromkeys(aspects, value)})
        for n, value in enumerate((2, 5, 3))
    }
    made = run(three("6", "5", "four") | told, keep="best by judge")
    assert isinstance(made, Made)
    (draft,) = made.drafts
    assert (draft.teacher, draft.judge_score) == ("B", 5.0)
    assert draft.params["judged"]["judge"] == "A"
    assert draft.params["ensemble"]["scores"] == {"0": 2.0, "1": 5.0, "2": 3.0}


def test_a_judge_that_says_nothing_readable_is_a_failure() -> None:
    told: dict[str, Said] = {f"score/{n}": "Fine." for n in range(3)}
    dropped = run(three("6", "5", "four") | told, keep="best by judge")
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code) == ("score/0", "unreadable")
