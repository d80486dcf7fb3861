"""What the panes and lists show, hostile text included."""

import threading
from collections import OrderedDict

import pytest

from distill_studio.core.records import Message
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    AnswerStats,
    Comparison,
    CostKind,
    ModelCard,
    ModelRole,
    Verdict,
)
from distill_studio.evaluate.blind import seen_by
from distill_studio.services.evaluate import HeldOut
from distill_studio.ui.panels.compare_events import (
    CompareEvents,
    _packed,
    pane_updates,
    vote_updates,
)
from distill_studio.ui.panels.comparisons import (
    held_out_html,
    history_html,
    set_html,
)
from distill_studio.ui.panels.side_by_side import panes_html, parameters

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>[x](javascript:alert(3)) ${7*7}"


def card(name: str, role: ModelRole = ModelRole.STUDENT) -> ModelCard:
    return ModelCard(
        id=f"{role}:{name}", label=name, role=role, parameters=134_515_008, size_bytes=269_000_000,
        dtype="bfloat16",
    )  # fmt: skip


def comparison(*answers: Answer, prompt: str = "q", winner: str = "") -> Comparison:
    verdict = Verdict(winner=winner, user="u", vote_id="v" * 8) if winner else None
    return Comparison(
        messages=(Message(role="user", content=prompt),), answers=answers, verdict=verdict
    )


def done(name: str, text: str) -> Answer:
    stats = AnswerStats(
        tokens=20, is_exact=True, tokens_per_s=12.34, first_token_s=0.5, total_s=2.0,
        characters=len(text),
    )  # fmt: skip
    return Answer(card=card(name), text=text, state=AnswerState.DONE, stats=stats)


@pytest.mark.parametrize("state", list(AnswerState))
@pytest.mark.parametrize("length", [1, 200])
def test_hostile_text_is_shown_and_does_nothing(state, length):
    text = EVIL * length
    evil = Answer(card=card(EVIL), text=text, state=state, error=EVIL, error_code="x")
    shown = comparison(evil, done("b", "fine"), prompt=EVIL)
    for markup in (
        panes_html(shown), history_html([shown], EVIL), set_html([shown], EVIL),
        held_out_html([HeldOut(run=EVIL, method="sft", base=EVIL, before=1.0, after=0.5)]),
    ):  # fmt: skip
        assert "<img" not in markup
        assert "<script" not in markup
        assert 'href="javascript' not in markup
        assert "onerror=alert(1)&gt;" in markup  # the text itself is there to be read


def test_a_pane_tells_who_how_fast_and_how_big():
    markup = panes_html(comparison(done("first-run", "Hi **there**"), done("b", "x"), winner="1"))
    for fact in ("12.3", "0.50 s", "2.0 s", "135M", "269.0 MB", "bfloat16", "student"):
        assert fact in markup
    assert "<strong>there</strong>" in markup
    assert markup.count("ev-winner") == markup.count("preferred") == 1
    assert 'aria-busy="false"' in markup


def test_a_cut_answer_has_the_mark_that_review_gives_it():
    cut = done("a", "One\nTwo").model_copy(update={"is_cut": True})
    assert panes_html(comparison(cut, done("b", "y"))).count("Cut off at the token limit") == 1
    assert "One<br>" in panes_html(comparison(cut, done("b", "y")))


def test_unknown_figures_are_left_out():
    bare = Answer(card=ModelCard(id="", label="Model A"), state=AnswerState.WAITING)
    markup = panes_html(comparison(bare, bare))
    assert "getting ready" in markup
    assert "ev-fact" not in markup
    assert 'aria-busy="true"' in markup


def costing(name: str, **fields: object) -> Answer:
    answer = done(name, "x")
    return answer.model_copy(update={"stats": answer.stats.model_copy(update=fields)})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cost": CostKind.FREE, "cost_usd": 0.0}, "<b>free</b> to ask"),
        ({"cost": CostKind.UNKNOWN}, "<b>cost unknown</b> (no price is given)"),
        ({"cost": CostKind.KNOWN, "cost_usd": 0.0123}, "<b>about $0.01</b> to ask"),
        (
            {"cost": CostKind.KNOWN, "cost_usd": 0.000042, "prompt_tokens": 9},
            "<b>$0.000042</b> to ask",
        ),
    ],
)
def test_a_pane_tells_what_the_answer_cost(fields, words):
    assert words in panes_html(comparison(costing("a", **fields), done("b", "y")))


def test_a_set_tells_the_mean_cost():
    dear = [costing("a", cost=CostKind.KNOWN, cost_usd=usd) for usd in (0.02, 0.04)]
    riddle = costing("b", cost=CostKind.UNKNOWN)
    local = costing("c", cost=CostKind.FREE, cost_usd=0.0)
    markup = set_html([comparison(one, riddle, local) for one in dear], "main")
    means = markup[markup.index("Mean cost") :]
    assert [cell in means for cell in ("$0.03", "unknown", "free")] == [True] * 3


def test_pieces_are_not_called_tokens():
    answer = done("a", "x").model_copy(update={"stats": AnswerStats(tokens=5, tokens_per_s=2.0)})
    markup = panes_html(comparison(answer, done("b", "y")))
    assert "pieces/s" in markup


@pytest.mark.parametrize(
    ("count", "words"), [(999, "999"), (1_500, "1.5k"), (134_515_008, "135M"), (1.7e9, "1.7B")]
)
def test_parameters_in_words(count, words):
    assert parameters(int(count)) == words


@pytest.mark.parametrize("voted", [[0], [1], [0, 1]])
def test_a_partly_voted_blind_set_shows_every_answer(voted):
    """Names stand in the rows that were voted on; the order is another one in each row."""
    rows = [
        comparison(done("big", "from big 0"), done("small", "from small 0"), prompt="p0"),
        comparison(done("small", "from small 1"), done("big", "from big 1"), prompt="p1"),
    ]
    verdict = Verdict(winner="1", user="u", vote_id="v" * 8)
    seen = [
        seen_by(c.model_copy(update={"is_blind": True, "verdict": verdict if n in voted else None}))
        for n, c in enumerate(rows)
    ]
    markup = set_html(seen, "main")
    for n in (0, 1):
        row = markup[markup.index(f"p{n}</a>") :]
        row = row[: row.index("</tr>")]
        assert f"from big {n}" in row
        assert f"from small {n}" in row
        assert ("big</span>" in row) == (n in voted) or len(voted) == 2
    assert (">big</th>" in markup) == (len(voted) == 2)
    assert ("Answer 1" in markup) == (len(voted) == 1)


def test_vote_buttons_follow_what_is_in_view():
    failed = Answer(card=card("broken"), state=AnswerState.FAILED, error="no")
    updates = vote_updates(comparison(done("a", "x"), failed, done("c", "z")))
    shown = [u["visible"] for u in map(as_dict, updates[:6])]
    assert shown == [True, True, True, False, True, True]
    assert [as_dict(u)["interactive"] for u in updates[:3]] == [True, False, True]
    assert not any(as_dict(u)["visible"] for u in vote_updates(None)[:6])
    assert not any(
        as_dict(u)["visible"] for u in vote_updates(comparison(done("a", "x"), failed))[:6]
    )


def test_held_out_line():
    figures = HeldOut(run="r", method="sft", base="smol", before=1.909, after=1.767)
    assert "1.909 → 1.767" in held_out_html([figures])
    assert held_out_html([HeldOut(run="r", method="sft")]) == ""


def as_dict(button) -> dict:
    return button if isinstance(button, dict) else {
        "visible": button.visible, "interactive": button.interactive, "value": button.value
    }  # fmt: skip


def test_a_held_out_conversation_comes_back_as_it_was_packed():
    turns = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Ünïcode 😀 \"quoted\"\nline"),
    ]  # fmt: skip
    prompt, kept, view, fresh = CompareEvents.on_example(None, _packed(turns))
    assert prompt == turns[1].content
    assert kept == [turns[0].model_dump()]
    assert "Be brief." in view
    assert as_dict(fresh)["visible"]


class Page:
    """A request as far as the tab's filling looks at it."""

    def __init__(self, session_hash: str):
        self.session_hash = session_hash


def test_only_the_first_filling_of_a_page_may_choose_models():
    events = object.__new__(CompareEvents)
    events._greeted, events._guard = OrderedDict(), threading.Lock()
    first, other = Page("a"), Page("b")
    assert events._is_first(first, "main")
    events._greet(first, "main")
    assert not events._is_first(first, "main")
    assert events._is_first(other, "main")
    assert events._is_first(first, "demo")
    events._greet(first, "demo")
    assert not events._is_first(first, "demo")


def test_differences_are_marked_against_the_chosen_answer():
    shown = comparison(
        done("a", "the red <b>car</b>"), done("b", "the blue <b>car</b>"), done("c", EVIL)
    )
    first, second, third = panes_html(shown, against=1).split("<article")[1:]
    assert "compared with" in first
    assert "the red &lt;b&gt;car&lt;/b&gt;" in first  # its own words, unmarked beside several
    assert "the <ins>blue</ins> &lt;b&gt;car" in second
    assert "<img" not in third
    assert "<script" not in third
    assert "<del>" not in first + second + third
    first, second, _ = panes_html(shown, against=2).split("<article")[1:]
    assert "the <ins>red</ins> " in first
    assert "compared with" in second
    assert "<ins>" not in panes_html(shown)


def test_two_answers_are_both_marked_and_none_while_one_writes():
    two = comparison(done("a", "the red car"), done("b", "the blue car"))
    left, right = panes_html(two, against=1).split("<article")[1:]
    assert "the <del>red</del> car" in left
    assert "the <ins>blue</ins> car" in right
    writing = done("b", "the blue").model_copy(update={"state": AnswerState.WRITING})
    assert "<ins>" not in panes_html(comparison(done("a", "the red car"), writing), against=1)


def test_what_lies_beyond_the_compared_words_is_shown_unmarked(monkeypatch):
    monkeypatch.setattr("distill_studio.curate.diff.MAX_PIECES", 3)
    two = comparison(done("a", "one two three four"), done("b", "one 2 three <four>"))
    left, right = panes_html(two, against=1).split("<article")[1:]
    assert "one <del>two</del> three four</div>" in left
    assert "one <ins>2</ins> three &lt;four&gt;</div>" in right
    assert "were compared" in right


def test_the_answers_to_compare_with_are_those_in_view():
    two = comparison(done("a", "x"), done("b", "y"))
    markup, row, against = pane_updates(two, True, "4")
    assert "compared with" in markup
    assert row.visible
    assert (against.value, against.choices) == ("1", [("1  a", "1"), ("2  b", "2")])
    assert not pane_updates(two, False, "2")[2].visible
    assert not pane_updates(None, True, "1")[1].visible


def shown_buttons(*answers: Answer, winner: str = "") -> tuple[str, str]:
    """The labels of the vote buttons in view, and the line under them."""
    *buttons, _, said = vote_updates(comparison(*answers, winner=winner))
    labels = [as_dict(one)["value"] for one in buttons if as_dict(one)["visible"]]
    return ", ".join(labels), said


def test_only_a_tie_is_offered_where_all_answers_are_the_same():
    labels, said = shown_buttons(done("a", "Same."), done("b", " Same.\n"))
    assert labels == "T  Tie"
    assert "Both answers are the same: a vote would count as a tie." in said
    assert "Which answer is better" not in said
    failed = Answer(card=card("c"), state=AnswerState.FAILED, error="no")
    labels, said = shown_buttons(done("a", "Same."), done("b", "Same."), failed)
    assert labels == "T  Tie"
    assert "All complete answers are the same" in said


def test_where_some_answers_are_the_same_a_vote_between_them_is_a_tie():
    labels, said = shown_buttons(done("a", "x"), done("b", "y"), done("c", "x"), done("d", "y"))
    assert labels == "1  a, 2  b, 3  c, 4  d, T  Tie, B  All bad"
    assert "Answers 1 and 3 are the same: between them a vote counts as a tie." in said
    assert "Answers 2 and 4 are the same" in said
    assert "Which answer is better" in said
    assert "same" not in shown_buttons(done("a", "x"), done("b", "y"))[1]


def test_an_old_vote_for_one_of_two_equal_answers_is_shown_as_the_tie_that_it_is():
    voted = comparison(done("a", "Same."), done("b", "Same."), winner="1")
    assert "preferred" not in panes_html(voted)
    assert "<td>tie</td>" in history_html([voted], "main")
    assert "Both answers are the same: your vote counts as a tie." in vote_updates(voted)[-1]
    assert not as_dict(vote_updates(voted)[-2])["visible"]  # nothing to continue from
    assert "preferred" in panes_html(comparison(done("a", "x"), done("b", "x"), done("c", "y"),
                                                winner="1"))  # fmt: skip
