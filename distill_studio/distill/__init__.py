"""Distill: train the student.

The app imports only what is torch-free here (`config`, `presets`, `events`, `preflight`,
`token_view`, `curve`, ...); `worker.py` is the child process that imports torch and TRL.
"""
