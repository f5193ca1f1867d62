"""Effect of the lock around an encoder's tokenizer: the same calls from many threads, with and without it.

    python benchmarks/tokenizer_race.py --threads 8 --calls 3000

Half of the threads encode queries (32 tokens), half documents of about 60 tokens, one text per call. A fast tokenizer
stores the truncation and padding of its last call, so without the lock a document may silently be truncated to query
length, or the tokenizer raises. "seconds" is the total time.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from korag import LateInteractionEncoder, load_encoder

QUERY = "계약이 끝나면 보증금은 언제 돌려받나요?"
DOCUMENT = "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다. " * 4


def main() -> None:
    """Prints a line with the lock and one without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini-colbert")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=3_000, help="in total")
    options = parser.parse_args()
    print(f"{'':14}{'calls':>8}{'cut':>8}{'other':>8}{'raised':>8}{'seconds':>9}")
    for name, lock in (("with lock", None), ("without lock", contextlib.nullcontext())):
        encoder = load_encoder(options.model)
        if not isinstance(encoder, LateInteractionEncoder):
            raise SystemExit(f"{options.model} is not a late-interaction model")
        encoder.encode_queries([QUERY])  # loads the weights
        if lock is not None:
            encoder.shared().tokenizer_lock = lock  # type: ignore[assignment]
        started = time.perf_counter()
        found = race(encoder, options.threads, options.calls // options.threads)
        seconds = time.perf_counter() - started
        calls = options.calls // options.threads * options.threads
        print(f"{name:14}{calls:8,}{found['cut']:8,}{found['other']:8,}{found['raised']:8,}{seconds:9.1f}")


def race(encoder: LateInteractionEncoder, threads: int, calls: int) -> Counter[str]:
    """Counts the calls whose results have another number of vectors than in a single thread.

    Args:
        encoder: The encoder, loaded.
        threads: Number of threads; every other one encodes documents.
        calls: Calls per thread.

    Returns:
        ``cut``: documents with too few vectors; ``other``: any other wrong number; ``raised``: errors.
    """
    lengths = (len(encoder.encode_queries([QUERY])[0]), len(encoder.encode_documents([DOCUMENT])[0]))
    start = threading.Barrier(threads)

    def work(number: int) -> Counter[str]:
        found: Counter[str] = Counter()
        expected = lengths[number % 2]
        start.wait()
        for _ in range(calls):
            try:
                rows = encoder.encode_documents([DOCUMENT]) if number % 2 else encoder.encode_queries([QUERY])
            except Exception:  # the tokenizer raises errors of several kinds
                found["raised"] += 1
                continue
            if len(rows[0]) != expected:
                found["cut" if number % 2 and len(rows[0]) < expected else "other"] += 1
        return found

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)), Counter())


if __name__ == "__main__":
    main()
