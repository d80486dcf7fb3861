"""Model-written code, run where it can do no harm. Start from `runner.Sandbox`.

This file imports nothing: the programs inside the sandbox are modules of this folder too.
"""

SCRATCH = "/scratch"  # the one place where the program may write
