"""Topics, their map, and the choice of N rows that cover them. Pure: arrays and texts in and out.

Start at `clusters.cluster`, `layout.lay_out` and `selection.facility_location`.
"""
