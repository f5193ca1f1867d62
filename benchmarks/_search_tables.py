"""The tables and the plot of search.py, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import latencies
from _passages import Floats, Passages
from _search_runs import Found, K
from _truth import TIE, right
from numpy.typing import NDArray

SHARES: dict[str, int] = {"all": 1, "10 %": 10, "1 %": 100}
"""Which documents a filter keeps: those whose numbers are divisible by this."""
Table = list[dict[str, object]]


class Rows:
    """Rows of all tables."""

    def __init__(self) -> None:
        self._sizes: Table = []
        self._times: Table = []
        self._peers: Table = []
        self._imports: list[tuple[float, float]] = []
        self._made: list[str] = []
        self._facts: dict[str, Any] = {}
        self._versions: dict[str, str] = {}

    def add(
        self, codec: str, passages: Passages, found: Mapping[str, Any], filled: Mapping[str, Any], true: Floats
    ) -> None:
        """Adds a collection.

        Args:
            codec: Its codec.
            passages: Its documents.
            found: As `_search_korag.measure` returns it.
            filled: As `_search_korag.fill` returns it.
            true: Scores of the float16 vectors. Shape: (queries, documents).
        """
        tokens = int(passages.lengths.sum())
        self._facts = self._facts or found["facts"]
        self._imports.append((found["imports"], found["ready"]))
        real = min(passages.count, passages.real)
        made = f"{passages.count:,} documents: {tokens:,} tokens; of these documents {real:,} are real passages."
        self._made += [] if made in self._made else [made]
        self._sizes.append({
            "codec": codec,
            "documents": passages.count,
            "vectors, GB": found["segments"] / 1e9,
            "database, GB": found["database"] / 1e9,
            "bytes a token": found["segments"] / tokens,
            "added in, s": filled["added"],
            "opened in, s": found["opened"],
            "first search, s": found["first"],
            **{f"resident after {way}, MB": found["memory"][way] / 1e6 for way in found["memory"]},
        })  # fmt: skip
        for way, by_share in sorted(found["ways"].items(), key=lambda item: item[0] != "exact"):
            row: dict[str, object] = {"codec": codec, "documents": passages.count, "search": way}
            whole = statistics.median(by_share["all"]["seconds"])
            for share, every in SHARES.items():
                one = by_share[share]
                allowed = None if every == 1 else np.arange(passages.count) % every == 0
                own = agreement(one, found["ways"]["exact"][share])
                if every == 1:
                    row |= latencies(one["seconds"])
                    row["recall@10 of codec's exact"] = own
                    row["of float16's exact"] = recall(one, true, allowed)
                else:
                    row[f"{share}: p50, ms"] = statistics.median(one["seconds"]) * 1e3
                    row[f"{share}: part of the time"] = statistics.median(one["seconds"]) / whole
                    row[f"{share}: recall@10"] = own
            self._times.append(row)
            one = by_share["all"]
            size, memory = found["segments"], found["memory"][way]
            self._peers.append(self._peer(f"KoRAG {codec}, {way}", passages, one, size, memory, filled, true))

    def add_peer(self, peer: str, passages: Passages, found: Mapping[str, Any], true: Floats) -> None:
        """Adds an index of a peer.

        Args:
            peer: Its name.
            passages: Its documents.
            found: As `_search_peers.main` answers; ``failed``, why there is nothing; empty if it was not tried.
            true: Scores of the float16 vectors. Shape: (queries, documents).
        """
        if "failed" in found:
            self._made.append(f"{peer}, {passages.count:,} documents: {found['failed']}.")
        for way, one in found.get("ways", {}).items():
            name = f"{peer}, {way}"
            self._peers.append(self._peer(name, passages, one, found["disk"], found["memory"][way], found, true))
        self._versions |= found.get("versions", {})

    def _peer(
        self, name: str, passages: Passages, one: Found, size: int, memory: Any, filled: Any, true: Floats
    ) -> dict[str, object]:
        return {
            "index": name,
            "documents": passages.count,
            "queries": len(one["seconds"]),
            **latencies(one["seconds"]),
            "recall@10": recall(one, true, None),
            "bytes a token": size / int(passages.lengths.sum()),
            "resident, MB": memory / 1e6 if memory else None,
            "added in, s": filled["added"],
        }

    def growth(self) -> dict[str, Table]:
        """Returns the tables of ``--grow``."""
        return {"Size, and opening": self._sizes, "Searching": self._times}

    def against(self) -> dict[str, Table]:
        """Returns the table of all indexes, the sizes one after another."""
        return {"Late-interaction indexes": sorted(self._peers, key=lambda row: int(str(row["documents"])))}

    def notes(self) -> list[str]:
        """Returns sentences below the tables."""
        versions = ", ".join(f"{name} {version}" for name, version in self._versions.items())
        memory = ""
        if self._imports:
            size, seconds = map(statistics.median, zip(*self._imports, strict=True))
            memory = f"Imports and a small collection, for kernels: {size / 1e6:.0f} MB of it, {seconds:.1f} s before."
        return [note for note in (*self._made, memory, f"Peers: {versions}." if versions else "") if note]

    def facts(self, now: dict[str, Any]) -> dict[str, Any]:
        """Returns facts about the machine when the first collection was measured; otherwise those of now."""
        return self._facts or now

    def plot(self, path: Path) -> None:
        """Draws milliseconds against documents, on logarithmic axes."""
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(7, 4.4))
        colors: dict[str, str] = {}
        marks: dict[str, str] = {}
        for codec, way in dict.fromkeys((str(row["codec"]), str(row["search"])) for row in self._times):
            rows = [row for row in self._times if (row["codec"], row["search"]) == (codec, way)]
            color = colors.setdefault(codec, f"C{len(colors)}")
            mark = marks.setdefault(way, ("o-", "s--", "^:", "v-.")[len(marks) % 4])
            sizes, times = ([float(str(row[column])) for row in rows] for column in ("documents", "p50, ms"))
            axes.plot(sizes, times, mark, color=color, label=f"{codec}, {way}", markersize=4)
        axes.set(xscale="log", yscale="log", xlabel="passages", ylabel="p50, ms")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7)
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def recall(one: Found, true: Floats, allowed: NDArray[np.bool_] | None) -> float:
    """Returns recall@10 against exact float16 search.

    Args:
        one: What was found.
        true: Scores of the float16 vectors. Shape: (queries, documents).
        allowed: Documents to choose from; None for all. Shape: (documents,).
    """
    return statistics.mean(right(ids, true[query], allowed, K) for query, ids in enumerate(one["ids"]))


def agreement(one: Found, exact: Found) -> float:
    """Returns recall@10 against another search of the same collection, whose last document may have equals."""
    return statistics.mean(
        _agreeing(*found) for found in zip(one["ids"], one["scores"], exact["ids"], exact["scores"], strict=False)
    )


def _agreeing(
    ids: Sequence[str], own: Sequence[float | None], exact: Sequence[str], scores: Sequence[float | None]
) -> float:
    if not exact:
        return 1.0
    least, best = float(scores[-1] or 0.0), set(exact)
    hits = zip(ids, own, strict=True)
    return sum(id_ in best or abs(float(score or 0.0) - least) <= TIE * abs(least) for id_, score in hits) / len(exact)
