"""MaxSim of tokens in int8 on one core, in turns: korag's compiled loop, torch, and NumKong; and of korag's codes.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --avx2

Numbers are random. No time of products depends on them; real codes repeat more, and find their tables in the cache more
often. NumKong is compared if it is installed (``pip install numkong``); it gets one document at a time, and numpy finds
the maxima of its products of bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import AVX2, interleaved, machine_facts, publish, results
from numpy.typing import NDArray

from korag.kernels import jit, maxsim
from korag.kernels.inverted_lists import add_gains
from korag.kernels.packing import pack
from korag.kernels.tables import RESIDUALS, VALUES, ScoreTables, make_tables

TOKENS, QUERY_TOKENS = 130, 32
CENTROIDS = 1_024
LISTED = CENTROIDS * RESIDUALS // 200


def candidates(documents: int, dim: int, queries: int) -> dict[str, Callable[[], Any]]:
    """Returns ways to score all documents for all queries, by name."""
    import torch

    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (documents * TOKENS, dim)).astype(np.int8)
    begins, lengths = np.arange(0, len(codes), TOKENS), np.full(documents, TOKENS)
    query = rng.integers(-127, 128, (queries * QUERY_TOKENS, dim)).astype(np.int8)
    steps = np.ones(QUERY_TOKENS, np.float32)
    packed = pack([(own, steps) for own in np.split(query, queries)])
    rows, columns = torch.from_numpy(codes).view(-1, 128 * TOKENS, dim), torch.from_numpy(query.T.copy())
    floats = columns.float()

    def by_torch(multiply: Callable[[Any], Any]) -> list[Any]:
        """Some documents at a time, so that products stay in the cache."""
        return [multiply(part).view(-1, TOKENS, len(query)).amax(1).view(-1, queries, 32).sum(2) for part in rows]

    found: dict[str, Callable[[], Any]] = {
        "korag": lambda: maxsim.byte_maxsim(codes, begins, lengths, packed),
        "torch, bytes": lambda: by_torch(lambda part: torch.ops.aten._int_mm(part, columns)),
        "torch, float32": lambda: by_torch(lambda part: part.float() @ floats),
    }
    cells = rng.integers(0, CENTROIDS * RESIDUALS, len(codes)).astype(np.uint16)
    gains = rng.integers(0, VALUES, len(codes), dtype=np.uint8)

    def by_tables(bits: int) -> Callable[[], Any]:
        numbers = rng.integers(0, VALUES, (len(codes), dim * bits // 8), dtype=np.uint8)
        tables = _random_tables(rng, numbers.shape[1], queries)
        return lambda: maxsim.table_maxsim(numbers, cells, gains, begins, lengths, tables)

    found |= {f"korag, codes of {bits} bits a dimension": by_tables(bits) for bits in (4, 2, 1)}
    documents_of = (np.argsort(cells, kind="stable") // TOKENS).astype(np.uint16)
    starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=CENTROIDS * RESIDUALS))])
    near = [rng.integers(0, CENTROIDS * RESIDUALS, (QUERY_TOKENS, LISTED)).astype(np.uint16) for _ in range(queries)]
    ones, sums = np.ones((QUERY_TOKENS, LISTED), np.uint16), np.zeros(documents, np.int32)

    def by_lists() -> None:
        for own in near:
            add_gains(starts, documents_of, own, ones, sums)

    found["korag, lists of 1 in 200 cells"] = by_lists
    if importlib.util.find_spec("numkong"):
        import numkong

        its_query = numkong.dots_pack(query, dtype="int8")
        halves = [numkong.maxsim_pack(part.astype(np.float16)) for part in np.split(codes, documents)]
        half_queries = [numkong.maxsim_pack(own.astype(np.float16)) for own in np.split(query, queries)]
        parts = np.split(codes, documents)
        found["NumKong, dots_packed of bytes"] = lambda: [
            np.asarray(numkong.dots_packed(part, its_query)).max(axis=0).reshape(queries, -1).sum(axis=1)
            for part in parts
        ]
        found["NumKong, maxsim_packed of float16"] = lambda: [
            numkong.maxsim_packed(own, half) for half in halves for own in half_queries
        ]
    return found


def _random_tables(rng: np.random.Generator, size: int, queries: int) -> ScoreTables:
    def numbers(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    return make_tables(
        [
            (numbers(size, VALUES, QUERY_TOKENS), numbers(RESIDUALS, QUERY_TOKENS), numbers(CENTROIDS, QUERY_TOKENS))
            for _ in range(queries)
        ]
    )


def _forbid_more_to_numkong() -> None:
    if importlib.util.find_spec("numkong"):
        import numkong

        for name, present in numkong.get_capabilities().items():
            if present and name not in ("serial", "haswell"):
                numkong.disable_capability(name)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_024, help=f"of {TOKENS} tokens; a multiple of 128")
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 4], help=f"of {QUERY_TOKENS} tokens")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--avx2", action="store_true", help="as on a processor without AVX-512 and VNNI")
    options = parser.parse_args()
    if options.avx2:  # nothing imported so far reads these
        os.environ.update(AVX2)
        _forbid_more_to_numkong()
    if not jit.is_available():
        parser.error("numba is missing: pip install 'korag[fast]'")
    import torch

    torch.set_num_threads(1)
    facts = machine_facts("numba", "numkong")
    tables = {}
    for dim in options.dims:
        for queries in options.queries:
            seconds = interleaved(candidates(options.documents, dim, queries), options.repeats)
            tables[f"{dim} dimensions, queries at a time: {queries}"] = [
                {
                    "by": name,
                    "µs a document, least": min(own) / options.documents * 1e6,
                    "× korag": statistics.median(a / b for a, b in zip(own, seconds["korag"], strict=True)),
                }
                for name, own in seconds.items()
            ]
    notes = [f"{options.documents} documents of {TOKENS} tokens, queries of {QUERY_TOKENS} tokens, one core."]
    publish(results(facts, tables, notes=notes), options.json)


if __name__ == "__main__":
    main()
