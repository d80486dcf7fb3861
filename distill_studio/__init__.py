"""Distill Studio: curate data from teacher models and distill it into a student."""

import os

__version__ = "0.1.0"

# Before torch loads: its idle threads sleep instead of spinning. App, training process and browser
# share the cores; measured on two busy ones, spinning made matrix products 4 to 6 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
