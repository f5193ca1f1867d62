"""Locks, and uses of shared things, that a forked process has anew.

A fork copies the memory, but of all threads only the one that forks. A lock that another thread held stays locked in
the child for ever, and what it protected may be half changed. SQLite is worse: it notes in the process's memory which
locks the process has on a file, and the child, which has none of them, would believe the notes. So whatever KoRAG has
that a fork could break is made of the two classes here.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 (see `_before`)
import contextlib
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType

_locks: weakref.WeakSet[Lock] = weakref.WeakSet()
_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


class Lock:
    """A lock that is free in a forked child, unless the thread that forked holds it.

    Args:
        reset: Makes anew what the lock protects; called in a child if another thread held it at the fork. Must not
            refer to an object that holds the lock, other than weakly.
    """

    def __init__(self, reset: Callable[[], object] | None = None) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._reset = reset
        _locks.add(self)

    def acquire(self, *, blocking: bool = True) -> bool:
        """As `threading.Lock.acquire`."""
        if acquired := self._lock.acquire(blocking=blocking):
            self._owner = threading.get_ident()
        return acquired

    def release(self) -> None:
        """As `threading.Lock.release`."""
        self._owner = None
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _renew(self) -> None:
        owner = self._owner
        if owner == threading.get_ident():
            return
        self._lock, self._owner = threading.Lock(), None  # even one that looks free: a thread may just have got it
        if owner is not None and self._reset is not None:
            self._reset()


class Gate:
    """Uses of something that must not be in use at a fork: a fork waits for those in progress, new ones for the fork.

    Args:
        before: Called before a fork, once nothing is in use any more.
        inherited: Called in a child where it was in use after all: by the thread that forked itself, or because the
            fork was made by a library, without Python's knowledge.
    """

    def __init__(self, *, before: Callable[[], object], inherited: Callable[[], object]) -> None:
        self._before, self._inherited = before, inherited
        self._pid = os.getpid()
        self._begin()
        _gates.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._uses: Counter[int] = Counter()
        self._forking: int | None = None

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Held while it is used; may be nested."""
        if self._pid != os.getpid():
            self._forked()
        thread = threading.get_ident()
        changed = self._changed
        with changed:
            # A thread that the fork waits for must get on; so must the one that forks.
            changed.wait_for(lambda: self._forking in (None, thread) or thread in self._uses)
            self._uses[thread] += 1
        try:
            yield
        finally:
            with changed:
                self._uses[thread] -= 1
                if not self._uses[thread]:
                    # not `del`: the garbage collector may close a collection right here, which uses this too
                    self._uses.pop(thread, None)
                    changed.notify_all()

    def _stop(self) -> None:
        thread = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._forking is None)
            self._forking = thread
            self._changed.wait_for(lambda: not self._uses.keys() - {thread})
            if thread not in self._uses:
                self._before()

    def _go_on(self) -> None:
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def _forked(self) -> None:
        self._pid = os.getpid()
        own = self._uses.get(threading.get_ident(), 0)
        self._begin()
        if own:
            self._uses[threading.get_ident()] = own
        self._inherited()


def _before() -> None:
    # Called before what was registered earlier: the locks that logging and the standard library's thread pools take for
    # a fork are still free, so that whatever is waited for here can log and compute.
    for gate in list(_gates):
        gate._stop()


def _in_parent() -> None:
    for gate in list(_gates):
        gate._go_on()


def _in_child() -> None:
    for lock in list(_locks):
        lock._renew()
    for gate in list(_gates):
        gate._forked()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
