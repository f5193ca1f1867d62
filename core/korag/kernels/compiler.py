"""From LLVM's assembly language to a function: llvmlite, a small wheel, has LLVM's compiler in it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

Kernel = Callable[..., None]
"""Runs outside Python's lock. Takes addresses and whole numbers."""


@cache
def processor_features() -> frozenset[str]:
    """What this processor can do, in LLVM's words; empty without llvmlite, so that no kernel is made."""
    try:
        import llvmlite.binding as llvm
    except ImportError:
        return frozenset()
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this processor
        return frozenset()
    return frozenset(name for name, present in features.items() if present)


def compile_kernel(code: str, name: str, arguments: int) -> Kernel:
    """Compiles a function.

    Args:
        code: A module in LLVM's assembly language (https://llvm.org/docs/LangRef.html), with pointers as ``ptr``.
        name: Of the function. It returns nothing.
        arguments: How many it takes, each an address or a 64-bit whole number.

    Returns:
        The function. Compiled in some ten milliseconds; keep it.
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
