"""Freeze."""
