"""Stage 5: which of two answers is better. Pure parts: which candidates meet (`pairing.py`), on
which sides, and what the voter may see (`blind.py`), how steady the voter is (`consistency.py`)."""
