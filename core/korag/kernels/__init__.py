"""Inner loops in machine code, made for the processor at hand by LLVM (extra ``fast``).

Each has a plain way beside it, in numpy, scipy or torch, that gives the same up to rounding; tests compare the two.
"""
