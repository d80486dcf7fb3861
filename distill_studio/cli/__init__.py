"""The same without a browser: `python -m distill_studio COMMAND`.

Start from `app.main`. Every command is a few calls of the operations that the page uses too,
through `client.connect`: over HTTP when the app runs, else by opening the data folder itself.
"""
