"""Time and memory of one document by its length: ordinary text, and what is worst for tokenizers.

    python benchmarks/long_texts.py --legs bigram kiwi mini-dense --sizes 1000 100000 10000000

Each row is one leg and one kind of text in a process of its own: seconds to add the document to a collection in memory,
by its length in UTF-8 bytes, and the most memory that the process has had, above what it has after a short document.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time

from korag import Collection

_KINDS = {
    "prose": "임차인은 계약이 끝나면 보증금을 돌려받을 권리가 있고, 집주인은 이를 지체 없이 돌려주어야 한다. ",
    "one line of JSON": '{"번호":1,"이름":["가나",null,true],"글":"보증금을 돌려받는다"},',
    "one word": "보증금을돌려받을권리가있다",
    "one syllable": "가",
    "Latin letters": "a",
    "digits": "1",
    "spaces": " ",
    "single syllables": "가 나 ",
    "combining marks": "\u0301\u0316",
    "conjoining jamo": "\u1112\u1161\u11ab",
    "old Hangul": "\u1112\u119e\u11ab",
    "emoji": "👩‍👩‍👧‍👦",
    "control characters": "\x01\x7f\u200b",
    "punctuation": "\"'.(",
    "statutes": "제6조의2제1항",
}
LEGS = ("bigram", "kiwi", "mini-dense", "mini-splade", "mini-colbert")
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def main() -> None:
    """Prints a line for each leg and kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", nargs="+", default=LEGS, choices=LEGS)
    parser.add_argument("--kinds", nargs="+", default=list(_KINDS), choices=list(_KINDS))
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="in bytes of UTF-8")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.legs[0], options.kinds[0], options.sizes)
        return
    print(f"{'':13}{'':20}" + "".join(f"{size:>13,}" for size in options.sizes) + f"{'memory, MB':>13}", flush=True)
    for leg in options.legs:
        for kind in options.kinds:
            arguments = ["--child", "--legs", leg, "--kinds", kind, "--sizes", *map(str, options.sizes)]
            found = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
            print(f"{leg:13}{kind:20}{found.stdout}", end="", flush=True)


def measure(leg: str, kind: str, sizes: list[int]) -> None:
    """Prints the seconds for each size, and the memory."""
    logging.disable(logging.WARNING)
    lexical = leg in ("bigram", "kiwi")
    with (
        Collection.in_memory(bm25=True, tokenizer=leg)
        if lexical
        else Collection.in_memory(encoders=[leg], window=None) as collection
    ):
        collection.add(["보증금은 이사하는 날 돌려준다."])
        before = _peak()
        for size in sizes:
            text = "a" + _KINDS[kind] * (size // len(_KINDS[kind].encode()))
            started = time.perf_counter()
            collection.add([text])
            print(f"{time.perf_counter() - started:13.3f}", end="", flush=True)
    print(f"{(_peak() - before) >> 20:13,}")


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


if __name__ == "__main__":
    main()
