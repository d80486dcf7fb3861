"""The table of models against each other, as the arena and the ranking of models show it."""

from distill_studio.agreement.bradley_terry import Strength
from distill_studio.evaluate.wins import Bout, win_rates
from distill_studio.ui.panels.ranking_html import STRENGTH_HEAD, matrix_html, strength_cells


def test_of_two_models_as_well_it_says_how_many_were_won_tied_and_lost():
    bouts = [Bout(prompt=str(i), winner="a", loser="b") for i in range(3)]
    bouts.append(Bout(prompt="3", winner="b", loser="a", outcome="tie"))
    markup = matrix_html(win_rates(bouts), ["a", "b"])
    assert "n 4: 3 / 1 / 0" in markup
    assert "n 4: 0 / 1 / 3" in markup
    assert "<b>88%</b>" in markup
    assert matrix_html([], ["a"]) == ""


def test_names_of_models_are_text():
    evil = "<img src=x onerror=alert(1)>"
    markup = matrix_html(win_rates([Bout(prompt="1", winner=evil, loser="b")]), [evil, "b"])
    assert "<img" not in markup
    assert "onerror=alert(1)&gt;" in markup


def test_why_there_is_no_interval_stands_in_its_cell():
    why = "One prompt only: no <b>interval</b>."
    rows = [
        Strength(model="a", rating=1000, low=1000, high=1000, n=1, prompts=1, why="Anchor."),
        Strength(model="b", rating=990, low=None, high=None, n=1, prompts=1, why=why),
    ]
    first, second = strength_cells(rows, "a")
    place = STRENGTH_HEAD.index("95% interval")
    assert len(first) == len(second) == len(STRENGTH_HEAD)
    assert "fixed" in first[place]
    assert "Anchor." not in "".join(first)
    assert "<small>One prompt only: no &lt;b&gt;interval&lt;/b&gt;.</small>" in second[place]
