r"""Recall@10 of a `PlaidIndex` that was built of some passages and then grew, against one built of all.

    python benchmarks/plaid_growth.py --vectors build/vectors --folder build/search --json docs/pylate/growth.json

The vectors are those of search.py, which makes them, and the environment too. Indexes are changed as those of more than
1,000 windows are: lists and codes stay those of the first passages, and new vectors get lists where they are far away.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import machine_facts, publish, results
from _passages import Floats, Passages, queries
from _peers import DEFAULT, enter
from _search_peers import PEERS, asked_encoder
from _search_runs import K
from _truth import right, scores


def main() -> None:
    """Builds, grows and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="folder of the token vectors")
    parser.add_argument("--folder", type=Path, required=True, help="where indexes are kept")
    parser.add_argument("--starts", type=int, nargs="+", default=[100, 500], help="passages of the first build")
    parser.add_argument("--passages", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    peer = PEERS["PlaidIndex"]
    enter(DEFAULT.with_name(peer.environment), peer.packages)
    facts = machine_facts("fast-plaid")
    passages, asked = Passages(options.vectors, options.passages), queries(options.vectors, options.queries)
    true = scores(passages, asked, options.folder / "truth-of-growth")
    rows = [
        row
        for start in (*options.starts, options.passages)
        for row in grown(start, passages, asked, true, options.folder / f"plaid-{start}")
    ]
    publish(results(facts, {"A PLAID index that grows": rows}), options.json)


def grown(start: int, passages: Passages, asked: Floats, true: Floats, folder: Path) -> list[dict[str, object]]:
    """Builds an index of the first passages, and adds the others.

    Args:
        start: Number of the first passages.
        passages: All of them.
        asked: Queries.
        true: Scores. Shape: (queries, passages).
        folder: Where to.
    """
    from korag import Collection
    from korag.plaid import PlaidIndex, tokens

    tokens.KEPT_WINDOWS = 0
    shutil.rmtree(folder, ignore_errors=True)
    query: dict[str, Floats] = {}
    encoder = asked_encoder(query)
    collection: Any = Collection.in_memory(encoders=[encoder], codec="float16")
    rows: list[dict[str, object]] = []
    index: Any = None
    for first, end in [(0, start), (start, passages.count)]:
        if first == end:
            break
        texts = [(str(number), f"passage {number}") for number in range(first, end)]
        vectors = {"colbert": [passages.document(number) for number in range(first, end)]}
        collection.add_encoded(texts, vectors, fingerprints={"colbert": encoder.fingerprint})
        started = time.perf_counter()
        if index is None:
            index = PlaidIndex.build(collection, folder, device="cpu")
        else:
            index.sync(collection)
        seconds, found = time.perf_counter() - started, []
        for number, own in enumerate(asked):
            query["query"] = own
            ids = [hit.id for hit in index.search("query", k=K)]
            found.append(right(ids, true[number], np.arange(passages.count) < end, K))
        rows.append({
            "built of, passages": start,
            "now": end,
            "lists": len(np.load(next(folder.glob("index-*")) / "centroids.npy")),
            "recall@10": statistics.mean(found),
            "s": seconds,
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
