"""Sides by chance, and nothing that tells the two apart."""

import random

from distill_studio.core.records import Message, Pair
from distill_studio.prefer.blind import blind_task, place, reveal


def make_pair(answer: str, teacher: str) -> Pair:
    return Pair(
        seed_id="seed-1",
        messages=(Message(role="user", content="q"),),
        answer=answer,
        teacher=teacher,
        model=f"{teacher}-model",
        source=f"{teacher}.jsonl",
    )


def test_each_side_has_the_same_chance() -> None:
    a, b = make_pair("first", "one"), make_pair("second", "two")
    rng = random.Random(0)
    lefts = sum(place(a, b, rng)[0] is a for _ in range(2000))
    assert 900 < lefts < 1100


def test_a_task_tells_nothing_but_the_texts() -> None:
    a, b = make_pair("first", "one"), make_pair("second", "two")
    sent = blind_task("task-1", a, b).model_dump_json()
    for secret in ("one", "two", "model", "jsonl", "seed-1", a.id, b.id):
        assert secret not in sent
    assert "first" in sent
    assert "second" in sent


def test_a_cut_answer_is_marked_until_a_person_completed_it() -> None:
    whole, cut = (make_pair("a", "one"), make_pair("b", "two"))
    cut = cut.model_copy(update={"finish_reason": "length"})
    task = blind_task("task-1", whole, cut)
    assert (task.is_left_cut, task.is_right_cut) == (False, True)
    mended = cut.model_copy(update={"edited_answer": "b, and the rest."})
    assert not blind_task("task-1", mended, whole).is_left_cut


def test_the_reveal_names_both() -> None:
    told = reveal("task-1", make_pair("a b c", "one"), make_pair("d", "two"))
    assert (told.left.teacher, told.left.words) == ("one (one-model)", 3)
    assert told.right.words == 1
