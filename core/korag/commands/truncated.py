"""``korag truncated``: which documents of a collection its models do not read to the end."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from korag.commands.opening import add_index, add_json, open_index
from korag.commands.options import as_json, write


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    about = "모델이 끝까지 읽지 못한 문서를 봅니다. Shows the documents that models do not read to the end."
    parser = subparsers.add_parser("truncated", help=about, description=about)
    add_index(parser, models=True)
    parser.add_argument("--all", action="store_true", help="잘린 문서를 모두 보여 줍니다. Lists all that are cut.")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints a summary for each model."""
    with open_index(options) as collection:
        found = collection.truncated()
    if options.json:
        entries = [asdict(one) | {"lost": one.lost, "remedy": one.remedy[1]} for one in found]
        write(as_json(entries, indent=1))
        return
    if not found:
        write("모델이 없는 컬렉션입니다. BM25는 글을 끝까지 색인합니다.\nThere is no model; BM25 indexes whole texts.")
    for one in found:
        write(f"{one}\n")
        for document in one.cut if options.all else ():
            write(f"  {document.id}: {document.tokens:,} 토큰 / tokens, {document.lost:,} 잃음 / lost")
