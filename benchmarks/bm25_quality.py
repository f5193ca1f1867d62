"""BM25 with several tokenizers on retrieval data sets: nDCG@10 and Recall@10.

    python benchmarks/bm25_quality.py path/to/tydiqa-goldp-ko

Reads what `korag.evaluation.load_dataset` reads. Needs ``korag[eval]``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from korag import Collection
from korag.analysis.tokenizers import Tokenizer, resolve_tokenizer
from korag.evaluation import load_dataset, score_rankings


def whitespace(text: str) -> list[str]:
    """Baseline tokenizer: splits at white space."""
    return text.lower().split()


def main() -> None:
    """Prints a row per data set and tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--tokenizers", nargs="+", default=["whitespace", "bigram", "kiwi"])
    arguments = parser.parse_args()
    print("| data | tokenizer | nDCG@10 | Recall@10 | documents/s tokenized |\n|---|---|---:|---:|---:|")
    for folder in arguments.folders:
        data = load_dataset(folder)
        documents = list(data.documents.values())
        for choice in arguments.tokenizers:
            tokenizer: Tokenizer = resolve_tokenizer(whitespace if choice == "whitespace" else choice)
            tokenizer(["준비"])  # warm-up: loads Kiwi
            start = time.perf_counter()
            tokenizer(documents)
            rate = len(documents) / (time.perf_counter() - start)
            with Collection.in_memory(bm25=True, tokenizer=tokenizer) as collection:
                collection.add(documents, ids=list(data.documents))
                found = collection.search_many(data.queries.values(), k=10)
            rankings = {query: [hit.id for hit in hits] for query, hits in zip(data.queries, found, strict=True)}
            scores = score_rankings(rankings, data.relevant, depth=10)
            ndcg, recall = scores["nDCG@10"].mean(), scores["Recall@10"].mean()
            print(f"| {data.name} | {choice} | {ndcg:.4f} | {recall:.4f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
