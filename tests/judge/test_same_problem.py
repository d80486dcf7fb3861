"""Is a prompt a test item in other words: what is asked, and what replies are taken for."""

import pytest

from distill_studio.core.lenient_json import Unreadable
from distill_studio.judge import load_same_problem, read_same_problem, same_problem_request

ITEM, TEXT = "Janet has ~~~ 16 ducks. How many?", "Olga has 23 geese. ${mark} How many?"


def test_the_request_keeps_untrusted_text_between_marks_it_does_not_hold():
    request = same_problem_request("k", ITEM, TEXT, answer="16")
    said = request.messages[-1].content
    assert request.sampling.temperature == 0
    assert ITEM in said
    assert TEXT in said  # and ${mark} in it was not filled in
    assert said.count("~~~~\n") == 6
    assert "Its known answer" in said
    assert "Its known answer" not in same_problem_request("k", ITEM, TEXT).messages[-1].content
    assert load_same_problem().version


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ('{"reason": "other names", "same": "yes"}', "yes"),
        ('```json\n{"reason": "x", "same": "No"}\n```', "no"),
        ('{"same": true}', "yes"),
        ('{"verdict": "unsure", "reason": "?"}', "unsure"),
        ("Yes", "yes"),
        ("**No.**", "no"),
        ("No, they only share a subject. Yes-or-no aside.", "no"),
        ("They differ in the goods. Verdict: no", "no"),
        ("[[yes]]", "yes"),
        ("Not sure.", "unsure"),
        ('{"reason": "cut off in the mid', None),
        ('{"reason": "both", "same": "yes or no"}', None),
        ("The answer is yes or no.", None),
        ("Verdict: yes. Verdict: no.", None),
        ("Geese are birds.", None),
        ("", None),
    ],
)
def test_replies_are_read_or_refused(reply, said):
    if said is None:
        with pytest.raises(Unreadable):
            read_same_problem(reply)
    else:
        assert read_same_problem(reply).said == said


def test_the_reason_is_the_models_own():
    assert read_same_problem('{"reason": "other names", "same": "yes"}').reason == "other names"
    assert read_same_problem("No, other numbers.").reason == "No, other numbers."
