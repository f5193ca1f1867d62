"""A thread a core, each computing on its own: products of bytes and floats run outside Python's lock.

torch spreads one operation over all cores, which is of little use for thousands of small ones: the cores would wait for
each other at the end of every one. Here each core takes the next piece of work instead.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Task = TypeVar("Task")
_lock = threading.Lock()


def run_all(function: Callable[[Task], object], tasks: Iterable[Task]) -> None:
    """Calls a function for every task, on as many cores as torch would use; in this thread if there is one task.

    Args:
        function: Called from several threads at once; it must not use `run_all` itself.
        tasks: In any order; made as they are taken, where it is a generator.

    Raises:
        Exception: The first that a call raised, after the other threads have come to their end.
    """
    waiting = iter(tasks)
    begun = list(itertools.islice(waiting, 2))
    if len(begun) < 2:
        run_here(function, begun)
        return
    waiting = itertools.chain(begun, waiting)
    with _lock:
        pool, workers = _start()

    def work() -> None:
        try:
            while not stopped.is_set():
                with turn:
                    task = next(waiting, None)
                if task is None:
                    return
                function(task)
        except BaseException:
            stopped.set()
            raise

    turn, stopped = threading.Lock(), threading.Event()
    futures = [pool.submit(work) for _ in range(workers)]
    try:
        errors = [future.exception() for future in futures]
    finally:
        stopped.set()  # Ctrl+C comes here, and the threads would go on
    for error in errors:
        if error is not None:
            raise error


def run_here(function: Callable[[Task], object], tasks: Iterable[Task]) -> None:
    """Calls a function for every task, in this thread."""
    for task in tasks:
        function(task)


def cores() -> int:
    """How many tasks `run_all` does at a time."""
    import torch

    return torch.get_num_threads()


@cache
def _start() -> tuple[ThreadPoolExecutor, int]:
    """The threads, and how many; torch is told in each of them to stay in it."""
    import torch

    workers = cores()
    ready = threading.Barrier(workers + 1)

    def alone() -> None:
        torch.get_num_threads()  # a thread takes over the common number at its first use of torch: let that be past
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="korag")
    started = [pool.submit(alone) for _ in range(workers)]
    ready.wait()
    for future in started:
        future.result()
    torch.set_num_threads(workers)  # the number is each thread's own, but new threads begin with the last one set
    return pool, workers


if hasattr(os, "register_at_fork"):  # threads do not come along into a forked process
    os.register_at_fork(after_in_child=_start.cache_clear)
