"""Benchmark items that got into the rows: `index.LeakIndex(items).check(rows)` finds them.

Rules (Brown et al. 2020 for 13-grams; Tulu 3, arXiv 2411.15124, for 8-grams above half of an item):
a shared run of 13 words, or 8-grams of one row that cover more than half of the item, or, for
items under 13 words, the same text, or the question as a line of a prompt. What means the same in
other words is found by embeddings (`nearest`) and is only ever a candidate: a person judges it.
"""
