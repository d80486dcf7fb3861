from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import AskedTotals, Job, JobState, Message, Pair, TeacherKind
from distill_studio.services.teacher_costs import TeacherPrice
from distill_studio.services.teacher_testing import TeacherTest, UrlTest
from distill_studio.ui.panels.generation_html import asked_html, count_html, preview_html
from distill_studio.ui.panels.generation_live import live_html, replies_html
from distill_studio.ui.panels.teacher_form import outcome_html, teacher_from
from distill_studio.ui.panels.teacher_limits import limit_values, price_words
from distill_studio.ui.tabs.generate import asked

HOSTILE = "<img src=x onerror=alert(1)> ${7*7} {{value}}"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;"


def test_text_of_models_and_servers_is_escaped() -> None:
    pair = Pair(
        seed_id="s",
        messages=(Message(role="user", content=HOSTILE),),
        answer=HOSTILE,
        teacher=HOSTILE,
        finish_reason="length",
    )
    job = Job(kind="generate", title=HOSTILE, user="u", state=JobState.FAILED, error=HOSTILE)
    reasons = [{"teacher": HOSTILE, "code": "x", "reason": HOSTILE, "count": 3, "text": HOSTILE}]
    hostile_url = UrlTest(url=HOSTILE, ok=False, message=HOSTILE, hint=HOSTILE)
    for html in (
        replies_html([pair], "<b>"),
        live_html(job, reasons),
        outcome_html(TeacherTest(ok=True, message=HOSTILE, sample=HOSTILE)),
        outcome_html(TeacherTest(ok=False, message=HOSTILE, hint=HOSTILE)),
        outcome_html(
            TeacherTest(ok=True, message="2 of 2", sample=HOSTILE, urls=(hostile_url, hostile_url))
        ),
        preview_html({"model": HOSTILE, "messages": []}),
        preview_html({"method": "POST", "url": HOSTILE, "headers": {}, "body": {"m": HOSTILE}}),
    ):
        assert "<img" not in html
        assert ESCAPED in html
    assert "cut off" in replies_html([pair], "<b>")


def test_the_test_of_several_addresses_tells_each() -> None:
    well = UrlTest(url="http://a/v1", ok=True, message="m answers.", latency_ms=12.4)
    dead = UrlTest(url="http://b/v1", ok=False, message="Nobody there.", hint="Start it.")
    result = TeacherTest(ok=True, message="1 of 2 addresses answers.", urls=(well, dead))
    html = outcome_html(result)
    assert "works in part" in html
    assert html.index("http://a/v1") < html.index("12 ms") < html.index("http://b/v1")
    assert "Nobody there. Start it." in html
    assert "in part" not in outcome_html(result.model_copy(update={"urls": (well, well)}))
    assert "no answer" in outcome_html(result.model_copy(update={"ok": False}))
    alone = outcome_html(TeacherTest(ok=True, message="m answers.", urls=(well,)))
    assert "http://a/v1" not in alone


def test_a_verified_recipe_speaks_of_verifying() -> None:
    result = {"answered": 3, "failed": 5}
    reasons = [{"teacher": "T", "code": "x", "reason": "no loop", "count": 5, "text": ""}]
    jobs = [Job(kind="generate", user="u", params={"recipe": r}, result=result) for r in
            ("verified", "direct")]  # fmt: skip
    verified, direct = (live_html(job, reasons) for job in jobs)
    assert "<b>3</b>verified" in verified
    assert "<b>5</b>not kept" in verified
    assert "<b>3</b>answered" in direct


def test_counts_in_words() -> None:
    counts = {"seeds": 40, "matching": 40, "unanswered": 24, "chosen": 24}
    assert "<b>24</b> of 40 seeds have no answer. That makes 48 requests." in count_html(
        counts, 48, True
    )
    assert "The oldest 5 are asked. That makes 5 requests" in count_html(
        counts | {"chosen": 5}, 5, True
    )
    one = {"seeds": 1, "matching": 1, "unanswered": 1, "chosen": 1}
    assert "<b>1</b> of 1 seed has no answer. That makes 1 request." in count_html(one, 1, True)
    none = counts | {"unanswered": 0, "chosen": 0}
    assert "None of 40 seeds is left" in count_html(none, 0, True)
    assert "<b>40 seeds</b>, answered or not." in count_html(counts | {"chosen": 40}, 0, False)


def test_empty_fields_have_a_meaning() -> None:
    given = asked(
        *([], "direct", None, 0.7, None, 0.9, None, None, None, None, None, None, None, True),
        *(None, None, None),
    )
    assert given.sampling.max_tokens == 256
    assert given.sampling.seed == 0
    assert given.seeds.limit == 0
    given = asked(
        *(["T"], "direct", 2, 1, 9, 1, 3, "a\n\nb", "s", "t", "f", "q", 4, False),
        *(2, 5, "J"),
    )
    assert (given.examples, given.sampling.top_logprobs, given.judge) == (2, 5, "J")
    assert given.sampling.stop == ("a", "b")
    assert (given.seeds.search, given.seeds.limit, given.n) == ("q", 4, 2)


@pytest.mark.parametrize(
    ("place", "value", "label"),
    [(4, -5, "Longest answer"), (12, -1, "At most")],
)
def test_a_number_out_of_bounds_is_told_by_its_field(place: int, value: int, label: str) -> None:
    given: list[Any] = [["T"], "direct", 2, 1, 9, 1, 3, "", "", "", "", "", 4, False, 2, 5, "J"]
    given[place] = value
    with pytest.raises(InvalidInput, match=rf"^{label}: Input should be greater than"):
        asked(*given)


def test_without_an_address_the_model_runs_here() -> None:
    here = teacher_from("", " my/model ", "", "", 8, 120, "")
    assert (here.kind, here.name, here.model) == (TeacherKind.LOCAL, "my/model", "my/model")
    there = teacher_from("T", "m", "http://h/v1", "KEY", 3, 9, "free")
    assert (there.kind, there.concurrency, there.licence_note) == (TeacherKind.OPENAI, 3, "free")
    with pytest.raises(InvalidInput, match="No model"):
        teacher_from("T", " ", "http://h/v1", "", 8, 120, "")


def test_limits_and_prices_come_back_as_they_went_in() -> None:
    given = ("http://a/v1\n\n http://b/v1 ", 60, 0, 2.5, "0,4", " 0 ")
    teacher = teacher_from("T", "m", "http://h/v1", "", 8, 120, "", *given)
    assert teacher.base_urls == ("http://a/v1", "http://b/v1")
    assert (teacher.requests_per_min, teacher.spend_limit_usd) == (60, 2.5)
    assert (teacher.price_in, teacher.price_out) == (0.4, 0.0)
    assert limit_values(teacher) == ("http://a/v1\nhttp://b/v1", 60, 0, 2.5, "0.4", "0")
    empty = teacher_from("T", "m", "http://h/v1", "", 8, 120, "", *[None] * 6)
    assert limit_values(empty) == ("", 0, 0, 0.0, "", "")
    for wrong in ("cheap", "-1", "inf", "nan"):
        with pytest.raises(InvalidInput, match="no price"):
            teacher_from("T", "m", "http://h/v1", "", 8, 120, "", "", 0, 0, 0, wrong, "1")


def test_a_price_is_told_in_words() -> None:
    known = TeacherPrice(
        teacher="T", is_known=True, usd_in=0.4, usd_out=1.6, source="https://p/", as_of="2026-06-21"
    )
    assert price_words(known) == (
        "It costs 0.4 USD per million tokens read and 1.6 written (https://p/, 2026-06-21)."
    )
    free = TeacherPrice(teacher="T", is_known=True, usd_in=0.0, usd_out=0.0, source="here")
    assert "nothing" in price_words(free)
    assert "not known" in price_words(TeacherPrice(teacher="T", is_known=False))


def test_what_was_asked_says_for_what() -> None:
    one = AskedTotals(teacher="T", requests=7)
    assert "Requests for" not in asked_html([one])
    kinds = {"generate": 2, "suite": 9, "generate_local": 1, HOSTILE: 1}
    html = asked_html([one.model_copy(update={"kinds": kinds})])
    assert f"suites 9, generation 3, {ESCAPED}" in html
    assert HOSTILE not in html
