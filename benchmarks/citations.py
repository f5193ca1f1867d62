"""Recall on issue → cited article questions, with articles as given and with the articles that they cite.

    python benchmarks/citations.py ../shared/data --issues 200 --models mini-dense mini-colbert

Takes issues (판시사항) of court decisions and the articles that the court cites, a collection of these articles and of
whole statutes around them, and BM25 or one of the models. The statutes are put together as files and split by
`korag.splitting`, so articles have headings and citations. ``k`` hits are compared with half as many and up to as many
articles that they cite, so that no more is returned; and with twice as many likewise. Needs ``korag[eval]``.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from korag import Collection, SearchOptions
from korag.splitting import Splitter
from korag.splitting.citations import law_key

_GROUP = re.compile(r"law:(.+)/(제\d+조(?:의\d+)?)")
_TOKENS = 512


def questions(folder: Path, count: int) -> dict[str, set[str]]:
    """Returns issues and the keys of the articles that they cite; each issue once, a random choice of `count`."""
    table = pq.read_table(folder / "train" / "prec_issue_statute.parquet", columns=["query", "group"])
    found: dict[str, set[str]] = defaultdict(set)
    for row in table.to_pylist():
        if match := _GROUP.fullmatch(row["group"]):
            found[row["query"]].add(f"{law_key(match[1])} {match[2]}")
    chosen = random.Random(0).sample(sorted(found), min(count, len(found)))  # noqa: S311 (a fixed choice)
    return {query: found[query] for query in chosen}


def statutes(folder: Path, names: set[str]) -> dict[str, str]:
    """Returns the text of statutes by name, put together from their articles."""
    table = pq.read_table(folder / "text" / "statute_articles.parquet", columns=["law", "art", "title", "text"])
    parts: dict[str, list[str]] = defaultdict(list)
    for row in table.to_pylist():
        if law_key(row["law"]) in names:
            parts[row["law"]].append(f"{row['art']}({row['title']}) {row['text']}")
    return {law: "\n".join([law, *own]) for law, own in parts.items()}


def recall(found: Mapping[str, Sequence[str]], relevant: Mapping[str, set[str]]) -> float:
    """Returns the mean share of the relevant articles that are found."""
    return sum(len(set(found[query]) & wanted) / len(wanted) for query, wanted in relevant.items()) / len(relevant)


def main() -> None:
    """Prints a row per way to search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--issues", type=int, default=200)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--models", nargs="*", default=[], metavar="MODEL", help="dense, sparse or ColBERT models")
    arguments = parser.parse_args()
    relevant = questions(arguments.folder, arguments.issues)
    names = {key.rpartition(" ")[0] for keys in relevant.values() for key in keys}
    texts = statutes(arguments.folder, names)
    splitter = Splitter(encoder=len, max_tokens=_TOKENS)
    k = arguments.k
    ways: dict[str, SearchOptions] = {
        f"{k} hits": SearchOptions(k=k),
        f"{k // 2} hits and up to {k // 2} that they cite": SearchOptions(k=k // 2, expand="citations"),
        f"{2 * k} hits": SearchOptions(k=2 * k),
        f"{k} hits and up to {k} that they cite": SearchOptions(k=k, expand="citations"),
    }
    rows: dict[str, dict[str, list[str]]] = {}
    for name, with_headings in (("articles", False), ("articles, headings", True)):
        with Collection.in_memory(encoders=arguments.models, bm25=True) as collection:
            known = set()
            for law, text in texts.items():
                chunks = [chunk for chunk in splitter.split(text, title=law) if "citation" in chunk.metadata]
                metadata = [chunk.to_metadata() if with_headings else dict(chunk.metadata) for chunk in chunks]
                collection.add([chunk.text for chunk in chunks], metadata=metadata, show_progress=False)
                known |= {chunk.metadata["citation"] for chunk in chunks}
            asked = {query: wanted & known for query, wanted in relevant.items() if wanted & known}
            for leg in collection.legs:
                for label, options in ways.items():
                    hits = collection.search_many(list(asked), options=replace(options, using=leg))
                    rows[f"{leg} on {name}: {label}"] = {
                        query: [hit.metadata["citation"] for hit in own] for query, own in zip(asked, hits, strict=True)
                    }
            size = len(collection)
    print(f"{len(asked)} issues, {len(texts)} statutes, {size} chunks\n")
    print("| | recall | chunks returned |\n|---|---:|---:|")
    for label, found in rows.items():
        returned = sum(map(len, found.values())) / len(found)
        print(f"| {label} | {recall(found, asked):.3f} | {returned:.1f} |")


if __name__ == "__main__":
    main()
