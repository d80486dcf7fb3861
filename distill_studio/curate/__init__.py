"""Stage 3, curate: keep what is good. Filters, near-duplicates; pure functions over texts.

Each filter measures a text once (`filters`); thresholds are applied to the stored measures.
`dedup.search` finds all near pairs, `dedup.groups` decides which row stands for the others.
"""
