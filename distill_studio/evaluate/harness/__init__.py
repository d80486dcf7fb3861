"""Public benchmarks through lm-evaluation-harness, which runs in an environment of its own.

Start from `command.py` (what the child is told); `worker.py` is the child, `results.py` reads what
it leaves, `scoreboard.py` puts models beside each other, `task_files.py` checks a user's own tasks.
"""
