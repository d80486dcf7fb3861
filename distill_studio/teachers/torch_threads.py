"""Threads that each compute with one core.

Several small products at once, one per core, keep what they work on in their caches and never wait
for each other; one product spread over all cores does both.
"""

import threading
from concurrent.futures import ThreadPoolExecutor


def one_core_threads(count: int) -> ThreadPoolExecutor:
    """A pool whose threads run torch on one core each; other threads keep their number."""
    import torch

    usual = torch.get_num_threads()
    started = threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over the usual number at its first question
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="embed", initializer=begin)
    for running in [pool.submit(int) for _ in range(count)]:
        running.result()
    torch.set_num_threads(usual)  # the last call counts for threads that begin later
    return pool
