"""ROUGE-L as it is defined, against the quick way."""

import re
import threading

from hypothesis import given
from hypothesis import strategies as st

from distill_studio.generate.novelty import Pool

WORDS = ("red", "blue", "green", "fish", "bird", "swims", "flies", "Über", "7")
texts = st.lists(st.sampled_from(WORDS)).map(" ".join)


def rouge_l(a: str, b: str) -> float:
    """F1 over the longest common subsequence of words, by the textbook table."""
    x, y = (re.findall(r"[^\W_]+", text.lower()) for text in (a, b))
    table = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i, left in enumerate(x):
        for j, right in enumerate(y):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
            )
    common = table[-1][-1]
    if not common:
        return 0.0
    precision, recall = common / len(y), common / len(x)
    return 2 * precision * recall / (precision + recall)


@given(st.lists(texts, max_size=6), texts)
def test_the_nearest_is_the_most_like_by_definition(pool: list[str], prompt: str) -> None:
    nearest = Pool(pool).admit(prompt, 0.7)
    scores = [rouge_l(prompt, other) for other in pool if prompt.split() and other.split()]
    best = max(scores, default=0.0)
    if prompt.split():
        assert abs(nearest.score - best) < 1e-9
    assert nearest.is_new == (nearest.score < 0.7 or not prompt.split())
    if nearest.score:
        assert abs(rouge_l(prompt, nearest.text) - best) < 1e-9


def test_a_new_prompt_counts_from_then_on() -> None:
    pool = Pool(["Name three rivers of Europe."])
    assert pool.admit("Write a poem about winter", 0.7).is_new
    again = pool.admit("write a poem about winter!", 0.7)
    assert (again.is_new, again.score, again.text) == (False, 1.0, "Write a poem about winter")
    assert len(pool) == 2


def test_more_words_than_characters_below_the_surrogates() -> None:
    pool = Pool(
        " ".join(f"w{n}" for n in range(start, start + 1000)) for start in range(0, 70_000, 1000)
    )
    near = pool.admit(" ".join(f"w{n}" for n in range(60_000, 61_000)), 0.7)
    assert near.score == 1.0


def test_many_threads_admit_a_prompt_once() -> None:
    pool, new = Pool(), []
    threads = [
        threading.Thread(target=lambda: new.append(pool.admit("the same one", 0.7).is_new))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 1
