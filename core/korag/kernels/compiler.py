"""From LLVM's assembly language to a function: llvmlite, a small wheel, has LLVM's compiler in it."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

logger = logging.getLogger("korag")
_PROBE = "define void @probe() { %place = alloca <2 x i8> store <2 x i8> splat (i8 1), ptr %place ret void }"
"""What older versions cannot read."""
Kernel = Callable[..., None]
"""Runs outside Python's lock. Takes addresses and whole numbers."""


@cache
def processor_features() -> frozenset[str]:
    """What this processor can do, in LLVM's words; empty where nothing can be compiled, so that no kernel is made.

    That is without llvmlite, with one older than LLVM 20 (numba brings its own, whatever korag asks for), and where the
    system forbids code made at run time.
    """
    try:
        import llvmlite.binding as llvm

        features = llvm.get_host_cpu_features()
        compile_kernel(_PROBE, "probe", 0)()
    except ImportError:
        return frozenset()
    except (OSError, RuntimeError) as error:
        logger.warning(
            "korag[fast]를 쓸 수 없어 torch와 scipy로 검색합니다(llvmlite 0.45 이상이 필요합니다): %s / Searching with "
            "torch and scipy, since llvmlite compiles nothing here (0.45 or newer is needed): %s",
            *[str(error).splitlines()[0] if str(error) else repr(error)] * 2,
        )
        return frozenset()
    return frozenset(name for name, present in features.items() if present)


def compile_kernel(code: str, name: str, arguments: int) -> Kernel:
    """Compiles a function.

    Args:
        code: A module in LLVM's assembly language (https://llvm.org/docs/LangRef.html), with pointers as ``ptr``.
        name: Of the function. It returns nothing.
        arguments: How many it takes, each an address or a 64-bit whole number.

    Returns:
        The function. Compiled in some tens of milliseconds; keep it.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )
    module = llvm.parse_assembly(code)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    function: Any = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(engine.get_function_address(name))
    function.engine = engine  # owns the code
    return function  # type: ignore[no-any-return]


def loop_end(index: str, limit: str, again: str, then: str, *, by: int = 1) -> str:
    """The last lines of a loop's block: counts on, and goes round again while below a limit.

    Args:
        index: Name of the number that is counted; its next value gets ``.next``.
        limit: What it stays below.
        again: Label of the loop.
        then: Label to go to after it.
        by: How far it counts.
    """
    return f"""  %{index}.next = add i64 %{index}, {by}
  %{index}.more = icmp ult i64 %{index}.next, {limit}
  br i1 %{index}.more, label %{again}, label %{then}"""
