"""Distill Studio: curate data from teacher models and distill it into a student."""

__version__ = "0.1.0"
