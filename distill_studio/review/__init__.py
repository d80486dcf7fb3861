"""Stage 4: people decide. Pure parts: what the bench shows of a pair (`bench_record.py`), the
reject reasons on the digit keys (`reasons.py`)."""
