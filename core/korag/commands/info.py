"""``korag info``: what a collection holds, without loading its models."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from korag.commands.opening import add_index, add_json, read_index
from korag.commands.options import as_json, write


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    about = "컬렉션에 무엇이 있는지 봅니다. Shows what a collection holds."
    parser = subparsers.add_parser("info", help=about, description=about)
    add_index(parser, models=False)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints what is in the collection."""
    from korag.collection.local.stored import FolderInfo

    with read_index(options) as stored:
        info = stored.info()
    if options.json:
        write(as_json(asdict(info), indent=1))
        return
    write(info.path if isinstance(info, FolderInfo) else f"{info.url} --collection {info.collection}")
    write(f"문서 / documents: {info.documents:,}")
    if isinstance(info, FolderInfo):
        write(f"크기 / size: {info.bytes / 1e6:,.1f} MB, 세그먼트 / segments: {info.segments:,}, format {info.format}")
    elif info.late_interaction == "rerank":
        write("late_interaction: rerank")
    for leg in info.legs:
        facts = [leg.model or leg.tokenizer or "", f"codec {leg.codec}"]
        facts += [f"구간 / windows: {leg.window:,} 토큰 / tokens"] if leg.window else []
        write(f"{leg.name}: {', '.join(fact for fact in facts if fact)}")
    if info.fusion is not None:
        write(f"맞춘 결합 / fitted fusion: {as_json(info.fusion)}")
