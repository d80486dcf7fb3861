"""Stage 2, generate: seeds to teacher requests, replies to pairs.

`recipes` say what is asked (as generators of `effects`), `drive` takes one seed through a recipe,
`runner` does so for many side by side, `parse` turns what came into rows.
"""
