"""Groups by ties."""

from distill_studio.curate.dedup.unions import group_keys


def test_ties_chain_and_the_smallest_id_names_the_group():
    ties = [("c", ("seed", 1)), ("b", ("seed", 1)), ("b", "d"), ("e", ("seed", 2))]
    assert group_keys(["a", "b", "c", "d", "e"], ties) == {
        "a": "a",
        "b": "b",
        "c": "b",
        "d": "b",
        "e": "e",
    }


def test_ids_that_were_not_asked_for_name_no_group():
    assert group_keys(["b", "c"], [("a", "b"), ("a", "c")]) == {"b": "b", "c": "b"}
