"""Stage 5: which answer is better. Pure parts: which candidates meet (`pairing.py`), what the voter
may see and on which side (`blind.py`), three or more at once (`ranking.py`), how steady the voter
is (`consistency.py`), what several voters come to (`majority.py`)."""
