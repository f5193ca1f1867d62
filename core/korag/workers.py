"""Runs independent tasks on one thread per core; numerical work releases the GIL.

torch spreads each operation over all cores, which does not pay for thousands of small ones, as the cores wait for each
other after every operation. Here each core takes the next task instead. A process that has not loaded torch yet, as one
that searches by words alone, does without it.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from korag.forking import Lock

Task = TypeVar("Task")
_lock = Lock()


def run_all(function: Callable[[Task], object], tasks: Iterable[Task]) -> None:
    """Calls a function for every task, on `cores` threads; a single task runs in this thread.

    Args:
        function: Called from several threads; it must not call `run_all` itself.
        tasks: Order does not matter. A generator is consumed as threads become free.

    Raises:
        Exception: The first exception of a call, after all threads have finished.
    """
    waiting = iter(tasks)
    begun = list(itertools.islice(waiting, 2))
    if len(begun) < 2:
        run_here(function, begun)
        return
    waiting = itertools.chain(begun, waiting)
    with _lock:
        pool, workers = _start(torch_loaded="torch" in sys.modules)

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
        stopped.set()  # on Ctrl+C the threads would continue otherwise
    for error in errors:
        if error is not None:
            raise error


def run_here(function: Callable[[Task], object], tasks: Iterable[Task]) -> None:
    """Calls a function for every task, in this thread."""
    for task in tasks:
        function(task)


def cores() -> int:
    """Returns the number of tasks that `run_all` runs at a time: that of torch's threads, or what it would be."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else available


@cache
def _start(*, torch_loaded: bool) -> tuple[ThreadPoolExecutor, int]:
    """Starts the pool and returns it with its size. torch is limited to one thread in each worker."""
    workers = cores()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="korag")
    if not torch_loaded:
        return pool, workers
    import torch

    ready = threading.Barrier(workers + 1)

    def alone() -> None:
        torch.get_num_threads()  # the first call in a thread adopts the global number; do that before setting it
        torch.set_num_threads(1)
        ready.wait()

    started = [pool.submit(alone) for _ in range(workers)]
    ready.wait()
    for future in started:
        future.result()
    torch.set_num_threads(workers)  # the number is per thread, but new threads start with the last one set
    return pool, workers


def _after_fork() -> None:
    """Lets a forked child compute: its pool has no threads, and torch would wait for some that it no longer has."""
    _start.cache_clear()
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
