"""Chooses the default fusion: methods × combinations of legs × data sets, against BM25.

For every combination of two to five legs, each method's nDCG@10 minus that of the better lexical leg in it, with a
paired bootstrap interval. A method is "below" where the whole interval is. Then the method that a choice by all other
sets would take, on the set left out; and legs made to mislead: one that knows nothing, three of them, one that is sure
of the wrong document, and one that is better than all others.

    python benchmarks/fusion.py /work/shared/data/eval/{tydiqa-goldp-ko,reactdocs-ko} --output /tmp/fusion

The runs of the legs are kept in the output folder, so that a second call takes a minute or two.
"""

from __future__ import annotations

import argparse
import itertools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _subsets import cut
from numpy.typing import NDArray

import korag.fusion
from korag import Collection
from korag.evaluation import Dataset, load_dataset
from korag.evaluation.bootstrap import intervals
from korag.fusion import Fusion, reciprocal_rank_fusion, weighted_fusion

MODELS = {"dense": "mini-dense", "sparse": "mini-splade", "colbert": "mini-colbert"}
LEXICAL = ("bm25", "bm25_kiwi")
LEGS = (*LEXICAL, *MODELS)
DEPTH = 100
Run = list[tuple[str, float]]
Runs = dict[str, Run]
Method = Callable[[Runs], list[tuple[str, float]]]


def anchored(least: float) -> Method:
    """`korag.anchored_fusion` with another least weight."""

    def fuse(runs: Runs) -> list[tuple[str, float]]:
        default = korag.fusion.LEAST_WEIGHT
        korag.fusion.LEAST_WEIGHT = least
        try:
            return Fusion("anchored")(runs, lexical=LEXICAL, depth=DEPTH)[0]
        finally:
            korag.fusion.LEAST_WEIGHT = default

    return fuse


def lexical_twice(runs: Runs) -> list[tuple[str, float]]:
    """Scaled scores, the lexical legs together counted twice: what ``Hybrid()`` was."""
    count = sum(leg in LEXICAL for leg in runs)
    return weighted_fusion(runs, weights={leg: 2 / count if leg in LEXICAL else 1.0 for leg in runs})


METHODS: Mapping[str, Method] = {
    "rrf": lambda runs: reciprocal_rank_fusion({leg: [id_ for id_, _ in run] for leg, run in runs.items()}),
    "weighted": weighted_fusion,
    "weighted, BM25 twice": lexical_twice,
    **{f"anchored, at least {least:.2f}": anchored(least) for least in (0.0, 0.25, 1 / 3, 0.5, 1.0)},
}
MADE_UP = ("chance", "chance 2", "chance 3", "sure and wrong", "strong")
MISLED: tuple[tuple[str, ...], ...] = (
    ("bm25", "chance"), ("bm25_kiwi", "chance"), ("bm25", "chance", "chance 2", "chance 3"),
    ("bm25", "dense", "chance"), ("bm25", "sparse", "colbert", "chance"), ("bm25", "sure and wrong"),
    ("bm25", "strong"), ("bm25", "bm25_kiwi", "strong"), ("bm25", "dense", "strong"), ("bm25", "chance", "strong"),
)  # fmt: skip


def leg_runs(data: Dataset, folder: Path) -> dict[str, dict[str, Run]]:
    """Returns the best documents by leg and query: from a collection of each leg, or from the folder."""
    runs: dict[str, dict[str, Run]] = {}
    for leg in LEGS:
        path = folder / f"{data.name}.{data.fingerprint[:12]}.{leg}.json"
        if not path.exists():
            options: dict[str, Any] = _lexical(leg) if leg in LEXICAL else {"encoders": [MODELS[leg]]}
            name = "bm25" if leg in LEXICAL else leg
            with Collection.in_memory(**options) as collection:
                collection.add_stream(list(data.documents.items()), show_progress=False)
                found = collection.search_many(data.queries.values(), using=name, k=DEPTH)
            made = {
                query: [(hit.id, hit.score) for hit in hits] for query, hits in zip(data.queries, found, strict=True)
            }
            path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
        read = json.loads(path.read_text(encoding="utf-8"))
        runs[leg] = {query: [(id_, score) for id_, score in run] for query, run in read.items()}
    return runs


def _lexical(leg: str) -> dict[str, Any]:
    return {"bm25": True, "tokenizer": "kiwi" if leg == "bm25_kiwi" else "bigram"}


def make_up(data: Dataset, dense: Mapping[str, Run]) -> dict[str, dict[str, Run]]:
    """Legs that know nothing, are sure of a wrong document, or are strong: the dense leg, with most answers raised."""
    ids = list(data.documents)
    runs: dict[str, dict[str, Run]] = {leg: {} for leg in MADE_UP}
    for query in data.queries:
        random = np.random.default_rng(zlib.crc32(query.encode()))
        for leg in MADE_UP[:4]:
            scores = np.sort(random.normal(0.3, 0.05, len(ids)))[::-1][:DEPTH]
            if leg == "sure and wrong":
                scores[0] += 0.5
            picked = random.choice(len(ids), len(scores), replace=False)
            runs[leg][query] = [(ids[index], float(score)) for index, score in zip(picked, scores, strict=True)]
        scored = dict(dense[query])
        spread = float(np.std(list(scored.values()))) if scored else 1.0
        lowest = min(scored.values(), default=0.0)
        for id_, grade in data.relevant.get(query, {}).items():
            if grade > 0:
                scored[id_] = scored.get(id_, lowest) + spread * random.normal(3.0, 3.0)
        runs["strong"][query] = sorted(scored.items(), key=lambda item: -item[1])[:DEPTH]
    return runs


def ndcg(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """nDCG@10 with linear gains, as `korag.evaluation` computes it; here to be fast."""
    gains = [max(0, grades.get(id_, 0)) / np.log2(rank + 2) for rank, id_ in enumerate(ranking[:10])]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:10]
    return float(sum(gains) / sum(grade / np.log2(rank + 2) for rank, grade in enumerate(ideal)))


class Measured:
    """One data set: values per query of legs and of fused legs."""

    def __init__(self, data: Dataset, folder: Path) -> None:
        self.name, self._relevant = data.name, data.relevant
        runs = leg_runs(data, folder)
        self._runs = runs | make_up(data, runs["dense"])
        self.legs = {leg: self._values(lambda runs: next(iter(runs.values())), (leg,)) for leg in self._runs}

    def _values(self, fuse: Method, legs: Sequence[str]) -> NDArray[np.float64]:
        values = []
        for query in self._relevant:
            fused = fuse({leg: self._runs[leg].get(query, []) for leg in legs})
            best = sorted(fused, key=lambda item: -item[1])[:10]
            values.append(ndcg([id_ for id_, _ in best], self._relevant[query]))
        return np.array(values)

    def difference(self, method: str, legs: Sequence[str]) -> tuple[float, float, float, float]:
        """The fused value; its difference to the best lexical leg of these, or to the best leg; and its interval."""
        fused = self._values(METHODS[method], legs)
        rivals = [leg for leg in legs if leg in LEXICAL] or list(legs)
        gains = fused - max((self.legs[leg] for leg in rivals), key=lambda values: float(values.mean()))
        low, high = intervals(gains[:, None])[:, 0]
        return float(fused.mean()), float(gains.mean()), float(low), float(high)


def combinations(*, lexical: bool) -> list[tuple[str, ...]]:
    """Two to five legs, with a lexical one or without."""
    some = itertools.chain.from_iterable(itertools.combinations(LEGS, size) for size in range(2, len(LEGS) + 1))
    return [legs for legs in some if any(leg in LEXICAL for leg in legs) == lexical]


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *rest = rows
    return "\n".join(" | ".join(row).join(["| ", " |"]) for row in [head, ["---"] + ["--:"] * (len(head) - 1), *rest])


def main() -> None:
    """Measures, and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", help="folders in BEIR's layout, or benchmarks by name")
    parser.add_argument("--output", type=Path, required=True, help="folder that keeps the legs' runs")
    parser.add_argument("--queries", type=int, default=400, help="of each set, evenly spread (400)")
    parser.add_argument("--documents", type=int, default=10_000, help="of each set, evenly spread (10,000)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sets = [
        Measured(cut(load_dataset(source), options.queries, options.documents), options.output)
        for source in options.datasets
    ]
    names = [data.name for data in sets]

    print("## Legs alone\n")
    alone = [[leg, *(f"{data.legs[leg].mean():.3f}" for data in sets)] for leg in (*LEGS, *MADE_UP)]
    print(table([["nDCG@10", *names], *alone]))

    with_lexical, without = combinations(lexical=True), combinations(lexical=False)
    found = {
        (method, legs, data.name): data.difference(method, legs)
        for method in METHODS for legs in (*with_lexical, *without, *MISLED) for data in sets
    }  # fmt: skip

    print("\n## Methods: mean of all combinations with a lexical leg, against the better lexical leg of each\n")
    rows = [
        ["", "nDCG@10", "gain", *(f"{name}: gain" for name in names), "worst", "below", "legs alone: worst", "below"]
    ]
    means = {}
    for method in METHODS:
        cells = {key[1:]: value for key, value in found.items() if key[0] == method}
        own = [cells[legs, name] for legs in with_lexical for name in names]
        rest = [cells[legs, name] for legs in without for name in names]
        means[method] = {name: float(np.mean([cells[legs, name][1] for legs in with_lexical])) for name in names}
        rows.append([
            method, f"{np.mean([cell[0] for cell in own]):.4f}", f"{np.mean([cell[1] for cell in own]):+.4f}",
            *(f"{means[method][name]:+.4f}" for name in names), f"{min(cell[1] for cell in own):+.3f}",
            f"{sum(cell[3] < 0 for cell in own)} of {len(own)}", f"{min(cell[1] for cell in rest):+.3f}",
            f"{sum(cell[3] < 0 for cell in rest)} of {len(rest)}",
        ])  # fmt: skip
    print(table(rows))

    if len(names) > 1:
        print("\n## Chosen without the set: fewest below, then the highest gain\n")
        rows = [["left out", "chosen by the others", "gain there", "worst there", "below there"]]
        for left in names:
            others = [name for name in names if name != left]

            def rank(method: str, others: list[str] = others) -> tuple[int, float]:
                below = sum(found[method, legs, name][3] < 0 for legs in with_lexical for name in others)
                return -below, float(np.mean([means[method][name] for name in others]))

            best = max(METHODS, key=rank)
            there = [found[best, legs, left] for legs in with_lexical]
            rows.append([
                left, best, f"{means[best][left]:+.4f}", f"{min(cell[1] for cell in there):+.3f}",
                f"{sum(cell[3] < 0 for cell in there)} of {len(there)}",
            ])  # fmt: skip
        print(table(rows))

    print("\n## Misleading and strong legs: difference to the better lexical leg, mean of the sets (worst set)\n")
    rows = [["", *METHODS]]
    for legs in MISLED:
        gains = {method: [found[method, legs, name][1] for name in names] for method in METHODS}
        rows.append(
            [" + ".join(legs), *(f"{np.mean(gains[method]):+.3f} ({min(gains[method]):+.3f})" for method in METHODS)]
        )
    print(table(rows))

    default = f"anchored, at least {korag.fusion.LEAST_WEIGHT:.2f}"
    print(f"\n## The default ({default}): every combination, nDCG@10 and difference [95 % interval]\n")
    rows = [["", *names]]
    for legs in (*with_lexical, *without):
        values = [found[default, legs, name] for name in names]
        rows.append(
            [" + ".join(legs), *(f"{v:.3f} {gain:+.3f} [{low:+.3f}, {high:+.3f}]" for v, gain, low, high in values)]
        )
    print(table(rows))


if __name__ == "__main__":
    main()
