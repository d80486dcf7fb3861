"""`python -m distill_studio`: the command line."""

from distill_studio.cli.app import main

if __name__ == "__main__":
    main()
