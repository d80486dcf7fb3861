"""What the teacher says of each learned token, and where it comes from.

`online.OnlineTeacher` asks a model in this process; `capture.capture` writes what a model says to
a folder, once; `cached.CachedTeacher` reads it row by row. Losses know none of this: they get a
function from a stretch of tokens to log-probabilities, a top-k, or draws.
"""
