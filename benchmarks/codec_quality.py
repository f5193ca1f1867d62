"""Quality and size of the codecs of late interaction: nDCG@10 of each, against float16 vectors, and bytes a token.

    python benchmarks/codec_quality.py path/to/tydiqa-goldp-ko path/to/statute-title --folder build/codecs \
        --json docs/performance/codecs.json

Every collection is searched exactly, so that only the codes differ; "+vectors" scores its best documents again by the
vectors that it keeps. Bytes are those of the segments, divided by the tokens before pooling. Texts are encoded once;
what was measured is kept in ``--folder``, and only what is missing there is measured.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from _common import disk, machine_facts, publish, results, write
from _passages import DIM
from _search_runs import read
from _vectors import Floats, LookupEncoder

from korag import Collection, load_encoder
from korag.checkpoints.presets import Family
from korag.evaluation import Dataset, load_dataset, score_rankings
from korag.text import normalize

CODECS = ("float16", "int8", "4bit", "2bit", "1bit", "4bit+vectors", "2bit+vectors", "1bit+vectors")
MEASURE = "nDCG@10"


class Encoded(LookupEncoder[list[Floats]]):
    """Token vectors of texts that were encoded before.

    Args:
        file: Where they are kept.
        data: The texts.
    """

    family: ClassVar[Family] = "late_interaction"

    def __init__(self, file: Path, data: Dataset) -> None:
        super().__init__(DIM, "maxsim")
        parts = {"documents": list(map(normalize, data.documents.values()))}
        parts["queries"] = list(map(normalize, data.queries.values()))
        if not file.exists():
            encoder: Any = load_encoder("mini-colbert")
            vectors = {
                "documents": encoder.encode_documents(parts["documents"]),
                "queries": encoder.encode_queries(parts["queries"]),
            }
            kept = {f"{name}_lengths": np.array([len(one) for one in own]) for name, own in vectors.items()}
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_name("unfinished-" + file.name)
            kept |= {name: np.concatenate(own) for name, own in vectors.items()}
            np.savez(unfinished, allow_pickle=False, **kept)
            unfinished.replace(file)
        with np.load(file) as stored:
            self.tokens = int(stored["documents_lengths"].sum())
            self._found = {
                name: dict(zip(texts, np.split(stored[name], np.cumsum(stored[f"{name}_lengths"])[:-1]), strict=True))
                for name, texts in parts.items()
            }

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[Floats]:
        """As mini-colbert."""
        return [self._found["documents"][normalize(text)] for text in texts]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[Floats]:
        """As mini-colbert."""
        return [self._found["queries"][normalize(text)] for text in texts]


def main() -> None:
    """Measures each codec on each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="FOLDER", help="as for korag eval")
    parser.add_argument("--folder", type=Path, required=True, help="where vectors, collections and results are kept")
    parser.add_argument("--codecs", nargs="+", default=list(CODECS))
    parser.add_argument("--pool", type=int, nargs="+", default=[1, 2, 3], help="values of pool_factor")
    parser.add_argument("--queries", type=int, default=100_000, help="of each data set, evenly spread")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts = machine_facts("numba")
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for place in options.datasets:
        data = load_dataset(place)
        encoder = Encoded(options.folder / f"{data.name}.npz", data)
        chosen = list(data.queries)[:: -(-len(data.queries) // options.queries)]
        queries = {query: data.queries[query] for query in chosen}
        for codec in options.codecs:
            for pool in options.pool:
                file = options.folder / f"{data.name}-{codec}-{pool}.json"
                if not file.exists():
                    write(measure(data, queries, encoder, codec, pool, options.folder), file)
                found.setdefault((codec, pool), []).append(read(file))
    names = [Path(place).name for place in options.datasets]
    table = rows(found, names)
    if options.json:
        plot(table, options.json.with_suffix(".png"))
    publish(results(facts, {"Quality of codecs": table}), options.json)


def measure(
    data: Dataset, queries: Mapping[str, str], encoder: Encoded, codec: str, pool: int, folder: Path
) -> dict[str, Any]:
    """Fills a collection and searches it.

    Args:
        data: Its documents.
        queries: Those to search for, by id.
        encoder: Of their texts.
        codec: A codec's name, with "+vectors" if the vectors are kept.
        pool: The pool factor.
        folder: Where the collection is kept.

    Returns:
        ``scores``, nDCG@10 of each query, and the ``bytes`` a token.
    """
    place = folder / f"{data.name}-{codec}-{pool}"
    settings: dict[str, Any] = {"codec": codec.removesuffix("+vectors"), "pool_factor": pool}
    if codec.endswith("+vectors"):
        settings["keep_vectors"] = True
    with Collection.open(place, encoders=[encoder], **settings) as collection:
        collection.add(list(data.documents.values()), ids=list(data.documents), show_progress=False)
        hits = collection.search_many(list(queries.values()), k=10, repair_query=False)
    rankings = {query: [hit.id for hit in own] for query, own in zip(queries, hits, strict=True)}
    scores = score_rankings(rankings, {query: data.relevant[query] for query in queries}, depth=10)[MEASURE]
    return {
        "scores": dict(zip(queries, scores.tolist(), strict=True)),
        "bytes": disk(place / "segments") / encoder.tokens,
    }


def rows(found: dict[tuple[str, int], list[dict[str, Any]]], names: Sequence[str]) -> list[dict[str, object]]:
    """Returns a row per codec and pool factor; differences, in points, are to float16 vectors, of the same queries."""
    base = found.get(("float16", 1))
    table: list[dict[str, object]] = []
    for (codec, pool), own in found.items():
        means = [100 * statistics.mean(one["scores"].values()) for one in own]
        row: dict[str, object] = {
            "codec": codec,
            "pool_factor": pool,
            "bytes a token": statistics.mean(one["bytes"] for one in own),
            **dict(zip(names, means, strict=True)),
            "mean": statistics.mean(means),
        }
        if base is not None:
            differences = [
                100 * statistics.mean(one["scores"][query] - exact["scores"][query] for query in exact["scores"])
                for one, exact in zip(own, base, strict=True)
            ]
            row |= {"− float16": statistics.mean(differences), "worst set": min(differences)}
        table.append(row)
    return table


def plot(table: Sequence[dict[str, object]], path: Path) -> None:
    """Draws quality against bytes a token."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.4))
    for number, pool in enumerate(dict.fromkeys(row["pool_factor"] for row in table)):
        own = [row for row in table if row["pool_factor"] == pool]
        sizes, means = ([float(str(row[column])) for row in own] for column in ("bytes a token", "mean"))
        axes.plot(sizes, means, ("o", "s", "^", "v")[number % 4], color=f"C{number}", label=f"pool_factor {pool}")
        for row, size, mean in zip(own, sizes, means, strict=True):
            axes.annotate(str(row["codec"]), (size, mean), fontsize=6, xytext=(4, 3), textcoords="offset points")
    axes.set(xscale="log", xlabel="bytes a token", ylabel="nDCG@10, mean of the sets")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
