"""What a Space and `make run` start: settings from the environment, then the server."""

import sys

from distill_studio.bootstrap import run_app

if __name__ == "__main__":
    sys.exit(run_app())
