"""Prefer."""
