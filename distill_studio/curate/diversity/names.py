"""Names for clusters from their texts: class-based TF-IDF.

All texts of a cluster count as one document; a term's weight is its share of the cluster's words
times log(1 + A / f), f its count in all clusters, A the average words per cluster (BERTopic,
Grootendorst 2022, arXiv:2203.05794, section 3.3).
"""

import math
from collections import Counter
from collections.abc import Sequence

from distill_studio.core.words import words

TERMS = 8  # kept per cluster
_NAME_TERMS = 3
_WORDS_A_TEXT = 300
# In whatever language, a word says nothing that more than half of the clusters have in at least
# this share of their texts.
_COMMON = 0.1
_STOP_WORDS = """
a about above after all also am an and another any are as at be because been before being
below between both but by can could did do does doing don down each else etc few for from give
had has have having he her here hers him his how i if in into is it its itself just let like
make many may me might more most much must my no nor not now of off on once one only or other
our out over please same she should so some such than that the their them then there these
they this those through to too under until up us use used using very was we well were what when
where which while who whom why will with would you your yours ll ve re isn doesn didn t s m d
yes ok write tell explain show find need want know get got go first two three help question
answer following given"""
_STOP = frozenset(_STOP_WORDS.split())


def cluster_terms(
    texts: Sequence[str], labels: Sequence[int], count: int
) -> list[list[tuple[str, float]]]:
    """For each of `count` clusters its terms with their weights, the weightiest first.

    Args:
        texts: One per row.
        labels: The cluster of each.
        count: How many clusters there are.
    """
    by_cluster: list[Counter[str]] = [Counter() for _ in range(count)]
    rows_with: list[Counter[str]] = [Counter() for _ in range(count)]
    for text, label in zip(texts, labels, strict=True):
        found = [w for w in words(text)[:_WORDS_A_TEXT] if _says_something(w)]
        by_cluster[label].update(found)
        rows_with[label].update(set(found))
    total: Counter[str] = Counter()
    for counted in by_cluster:
        total.update(counted)
    average = sum(total.values()) / max(1, count)
    sizes = Counter(labels)
    common = _common_words(rows_with, sizes)
    found_terms = []
    for number, (counted, rows) in enumerate(zip(by_cluster, rows_with, strict=True)):
        least = 2 if sizes[number] >= 5 else 1
        all_words = sum(counted.values()) or 1
        weights = {
            word: n / all_words * math.log(1 + average / total[word])
            for word, n in counted.items()
            if rows[word] >= least and word not in common
        }
        ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
        found_terms.append(_without_variants(ranked)[:TERMS])
    return found_terms


def name_of(terms: Sequence[tuple[str, float]], number: int) -> str:
    """A name from a cluster's first terms."""
    chosen = ", ".join(term for term, _ in terms[:_NAME_TERMS])
    return chosen or f"topic {number + 1}"


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names, equal ones told apart by a number."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made


def _common_words(rows_with: Sequence[Counter[str]], sizes: Counter[int]) -> set[str]:
    """Words that set no cluster apart."""
    if len(rows_with) < 3:
        return set()
    often: Counter[str] = Counter()
    for number, rows in enumerate(rows_with):
        often.update(word for word, n in rows.items() if n >= _COMMON * sizes[number])
    return {word for word, n in often.items() if n > len(rows_with) / 2}


def _says_something(word: str) -> bool:
    if word in _STOP or word.isdigit():
        return False
    return len(word) > 2 or ord(word[0]) > 0x2E80


def _without_variants(ranked: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The terms without those that another one only lengthens: poem, poems."""
    kept: list[tuple[str, float]] = []
    for word, weight in ranked[: TERMS * 3]:
        if not any(_is_variant(word, other) for other, _ in kept):
            kept.append((word, weight))
    return kept


def _is_variant(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    return len(short) > 2 and long.startswith(short) and len(long) - len(short) <= 2
