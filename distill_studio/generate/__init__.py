"""Stage 2, generate: seeds to teacher requests, replies to pairs.

`recipes` says what is asked, `runner` asks it, `parse` turns a reply into a pair or a failure.
"""
