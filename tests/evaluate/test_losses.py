"""What a student lost, prompt by prompt, and how losses are grouped."""

import numpy as np

from distill_studio.evaluate.losses import Loss, by_topic, by_words, tally, text_vectors


def row(model: str, number: int, score: float | None, topic: str = "") -> dict:
    return {"model": model, "number": number, "score": score, "topic": topic}


def test_tally_compares_means_where_both_answered():
    scores = [
        row("t", 0, 1.0), row("s", 0, 0.0),
        row("t", 1, 0.0), row("s", 1, 1.0),
        row("t", 2, 1.0), row("s", 2, 1.0),
        row("t", 3, 1.0), row("t", 3, 1.0), row("s", 3, 1.0), row("s", 3, 0.0),
        row("t", 4, 1.0), row("s", 4, None),
        row("other", 0, 1.0),
    ]  # fmt: skip
    found = tally(scores, "t", "s")
    assert (found.compared, found.won) == (4, 1)
    assert [(one.number, one.teacher, one.student) for one in found.losses] == [
        (0, 1.0, 0.0),
        (3, 1.0, 0.5),
    ]
    assert tally([], "t", "s").losses == []


def test_groups_are_topics_where_most_losses_have_one():
    losses = [
        Loss(number=n, topic=topic, teacher=1.0, student=score)
        for n, topic, score in [(0, "sums", 0.0), (1, "sums", 0.5), (2, "words", 0.0), (3, "", 0.0)]
    ]
    groups = by_topic(losses)
    assert groups is not None
    assert [(g.name, g.numbers, g.gap) for g in groups] == [
        ("sums", [0, 1], 0.75),
        ("no topic", [3], 1.0),
        ("words", [2], 1.0),
    ]
    bare = [one.model_copy(update={"topic": ""}) for one in losses]
    assert by_topic(bare) is None
    assert [(g.name, g.numbers) for g in by_words(bare, [1, 0, 1, 1], ["a", "b"])] == [
        ("b", [0, 2, 3]),
        ("a", [1]),
    ]


def test_texts_about_the_same_lie_near_each_other():
    texts = ["a train and a bus", "the bus and the train", "apples and pears", "pears or apples"]
    vectors = text_vectors(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2]
    assert near[2, 3] > near[1, 3]
    assert text_vectors(["the", "a"]).shape == (2, 1)
