"""Compiles loops over arrays to machine code with numba, which `korag[fast]` installs.

A kernel is an ordinary function over numpy arrays, so it can be read, tested and stepped through as Python. It is
compiled for the processor at its first call, which takes about a second, and runs without the GIL.
"""

from __future__ import annotations

import functools
import gc
import importlib.metadata
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

from korag.forking import Lock
from korag.logs import logger

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_parts: list[Callable[..., Any]] = []
_lock = Lock()


@cache
def is_available() -> bool:
    """Returns True if kernels can be compiled; otherwise callers compute with numpy, scipy or torch.

    That is the case without numba, and where it cannot be imported, as beside a numpy that it does not know yet.
    """
    try:
        importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        return False
    try:
        import numba  # noqa: F401
    except (ImportError, OSError, SystemError) as error:
        logger.warning(
            "numba를 불러올 수 없어 더 느린 방법으로 검색합니다. pip install -U 'korag[fast]'로 맞는 버전을 설치하세요"
            ": %s / Searching without kernels, because numba cannot be imported; run pip install -U 'korag[fast]': %s",
            error,
            error,
        )
        return False
    return True


def kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compiles a function at its first call; only to be called if `is_available`.

    The function may use numpy arrays, numbers, functions marked by `part` and `korag.kernels.lanes`. It must check
    every index that comes from a file: nothing else does.
    """

    @functools.wraps(function)
    def call(*args: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        with _lock:  # or each thread would compile its own
            compiled: Any = _compiled(function)
        known = len(compiled.overloads)
        result: Result = compiled(*args, **keywords)
        if len(compiled.overloads) > known:  # compiling leaves cycles behind, which would keep files mapped
            gc.collect()
        return result

    return call


def part(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Lets kernels call a function, which stays an ordinary one for others."""
    _parts.append(function)
    return function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba
    from numba.extending import register_jitable

    while _parts:
        register_jitable(error_model="numpy")(_parts.pop())
    compiled: Callable[..., Any] = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled
