"""From votes to duels and win rates; and what a blind reader may see."""

import random

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.optimize import brentq
from scipy.stats import binomtest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    AnswerStats,
    Comparison,
    ModelCard,
    ModelRole,
    Verdict,
)
from distill_studio.core.records.preference import Outcome
from distill_studio.core.records.seed import Message
from distill_studio.evaluate.blind import masked, seen_by, shuffled
from distill_studio.evaluate.board import Board, empty_answers
from distill_studio.evaluate.compare import Done, Failed, Piece, Started
from distill_studio.evaluate.duels import Duel, duels
from distill_studio.evaluate.wins import Bout, clustered_interval, win_rates


def card(name: str) -> ModelCard:
    return ModelCard(
        id=f"teacher:{name}",
        label=name,
        role=ModelRole.TEACHER,
        model=f"org/{name}",
        parameters=7,
        size_bytes=14,
        dtype="bfloat16",
    )


def comparison(*texts: str | None, blind: bool = False) -> Comparison:
    answers = tuple(
        Answer(
            card=card(f"secret{i}"),
            text=text or "",
            state=AnswerState.FAILED if text is None else AnswerState.DONE,
            error="secret0 refuses" if text is None else "",
            stats=AnswerStats(tokens=9, tokens_per_s=3.5, total_s=2, characters=len(text or "")),
        )
        for i, text in enumerate(texts)
    )
    return Comparison(
        messages=(Message(role="user", content="q"),), answers=answers, is_blind=blind, user="u"
    )


def test_the_winner_beats_each_other_answer():
    assert duels(comparison("a", "b", "c"), "2") == [
        Duel(0, 1, Outcome.RIGHT),
        Duel(1, 2, Outcome.LEFT),
    ]


@pytest.mark.parametrize("name", ["2", "teacher:secret1", "secret1"])
def test_a_winner_may_be_named_in_three_ways(name):
    assert duels(comparison("a", "b"), name) == [Duel(0, 1, Outcome.RIGHT)]


@pytest.mark.parametrize("winner", ["tie", "both_bad"])
def test_no_winner_holds_between_all(winner):
    assert duels(comparison("a", "b", "c"), winner) == [
        Duel(0, 1, Outcome(winner)),
        Duel(0, 2, Outcome(winner)),
        Duel(1, 2, Outcome(winner)),
    ]


def test_failed_answers_take_no_part():
    assert duels(comparison("a", None, "c"), "3") == [Duel(0, 2, Outcome.RIGHT)]
    with pytest.raises(InvalidInput):
        duels(comparison("a", None, "c"), "2")
    with pytest.raises(InvalidInput):
        duels(comparison("a", None), "1")
    with pytest.raises(InvalidInput):
        duels(comparison("a", "b"), "5")


def test_equal_words_tie_whatever_was_voted():
    assert duels(comparison("same", "same ", "other"), "1") == [
        Duel(0, 1, Outcome.TIE),
        Duel(0, 2, Outcome.LEFT),
    ]


def test_a_blind_reader_sees_texts_and_nothing_that_tells_who():
    hidden = seen_by(comparison("first", None, "third", blind=True))
    assert [a.text for a in hidden.answers] == ["first", "", "third"]
    assert [a.card.label for a in hidden.answers] == ["Model A", "Model B", "Model C"]
    shown = hidden.model_dump_json()
    assert "secret" not in shown
    assert "bfloat16" not in shown
    assert all(a.stats.tokens_per_s is None and a.stats.tokens == 0 for a in hidden.answers)


def test_after_the_vote_the_names_stand_where_the_texts_stood():
    blind = comparison("first", "second", blind=True)
    voted = blind.model_copy(update={"verdict": Verdict(winner="1", user="u", vote_id="v" * 8)})
    assert seen_by(voted) == voted
    assert masked(blind).answers[1].text == voted.answers[1].text
    assert seen_by(comparison("a", "b")).answers[0].card.label == "secret0"


def test_shuffling_puts_each_model_on_each_side():
    orders = {tuple(shuffled("abc", random.Random(seed))) for seed in range(200)}
    assert len(orders) == 6


def test_the_board_folds_events():
    start = Comparison(
        messages=(Message(role="user", content="q"),),
        answers=empty_answers([card("a"), card("b"), card("c")]),
    )
    board = Board(start)
    stats = AnswerStats(tokens=2)
    for event in [
        Started(0), Piece(0, "he"), Started(1), Piece(0, "llo"), Done(0, stats),
        Failed(1, AnswerStats(), "unreachable", "No connection."),
    ]:  # fmt: skip
        board.take(event)
    assert not board.comparison().is_final
    board.stop()
    answers = board.comparison().answers
    assert [a.state.value for a in answers] == ["done", "failed", "stopped"]
    assert answers[0].text == "hello"
    assert answers[0].stats == stats
    assert answers[1].error == "No connection."
    assert board.comparison().is_final
    assert not board.comparison().is_votable


def test_win_rates_count_ties_as_half_and_pairs_mirror_each_other():
    bouts = [
        Bout(prompt="1", winner="a", loser="b"),
        Bout(prompt="2", winner="a", loser="b"),
        Bout(prompt="3", winner="b", loser="a"),
        Bout(prompt="4", winner="a", loser="b", outcome="tie"),
        Bout(prompt="1", winner="a", loser="c"),
    ]
    rows = {(r.model, r.against): r for r in win_rates(bouts)}
    ab, ba = rows["a", "b"], rows["b", "a"]
    assert (ab.n, ab.wins, ab.ties, ab.losses, ab.rate) == (4, 2, 1, 1, 0.625)
    assert ba.rate == pytest.approx(1 - ab.rate)
    assert rows["a", ""].n == 5
    assert rows["a", ""].prompts == 4
    assert ab.low <= ab.rate <= ab.high
    assert (rows["a", "c"].low, rows["a", "c"].high) == (0.0, 1.0)  # one prompt says nothing
    assert win_rates([]) == []


def test_ten_votes_on_a_prompt_are_not_ten_prompts():
    once = [(str(i), float(i % 2)) for i in range(40)]
    tenfold = [(str(i), float(i % 2)) for i in range(40) for _ in range(10)]
    assert clustered_interval(tenfold) == pytest.approx(clustered_interval(once))


@pytest.mark.parametrize("prompts", [2, 30])
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_where_all_prompts_agree_the_interval_says_what_may_be_unseen(prompts, score):
    low, high = clustered_interval([(str(i), score) for i in range(prompts) for _ in range(3)])
    unseen = binomtest(0, prompts).proportion_ci(0.95, method="exact").high
    assert high - low == pytest.approx(unseen)
    assert 0 <= low <= score <= high <= 1
    one = Bout(prompt="1", winner="a", loser="b")
    best = win_rates([one, one.model_copy(update={"prompt": "2"})])[0]
    assert (best.model, best.rate, best.high) == ("a", 1.0, 1.0)
    assert best.low == pytest.approx(0.158, abs=0.001)  # not "100%, 100 to 100%"


def test_the_interval_is_a_score_test_with_clustered_errors():
    """Its ends are the rates at which |rate - p| is t of the errors expected at p."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(25), rng.integers(1, 6, size=25))
    scores = np.where(rng.random(len(groups)) < 0.2, 0.5, (rng.random(len(groups)) < 0.8) * 1.0)
    fit = sm.OLS(scores, np.ones(len(scores))).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    rate, independent = scores.mean(), scores.mean() * (1 - scores.mean()) / fit.bse[0] ** 2
    t = stats.t.ppf(0.975, 24)

    def gap(p: float) -> float:
        return (rate - p) ** 2 - t**2 * p * (1 - p) / independent

    found = clustered_interval([(str(g), s) for g, s in zip(groups, scores, strict=True)])
    assert found == pytest.approx((brentq(gap, 0, rate), brentq(gap, rate, 1)))
