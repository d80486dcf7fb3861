"""Stage 6: a dataset that never changes.

`formats.FORMATS` and `formats.STYLES` shape rows, `split.choose_validation` splits them without
leaks, `folder.SnapshotWriter` writes the folder that training reads, `folder.verify` proves that
it is still what was written.
"""
