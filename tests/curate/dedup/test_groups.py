"""Keep-first groups: a representative survives, and people have the last word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.curate.dedup.groups import Contender, Edges, Verdict, keep_first, verdict_on


def edges(*pairs):
    a, b, s = zip(*pairs, strict=True) if pairs else ((), (), ())
    return Edges(np.array(a, np.int64), np.array(b, np.int64), np.array(s, float))


def row(name, unit=-1, seed="", key="", protected=False):
    return Contender(name, seed or f"seed-{name}", unit, key, protected)


def lost(outcome):
    return {x.id: x.to for x in outcome.removed}


def test_the_first_stands_for_its_neighbours_but_not_for_theirs():
    rows = [row("a", 0), row("b", 1), row("c", 2)]
    outcome = keep_first(rows, edges((0, 1, 0.95), (1, 2, 0.95)))
    assert lost(outcome) == {"b": "a"}  # c is like b only, and b is gone


def test_the_most_alike_kept_row_is_named():
    rows = [row("a", 0), row("b", 1), row("c", 2)]
    outcome = keep_first(rows, edges((0, 2, 0.91), (1, 2, 0.97)))
    assert outcome.removed[0].to == "b"
    assert outcome.removed[0].similarity == 0.97


def test_equal_texts_need_no_vectors():
    outcome = keep_first([row("a", key="k"), row("b", key="k"), row("c", key="other")], edges())
    assert lost(outcome) == {"b": "a"}
    assert outcome.removed[0].is_exact


def test_rows_of_one_unit_are_equal():
    assert lost(keep_first([row("a", 4), row("b", 4)], edges())) == {"b": "a"}


def test_candidates_of_one_seed_never_stand_for_each_other():
    rows = [row("a", 0, "s"), row("b", 1, "s"), row("c", 2, "t"), row("d", 3, "u")]
    near = edges((0, 1, 0.99), (1, 2, 0.95), (0, 3, 0.93), (1, 3, 0.92))
    assert lost(keep_first(rows, near)) == {"c": "b", "d": "a"}
    first = [rows[3], rows[0], rows[1]]
    assert lost(keep_first(first, near)) == {"a": "d", "b": "d"}, "but others do for both"


def test_exact_copies_of_one_seed_go_unless_prompts_are_compared():
    rows = [row("a", 0, "s"), row("b", 0, "s"), row("c", 1, "t")]
    near = edges((0, 1, 0.95))
    assert lost(keep_first(rows, near, spare_copies=True)) == {"c": "a"}
    assert lost(keep_first(rows, near)) == {"b": "a", "c": "a"}


def test_an_accepted_row_is_a_conflict_and_stands_for_nobody_until_settled():
    rows = [row("a", 0, protected=True), row("b", 1, protected=True), row("c", 2)]
    near = edges((0, 1, 0.95), (1, 2, 0.95))
    outcome = keep_first(rows, near)
    assert not outcome.removed
    assert [(x.id, x.to) for x in outcome.conflicts] == [("b", "a")]

    both = keep_first(rows, near, verdicts={("a", "b"): Verdict.KEEP_BOTH})
    assert not both.conflicts
    assert lost(both) == {"c": "b"}

    other = keep_first(rows, near, verdicts={("a", "b"): Verdict.KEEP_A})
    assert lost(other) == {"b": "a"}
    assert lost(keep_first(rows, near, remove_protected=True)) == {"b": "a"}


def test_keep_the_other_turns_the_order_round():
    rows = [row("a", 0), row("b", 1)]
    outcome = keep_first(rows, edges((0, 1, 0.95)), verdicts={("a", "b"): Verdict.KEEP_B})
    assert lost(outcome) == {"a": "b"}


def test_contradicting_verdicts_still_keep_one():
    rows = [row("a", 0), row("b", 1), row("c", 2)]
    verdicts = {
        ("a", "b"): Verdict.KEEP_A,
        ("b", "c"): Verdict.KEEP_A,
        ("a", "c"): Verdict.KEEP_B,
    }
    outcome = keep_first(rows, edges((0, 1, 0.9), (1, 2, 0.9), (0, 2, 0.9)), verdicts=verdicts)
    assert len(outcome.removed) == 2


def test_of_two_choices_of_a_person_the_first_kept_stands_whatever_the_order_of_pairs():
    rows = [row("r00", unit=2), row("r01", unit=3), row("r02", unit=0)]
    verdicts = {("r00", "r01"): Verdict.KEEP_A, ("r01", "r02"): Verdict.KEEP_B}
    pairs = [(2, 3, 0.9), (0, 3, 0.9)]
    for order in (pairs, pairs[::-1]):
        [lost] = keep_first(rows, edges(*order), verdicts=verdicts).removed
        assert (lost.id, lost.to) == ("r01", "r00")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_reads_the_same_from_both_sides(verdict):
    said = {("a", "b"): verdict}
    turned = {"keep_a": "keep_b", "keep_b": "keep_a"}.get(verdict, verdict)
    assert verdict_on(said, "a", "b") == verdict
    assert verdict_on(said, "b", "a") == turned


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 25))
    rows = [
        row(
            f"r{k:02d}",
            unit=draw(st.integers(-1, n - 1)),
            seed=f"s{draw(st.integers(0, 5))}",
            key=draw(st.sampled_from(["", "", "k1", "k2"])),
            protected=draw(st.booleans()),
        )
        for k in range(n)
    ]
    pairs = draw(
        st.dictionaries(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1]),
            st.sampled_from([0.9, 0.93, 0.99]),
            max_size=40,
        )
    )
    ids = [r.id for r in rows]
    said = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(ids), st.sampled_from(ids)).filter(lambda p: p[0] < p[1]),
            st.sampled_from(list(Verdict)),
            max_size=4,
        )
    )
    return rows, [(a, b, s) for (a, b), s in pairs.items()], said, draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_what_always_holds(graph, random):
    rows, pairs, said, spare = graph
    outcome = keep_first(rows, edges(*pairs), spare_copies=spare, verdicts=said)
    gone = {x.id for x in outcome.removed}
    by_id = {r.id: r for r in rows}
    similar = {(a, b): s for a, b, s in pairs} | {(b, a): s for a, b, s in pairs}

    def alike(x, y):
        if (x.exact_key and x.exact_key == y.exact_key) or (x.unit >= 0 and x.unit == y.unit):
            return 1.0
        return similar.get((x.unit, y.unit), 0.0)

    for x in outcome.removed:
        assert x.to not in gone, "the representative survives"
        assert alike(by_id[x.id], by_id[x.to]) == x.similarity >= 0.9
        if by_id[x.id].seed_id == by_id[x.to].seed_id:
            assert x.is_exact, "candidates are kept for comparing"
            assert not spare
        if by_id[x.id].is_protected:
            assert verdict_on(said, x.id, x.to) is Verdict.KEEP_B, "never removed silently"

    # Removing twice removes nothing (verdicts apart, which may free a row that lost to a loser).
    stay = [r for r in rows if r.id not in gone]
    assert not keep_first(stay, edges(*pairs), spare_copies=spare, verdicts=said).removed or said

    shuffled = list(pairs)
    random.shuffle(shuffled)
    again = keep_first(rows, edges(*shuffled), spare_copies=spare, verdicts=said)
    assert again.removed == outcome.removed, "the order of the pairs plays no part"

    disputed = {x.id for x in outcome.conflicts}
    kept = [r for r in rows if r.id not in gone | disputed]
    for k, x in enumerate(kept):
        for y in kept[k + 1 :]:
            is_spared = x.seed_id == y.seed_id and (spare or alike(x, y) < 1)
            if alike(x, y) >= 0.9 and not is_spared:
                assert verdict_on(said, x.id, y.id) is Verdict.KEEP_BOTH, "no two near rows stay"
