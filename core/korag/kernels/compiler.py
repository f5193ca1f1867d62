"""Compiles LLVM assembly to functions with llvmlite, a wheel that contains the LLVM compiler."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

logger = logging.getLogger("korag")
_PROBE = "define void @probe() { %place = alloca <2 x i8> store <2 x i8> splat (i8 1), ptr %place ret void }"
"""Uses syntax that older versions of LLVM reject."""
Kernel = Callable[..., None]
"""A compiled function; takes addresses and integers, and releases the GIL."""


@cache
def processor_features() -> frozenset[str]:
    """Returns the processor's features by their LLVM names; empty if kernels cannot be compiled.

    That is the case without llvmlite, with a version before LLVM 20 (numba may install one), and on systems that forbid
    executing generated code.
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
            "torch and scipy, because llvmlite cannot compile here (0.45 or newer is required): %s",
            *[str(error).splitlines()[0] if str(error) else repr(error)] * 2,
        )
        return frozenset()
    return frozenset(name for name, present in features.items() if present)


def compile_kernel(code: str, name: str, arguments: int) -> Kernel:
    """Compiles a function.

    Args:
        code: A module in LLVM's assembly language (https://llvm.org/docs/LangRef.html), with pointers as ``ptr``.
        name: Name of the function, which must return void.
        arguments: Number of its arguments, each an address or a 64-bit integer.

    Returns:
        The function. Compilation takes tens of milliseconds, so callers cache it.
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
    function.engine = engine  # keeps the machine code alive
    return function  # type: ignore[no-any-return]


def loop_end(index: str, limit: str, again: str, then: str, *, by: int = 1) -> str:
    """Returns the end of a loop's block: increments the index and repeats while it is below a limit.

    Args:
        index: Name of the loop variable; its next value is named ``.next``.
        limit: Exclusive upper bound.
        again: Label of the loop.
        then: Label of the block after the loop.
        by: Increment.
    """
    return f"""  %{index}.next = add i64 %{index}, {by}
  %{index}.more = icmp ult i64 %{index}.next, {limit}
  br i1 %{index}.more, label %{again}, label %{then}"""
