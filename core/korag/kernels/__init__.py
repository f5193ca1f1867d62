"""Inner loops compiled by LLVM for the present processor (extra ``fast``).

Each has a fallback in numpy, scipy or torch with the same results up to rounding; tests compare the two.
"""
