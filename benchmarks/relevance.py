"""Errors of one threshold on the relevance of the first hit, between answerable and unanswerable questions.

    python benchmarks/relevance.py path/to/tydiqa-goldp-ko path/to/reactdocs-ko …

Reads what `korag.evaluation.load_dataset` reads, two or more sets of different subjects. Each set's documents are
searched with its own questions (answerable) and with the other sets' (not, but for a few). Prints for every leg, every
combination of legs and all combinations together: quantiles of the relevance of the first hit, the threshold of equal
errors, and the errors at the recommended threshold; for combinations also the fused score as a fraction of the best
possible one, which relevance used to be. With each set left out, the constants of `korag.collection.relevance` are
found on the others. Needs ``korag[eval]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from korag import Collection
from korag.collection.relevance import RECOMMENDED, even_relevance, hybrid_relevance
from korag.evaluation import Dataset, load_dataset
from korag.evaluation.thresholds import equal_error, errors_at
from korag.fusion import RRF_CONSTANT, reciprocal_rank_fusion

MODELS = ("mini-dense", "mini-splade", "mini-colbert")
DEPTH = 100
Found = dict[str, list[tuple[str, float]]]
"""For each leg: (id, relevance) of its best documents for one question."""
Questions = dict[str, tuple[list[Found], list[Found]]]
"""For each data set: what was found for answerable and for unanswerable questions."""


def search(data: Dataset, others: Sequence[Dataset], arguments: argparse.Namespace) -> tuple[list[Found], list[Found]]:
    """Searches a set's documents by every leg, for its own questions and for those of the others."""
    own = list(data.queries.items())[: arguments.questions]
    foreign = [q for other in others for q in list(other.queries.values())[: arguments.questions // len(others)]]
    questions = [text for _, text in own] + foreign
    needed = {id_ for query, _ in own for id_ in data.relevant[query]}
    ordered = sorted(data.documents, key=lambda id_: id_ not in needed)  # stable: needed ones first
    kept = {id_: data.documents[id_] for id_ in ordered[: arguments.documents] if data.documents[id_].strip()}
    found: list[Found] = [{} for _ in questions]
    stored = arguments.collections and arguments.collections / data.name
    with Collection.in_memory(bm25=True) as lexical:
        lexical.add(list(kept.values()), ids=list(kept), show_progress=False)
        _search_legs(lexical, questions, found)
    with Collection.open(stored) if stored and stored.exists() else Collection.in_memory(encoders=MODELS) as neural:
        if not len(neural):
            neural.add_stream(list(kept.items()), show_progress=False)
        _search_legs(neural, questions, found)
    return found[: len(own)], found[len(own) :]


def _search_legs(collection: Collection, questions: Sequence[str], found: Sequence[Found]) -> None:
    for leg in collection.legs:
        for own, hits in zip(found, collection.search_many(questions, using=leg, k=DEPTH), strict=True):
            own.setdefault(leg, [(hit.id, hit.relevance) for hit in hits])


def top(found: Found, legs: Sequence[str]) -> dict[str, float]:
    """The relevance of each leg's first document."""
    return {leg: found[leg][0][1] if found[leg] else 0.0 for leg in legs}


def before(found: Found, legs: Sequence[str]) -> float:
    """The score of the first hit of reciprocal rank fusion, as a fraction of that of the first in every leg."""
    fused = reciprocal_rank_fusion({leg: [id_ for id_, _ in found[leg]] for leg in legs})
    return fused[0][1] * (RRF_CONSTANT + 1) / len(legs) if fused else 0.0


def after(found: Found, legs: Sequence[str]) -> float:
    """The relevance of the first hybrid hit; of the only leg, its own."""
    tops = top(found, legs)
    return hybrid_relevance(tops, greatest=1.0)(1.0) if len(legs) > 1 else tops[legs[0]]


def measure(
    name: str,
    sets: Questions,
    chosen: Sequence[Sequence[str]],
    relevance: Callable[[Found, Sequence[str]], float],
    at: float,
) -> None:
    """Prints a row: every set and combination counts alike."""
    values: tuple[list[float], list[float]] = ([], [])
    generator = np.random.default_rng(0)
    for kinds in sets.values():
        for legs in chosen:
            for kind, own in zip(values, kinds, strict=True):
                kind += generator.choice([relevance(found, legs) for found in own], 200).tolist()
    best, fixed = equal_error(*values), errors_at(at, *values)
    quantiles = [
        " ".join(f"{value:.2f}" for value in np.quantile(kind, points))
        for kind, points in zip(values, ((0.05, 0.1, 0.25, 0.5), (0.5, 0.75, 0.9, 0.95)), strict=True)
    ]
    print(
        f"| {name} | {' | '.join(quantiles)} | {best.min_relevance:.2f} | {best.error_rate:.1%} | {at:.2f} | "
        f"{fixed.rejected:.1%} | {fixed.accepted:.1%} |",
        flush=True,
    )


def fitted(sets: Questions, legs: Sequence[str]) -> Mapping[str, float]:
    """For each leg, the relevance of equal errors over all sets."""
    return {
        leg: float(
            np.mean(
                [
                    equal_error(*([after(found, [leg]) for found in kind] for kind in kinds)).min_relevance
                    for kinds in sets.values()
                ]
            )
        )
        for leg in legs
    }


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--documents", type=int, default=10_000, help="documents of a set, those needed first")
    parser.add_argument("--questions", type=int, default=300, help="questions of each kind")
    parser.add_argument("--collections", type=Path, help="folder of finished collections of the three models, by set")
    arguments = parser.parse_args()
    sets = [load_dataset(folder) for folder in arguments.folders]
    found = {data.name: search(data, [other for other in sets if other is not data], arguments) for data in sets}
    legs = list(next(iter(found.values()))[0][0])
    several = [some for count in range(2, len(legs) + 1) for some in combinations(legs, count)]
    print(
        "| first hit | answerable: 5, 10, 25, 50 % | not: 50, 75, 90, 95 % | equal errors at | error | threshold "
        "| lost | kept |"
    )
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for leg in legs:
        measure(leg, found, [[leg]], after, even_relevance(leg))
    for some in several:
        measure(" + ".join(some), found, [some], after, RECOMMENDED)
    for name in found:
        measure(f"all combinations, {name}", {name: found[name]}, several, after, RECOMMENDED)
    measure("**all combinations**", found, several, after, RECOMMENDED)
    measure("all combinations, before", found, several, before, 0.98)
    for name in found:
        others = fitted({other: kinds for other, kinds in found.items() if other != name}, legs)
        constants = ", ".join(f"{leg} {value:.2f}" for leg, value in others.items())

        def left_out(one: Found, some: Sequence[str], others: Mapping[str, float] = others) -> float:
            return hybrid_relevance(top(one, some), greatest=1.0, even=others)(1.0)

        measure(f"left out: {name} ({constants})", {name: found[name]}, several, left_out, RECOMMENDED)


if __name__ == "__main__":
    main()
