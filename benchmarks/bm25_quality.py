"""BM25 with each tokenizer on a retrieval data set: nDCG@10 and recall@10.

    python benchmarks/bm25_quality.py path/to/tydiqa-goldp-ko

The folder holds ``corpus.parquet`` (``_id``, ``title``, ``text``), ``queries.parquet`` (``_id``, ``text``)
and ``qrels.parquet`` (``query-id``, ``corpus-id``, ``score``). Documents are title and text joined by a line
end.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from korag import Collection
from korag.legs.tokenizers import Tokenizer, resolve_tokenizer


@dataclass(frozen=True)
class DataSet:
    """A retrieval data set in memory; queries without a relevant document are left out."""

    name: str
    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    relevant: dict[str, dict[str, int]]


def load(folder: Path) -> DataSet:
    """Reads the three parquet files of `folder`."""
    corpus, queries, qrels = (
        pq.read_table(folder / f"{part}.parquet").to_pylist() for part in ("corpus", "queries", "qrels")
    )
    relevant: dict[str, dict[str, int]] = {}
    for row in qrels:
        if row["score"] > 0:
            relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    judged = [row for row in queries if row["_id"] in relevant]
    return DataSet(
        name=folder.name,
        document_ids=[row["_id"] for row in corpus],
        documents=[f"{row.get('title') or ''}\n{row['text']}".strip() for row in corpus],
        query_ids=[row["_id"] for row in judged],
        queries=[row["text"] for row in judged],
        relevant=relevant,
    )


def ndcg(ranking: Sequence[str], relevant: dict[str, int], k: int = 10) -> float:
    """NDCG@k with exponential gains (Burges et al. 2005), as in ``trec_eval`` for binary judgements."""

    def dcg(grades: Sequence[int]) -> float:
        return sum((2**grade - 1) / math.log2(rank + 2) for rank, grade in enumerate(grades[:k]))

    return dcg([relevant.get(item, 0) for item in ranking]) / dcg(sorted(relevant.values(), reverse=True))


def recall(ranking: Sequence[str], relevant: dict[str, int], k: int = 10) -> float:
    """The share of the relevant documents among the first `k`."""
    return len(relevant.keys() & set(ranking[:k])) / len(relevant)


def whitespace(text: str) -> list[str]:
    """The tokenizer to beat: words as written."""
    return text.lower().split()


def main() -> None:
    """Prints one row for each data set and tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--tokenizers", nargs="+", default=["whitespace", "bigram", "kiwi"])
    arguments = parser.parse_args()
    print("| data | tokenizer | nDCG@10 | Recall@10 | documents/s tokenised |\n|---|---|---:|---:|---:|")
    for folder in arguments.folders:
        data = load(folder)
        for choice in arguments.tokenizers:
            tokenizer: Tokenizer = resolve_tokenizer(whitespace if choice == "whitespace" else choice)
            tokenizer(["준비"])  # loads Kiwi, so that the rate is the tokenizer's own
            start = time.perf_counter()
            tokenizer(data.documents)
            rate = len(data.documents) / (time.perf_counter() - start)
            collection = Collection.in_memory(bm25=True, tokenizer=tokenizer)
            collection.add(data.documents, ids=data.document_ids)
            rankings = [[hit.id for hit in hits] for hits in collection.search_many(data.queries, k=10)]
            judged = [(ranking, data.relevant[query]) for ranking, query in zip(rankings, data.query_ids, strict=True)]
            quality = [np.mean([metric(*pair) for pair in judged]) for metric in (ndcg, recall)]
            print(f"| {data.name} | {choice} | {quality[0]:.4f} | {quality[1]:.4f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
