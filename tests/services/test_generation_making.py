"""A pair's settings and verdicts in words."""

from distill_studio.services.generation_making import facts


def test_settings_and_verdicts_in_words() -> None:
    params = {
        "temperature": 0.7,
        "stop": [],
        "seed": None,
        "from_seed": "x",
        "options": {"count": 5, "keep": "every", "is_strict": False},
        "judged": {"judge": "Big", "reason": "Short, but <b>true</b>.", "scores": {"honesty": 4.0}},
        "list": {"kept": 4, "dropped": [{"place": 5, "rule": "needs_media"}, {"place": 6}]},
    }
    assert list(facts(params)) == [
        ("Temperature", "0.7"),
        ("Count", "5"),
        ("Keep", "every"),
        ("Is strict", "no"),
        ("Judged, judge", "Big"),
        ("Judged, reason", "Short, but <b>true</b>."),
        ("Judged, scores, honesty", "4"),
        ("List, kept", "4"),
        ("List, dropped", "place: 5; rule: about images, sounds, graphs or files\nplace: 6"),
    ]
