r"""Late-interaction search at growing sizes, per codec; and against other indexes.

    PLACES="--data ../shared/data --vectors build/vectors --folder build/search"
    python benchmarks/search.py $PLACES --grow --json docs/performance/growth.json
    python benchmarks/search.py $PLACES --json docs/performance/search.json

Vectors are those of `_passages.py`: real passages by mini-colbert, and windows over neighbouring ones. Queries are real
questions of 32 tokens, encoded beforehand; times include reading the documents from the collection. Each collection and
each index is filled once in ``--folder``, and measured in a process of its own, one after another. Recall@10 is counted
by scores, so that a document which is as good as the tenth best is right: against exact search of the same codec, and
against the exact MaxSim of all float16 vectors.

Steps can be run one at a time, for example ``--steps fill`` on a busy machine and ``--steps measure report`` on a quiet
one; what was filled and measured is kept in ``--folder``. Peers get an environment each, made at the first run, and
``--limit`` seconds for filling and for measuring.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _passages
import _peers
import _search_tables as tables
from _common import copy_gbs, machine_facts, publish, results, write
from _search_korag import DEFAULT
from _search_peers import PEERS
from _search_runs import ask, read
from _truth import scores

CODECS = ("1bit", "2bit", "4bit", "float16", "1bit+vectors")
GROWTH, AGAINST = (10_000, 100_000, 1_000_000), (10_000,)
STEPS = ("fill", "measure", "report")
KORAG = "_search_korag.py"


def main() -> None:
    """Fills, measures, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vectors", type=Path, required=True, help="folder of the token vectors; filled if --data is given"
    )
    parser.add_argument("--data", type=Path, help="folder with " + ", ".join(file for file, _ in _passages.TEXTS))
    parser.add_argument("--folder", type=Path, required=True, help="where collections and indexes are kept")
    parser.add_argument("--grow", action="store_true", help="korag alone, at growing sizes, with a plot next to --json")
    parser.add_argument("--sizes", type=int, nargs="+", help="documents")
    parser.add_argument("--codecs", nargs="*", default=list(CODECS), help=f"or {DEFAULT}, for that of a new collection")
    parser.add_argument("--skip", nargs="+", default=[], metavar="CODEC-SIZE", help="for example float16-1000000")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), metavar="PEER")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--limit", type=float, default=600, help="seconds for filling and for measuring a peer")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.data:
        _passages.encode(options.vectors, options.data, max(sizes(options)))
    for size in sizes(options):
        for codec in options.codecs:
            if f"{codec}-{size}" not in options.skip:
                korag(codec, size, options)
        for peer in [] if options.grow else options.peers:
            against(peer, size, options)
        if "measure" in options.steps:
            truth(size, options)
    if "report" in options.steps:
        report(options)


def sizes(options: argparse.Namespace) -> list[int]:
    """Returns the numbers of documents."""
    return list(options.sizes or (GROWTH if options.grow else AGAINST))


def korag(codec: str, size: int, options: argparse.Namespace) -> None:
    """Fills and measures a collection."""
    folder = options.folder / f"{codec}-{size}"
    task = {"folder": str(folder), "codec": codec, "vectors": str(options.vectors)}
    if "fill" in options.steps:
        ask(sys.executable, KORAG, {"do": "fill", "count": size, **task})
    if "measure" in options.steps:
        say(f"{codec}, {size:,} documents")
        facts = machine_facts("numba")
        found = ask(sys.executable, KORAG, {"do": "measure", "queries": options.queries, **task})
        write({"facts": facts, **found}, measured(folder))


def against(peer: str, size: int, options: argparse.Namespace) -> None:
    """Fills and measures an index of a peer."""
    folder = options.folder / "peers" / f"{peer}-{size}"
    python = _peers.make(_peers.DEFAULT.with_name(PEERS[peer].environment), PEERS[peer].packages)
    task = {"peer": peer, "folder": str(folder), "vectors": str(options.vectors), "count": size}
    filled = Path(f"{folder}.json")
    if "fill" in options.steps and not filled.exists():
        say(f"{peer}, {size:,} documents: filling")
        write(attempt(python, task | {"do": "fill"}, options.limit), filled)
    if "measure" in options.steps and "failed" not in read(filled):
        say(f"{peer}, {size:,} documents")
        asked = task | {"do": "measure", "queries": options.queries}
        write(read(filled) | attempt(python, asked, options.limit), measured(folder))


def attempt(python: Path, task: dict[str, Any], limit: float) -> dict[str, Any]:
    """Asks a peer; returns its answer, or why there is none."""
    try:
        return ask(python, "_search_peers.py", task, limit=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"could not {task['do']} within {limit:.0f} s"}
    except subprocess.CalledProcessError as error:
        return {"failed": f"could not {task['do']}: exit status {error.returncode}"}


def truth(size: int, options: argparse.Namespace) -> tuple[_passages.Passages, Any]:
    """Returns the documents of a size and their true scores."""
    passages = _passages.Passages(options.vectors, size)
    asked = _passages.queries(options.vectors, options.queries)
    return passages, scores(passages, asked, options.folder / "truth")


def report(options: argparse.Namespace) -> None:
    """Writes the tables of what was measured."""
    rows: tables.Rows = tables.Rows()
    for size in sizes(options):
        passages, true = truth(size, options)
        own = {
            codec: (read(measured(folder)), read(Path(f"{folder}.json")))
            for codec in options.codecs
            if measured(folder := options.folder / f"{codec}-{size}").exists()
        }
        for codec, (found, filled) in own.items():
            rows.add(codec, passages, found, filled, true)
        if not options.grow:
            for peer in options.peers:
                folder = options.folder / "peers" / f"{peer}-{size}"
                rows.add_peer(peer, passages, read(measured(folder)) or read(Path(f"{folder}.json")), true)
    if options.grow:
        found = rows.growth()
        if options.json:
            rows.plot(options.json.with_suffix(".png"))
    else:
        found = rows.against()
    notes = [*rows.notes(), f"Copying memory at the time of the report: {copy_gbs():.1f} GB/s."]
    publish(results(rows.facts(machine_facts("numba")), found, notes=notes), options.json)


def measured(folder: Path) -> Path:
    """Returns the file of what was measured of a collection or an index."""
    return Path(f"{folder}.measured.json")


def say(text: str) -> None:
    """Tells how far it is."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
