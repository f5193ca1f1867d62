"""``korag upgrade``: rewrites a collection in the current format, or with another codec."""

from __future__ import annotations

import argparse
from typing import Any

from korag.commands.opening import add_json, check_folder
from korag.commands.options import add_token_options, as_json, write


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "upgrade",
        help="컬렉션을 지금 형식이나 다른 코덱으로 다시 저장합니다. Rewrites a collection in another format or codec.",
        description="컬렉션을 지금 형식이나 다른 코덱으로 다시 저장합니다. 글을 다시 인코딩하지는 않습니다. Rewrites a "
        "collection in the current format, or with another codec, without encoding a text.",
    )
    parser.add_argument("folder", metavar="INDEX", help="컬렉션의 폴더. The collection's folder.")
    add_token_options(parser, pool_factor=False)
    add_json(parser)
    parser.set_defaults(
        run=run, interrupted=("컬렉션은 이전 그대로입니다.", "The collection is as it was; run the command again.")
    )


def run(options: argparse.Namespace) -> None:
    """Rewrites, and prints how much."""
    from korag.collection import Collection

    rewritten = Collection.upgrade(
        check_folder("folder", options.folder), codec=options.codec, keep_vectors=options.keep_vectors
    )
    if options.json:
        write(as_json({"segments_rewritten": rewritten}))
        return
    write(f"다시 쓴 세그먼트: {rewritten:,}개 / Segments rewritten: {rewritten:,}")
