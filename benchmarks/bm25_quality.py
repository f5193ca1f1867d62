"""BM25 with several tokenizers on retrieval data sets: nDCG@10 and Recall@10.

    python benchmarks/bm25_quality.py path/to/tydiqa-goldp-ko

Reads what `korag.evaluation.load_dataset` reads. Needs ``korag[eval]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from korag import BM25, Collection
from korag.analysis.tokenizers import BigramTokenizer
from korag.evaluation import load_dataset, score_rankings


def whitespace(text: str) -> list[str]:
    """Baseline tokenizer: splits at white space."""
    return text.lower().split()


class WithoutFirst:
    """Bigrams without the first characters of longer runs; for the measurement alone."""

    def __call__(self, text: str) -> list[str]:
        """Returns the tokens."""
        return list(_without_first(BigramTokenizer()([text])[0]))


def _without_first(tokens: Sequence[str]) -> Iterator[str]:
    for token, following in zip_longest(tokens, tokens[1:], fillvalue=""):
        if len(token) > 1 or len(following) != 2 or following[0] != token:
            yield token


SYSTEMS: dict[str, Any] = {
    "whitespace": whitespace,
    "bigram": "bigram",
    "bigram, whole questions": BM25("bigram", trim_questions=False),
    "bigram, no first characters": WithoutFirst(),
    "kiwi": "kiwi",
    "kiwi, whole questions": BM25("kiwi", trim_questions=False),
    "bigram + kiwi": ["bigram", "kiwi"],
}


def main() -> None:
    """Prints a row per data set and choice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="CHOICE")
    arguments = parser.parse_args()
    print("| data | bm25= | nDCG@10 | Recall@10 | documents/s indexed |\n|---|---|---:|---:|---:|")
    for folder in arguments.folders:
        data = load_dataset(folder)
        documents = {id_: text for id_, text in data.documents.items() if text.strip()}
        for choice in arguments.only:
            with Collection.in_memory(bm25=SYSTEMS[choice]) as collection:
                collection.search("준비")  # warm-up: loads Kiwi
                start = time.perf_counter()
                collection.add(list(documents.values()), ids=list(documents), show_progress=False)
                rate = len(documents) / (time.perf_counter() - start)
                found = collection.search_many(data.queries.values(), k=10)
            rankings = {query: [hit.id for hit in hits] for query, hits in zip(data.queries, found, strict=True)}
            scores = score_rankings(rankings, data.relevant, depth=10)
            ndcg, recall = scores["nDCG@10"].mean(), scores["Recall@10"].mean()
            print(f"| {data.name} | {choice} | {ndcg:.4f} | {recall:.4f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
