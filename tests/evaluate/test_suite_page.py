"""The page of an evaluation, and the picture of score and size."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest

from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.seed import Message
from distill_studio.core.records.suite import Suite, SuiteAnswer, SuiteItem, SuiteScorer, Trial
from distill_studio.evaluate.losses import LossGroup
from distill_studio.evaluate.size_picture import band_for, picture
from distill_studio.evaluate.standings import standings
from distill_studio.evaluate.suite_page import LostBy, ShownPrompt, SuiteReport, suite_page

EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(1)>"
TEACHER = ModelCard(
    id="teacher:big", label=f"big {EVIL}", role=ModelRole.TEACHER, parameters=7_000_000_000
)
STUDENT = ModelCard(
    id="student:small", label="small", role=ModelRole.STUDENT, parameters=700_000_000
)


def scores() -> list[dict]:
    return [
        {
            "model": card.id, "number": n, "sample": 0, "score": float(n % every != 0),
            "is_cut": False, "tokens": 5, "latency_ms": 20.0, "topic": f"t{n % 2} {EVIL}",
            "choices": 0,
        }
        for card, every in ((TEACHER, 10), (STUDENT, 3))
        for n in range(30)
    ]  # fmt: skip


@pytest.fixture
def report() -> SuiteReport:
    suite = Suite(name=f"exam {EVIL}", scorer=SuiteScorer.EXACT, source=EVIL, item_count=30)
    item = SuiteItem(number=0, messages=(Message(role="user", content=EVIL),), reference=EVIL)
    answers = [SuiteAnswer(model=TEACHER.id, number=0, answer=EVIL, score=1.0, reason=EVIL)]
    return SuiteReport(
        suite=suite,
        trial=Trial(suite_id=suite.id, models=(TEACHER, STUDENT), user=EVIL),
        standings=standings((TEACHER, STUDENT), scores()),
        lost=[LostBy(label="small", compared=30, lost=9, won=2, groups=[
            LossGroup(name=EVIL, numbers=[1, 2], gap=1.0)])],
        examples=[ShownPrompt(item=item, answers=answers)],
        made_at=datetime(2026, 1, 2, tzinfo=UTC),
        version="0.1.0",
    )  # fmt: skip


def test_the_page_stands_alone_and_holds_texts_as_text(report):
    html = suite_page(report)
    assert "<script" not in html
    assert "<img" not in html
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html
    assert "small keeps 74.1% of the teacher" in html  # 20 of 30 by 27 of 30
    assert "Of 30 prompts that both answered, worse on 9, better on 2." in html
    assert "Reported for 70B to 7B" in html
    assert "95 to 100%, as reported for ensemble to one (the whole width)" in html


def test_bands_are_those_of_the_nearest_ratio():
    assert band_for(7_000_000_000, 700_000_000).example == "70B to 7B"
    assert band_for(70_000_000_000, 1_500_000_000).example == "70B to 1.5B"
    assert band_for(400_000_000_000, 7_000_000_000).example == "400B to 7B"
    assert band_for(135_000_000, 120_000_000) is None  # too near for any report
    assert band_for(None, 5) is None


def test_the_picture_is_an_svg_with_each_model(report):
    drawn = ET.fromstring(picture(report.standings))
    circles = [one for one in drawn.iter() if one.tag.endswith("circle")]
    assert len(circles) == 2
    teacher, student = sorted(circles, key=lambda c: float(c.get("cx", 0)), reverse=True)
    assert float(teacher.get("cy", 0)) < float(student.get("cy", 0))  # higher is better
    (ensemble,) = [one for one in drawn.iter() if one.get("class") == "ev-ensemble"]
    assert float(ensemble.get("width", 0)) > 500  # of any size: over the whole width
    assert "ensemble to one: 95 to 100%" in "".join(drawn.itertext())
    assert picture(standings((TEACHER,), scores())) == ""


def test_agreement_is_told_as_what_it_is(report):
    figures = {TEACHER.id: (1.0, 0.0), STUDENT.id: (0.8, 0.25)}
    rows = [
        row | {"score": figures[row["model"]][0], "kl": figures[row["model"]][1] * (1 + n % 2),
               "loss": None if n % 3 else 1.5}
        for n, row in enumerate(scores())
    ]  # fmt: skip
    found = standings((TEACHER, STUDENT), rows)
    assert found.rows[1].kl.value == pytest.approx(0.375)
    assert (found.rows[1].loss.value, found.rows[1].loss.n) == (1.5, 10)
    suite = report.suite.model_copy(update={"scorer": SuiteScorer.AGREEMENT})
    html = suite_page(report.model_copy(update={"standings": found, "suite": suite}))
    assert "small finds the teacher&#x27;s likeliest token the likeliest in 80.0% of places" in html
    assert "0.375 (0.328 to 0.422)" in html
    assert "Quality retained</th>" not in html
    assert "KL(teacher || model), are means over a text" in html


def test_the_judge_and_its_rubric_are_in_the_page(report):
    trial = report.trial.model_copy(
        update={
            "judge": f"judge {EVIL}", "judge_model": "j-1", "judge_warning": f"kin {EVIL}",
            "rubric": {"label": "Marks", "version": "7", "prompt": f"Mark it.\n{EVIL}"},
        }
    )  # fmt: skip
    broken = SuiteAnswer(model=TEACHER.id, number=0, error="No marks.", judged=f"Well {EVIL}")
    shown = ShownPrompt(item=report.examples[0].item, answers=[broken])
    html = suite_page(report.model_copy(update={"trial": trial, "examples": [shown]}))
    assert "<script" not in html
    assert "<img" not in html
    for said in (
        "(j-1)",
        "Marks, version 7",
        "kin &lt;/title",
        "Mark it.",
        "No marks. It wrote: Well",
    ):
        assert said in html
