"""One model is loaded at a time in this process.

transformers imports its parts when they are first named, and two threads that do so at once fail
with "cannot import name 'AutoTokenizer'" (seen when two students were compared). Taking turns also
keeps the peak of memory down. Take `LOADING` before any file lock, never after one.
"""

import threading

LOADING = threading.RLock()
