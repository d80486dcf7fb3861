"""What the review bench gets of a pair."""

from distill_studio.core.records import Curation, Message, Pair
from distill_studio.review.bench_record import bench_record, hints, provenance_line
from distill_studio.review.reasons import DEFAULT_REASONS


def make_pair(**fields: object) -> Pair:
    return Pair(
        **{"seed_id": "s", "messages": (Message(role="user", content="q"),), "answer": "a"} | fields
    )


def test_provenance_of_a_generated_pair() -> None:
    pair = make_pair(
        teacher="local",
        model="smollm2-135m-instruct",
        recipe="best_of_n",
        recipe_version="2",
        params={"temperature": 0.7, "max_tokens": 99, "stop": ["x"], "seed": True},
        completion_tokens=84,
        latency_ms=2140.0,
    )
    assert provenance_line(pair) == (
        "local · smollm2-135m-instruct · best of n v2 · temperature 0.7 · 84 tokens · 2.1 s"
    )


def test_provenance_of_an_import_and_of_nothing() -> None:
    pair = make_pair(teacher="gpt-4", model="gpt-4", recipe="import", source="file.jsonl")
    assert provenance_line(pair) == "gpt-4 · imported from file.jsonl"
    assert provenance_line(make_pair()) == ""


def test_hints_name_flags_and_never_decide() -> None:
    flagged = make_pair(
        curation=Curation.DUPLICATE, curation_reason="0.97 to abc", finish_reason="length"
    )
    assert hints(flagged) == ("Near-duplicate: 0.97 to abc", "Cut off at the token limit")
    assert hints(make_pair(answer=" ", curation="filtered")) == (
        "Filtered out",
        "The answer is empty",
    )
    assert bench_record(flagged, candidates=3).status == "pending"
    assert hints(make_pair()) == ()


def test_suggestions_are_told_and_never_decide() -> None:
    judged = make_pair(params={"judged": {"reason": "x" * 900}}, judge_score=2.0)
    failed = bench_record(judged, checked=(False, "says 42, not 41"))
    assert (failed.verdict, failed.verdict_note) == ("fails", "says 42, not 41")
    assert failed.suggested_reason in DEFAULT_REASONS
    assert failed.judge_words == "x" * 400
    assert failed.status == "pending"
    passed = bench_record(make_pair(finish_reason="length"), checked=(True, ""))
    assert passed.verdict == "passes"
    assert passed.suggested_reason in DEFAULT_REASONS
    assert passed.suggested_reason != failed.suggested_reason
    plain = bench_record(make_pair(params={"judged": "no mapping"}))
    assert (plain.verdict, plain.judge_words, plain.suggested_reason) == ("", "", "")


def test_a_verdict_says_nothing_of_an_edit() -> None:
    edited = make_pair(edited_answer="mended")
    assert bench_record(edited, checked=(False, "wrong")).verdict == ""
    assert bench_record(edited, checked=(False, "wrong")).suggested_reason == ""
