"""Evaluate: the same prompt to several models at once, and what people think of the answers.

Start from `compare.fan_out`; `board.Board` folds its events into a `Comparison`, `blind` hides
and shuffles, `duels` turns a vote into pairwise outcomes, `wins` counts them with intervals.
"""
