"""``korag merge``: merges a LoRA adapter into its base model."""

from __future__ import annotations

import argparse
from typing import Any

from korag.commands.opening import add_json
from korag.commands.options import as_json, write


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    about = "LoRA 어댑터를 베이스에 병합합니다. Merges a LoRA adapter into its base."
    parser = subparsers.add_parser("merge", help=about, description=about)
    parser.add_argument("adapter", metavar="ADAPTER", help="어댑터의 폴더. The adapter's folder.")
    parser.add_argument("output", metavar="OUTPUT", help="만들 폴더. The folder to make.")
    parser.add_argument("--base", help="다른 곳에 있는 베이스 모델. The base, if it is elsewhere.")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Merges and saves; prints the folder."""
    from korag.training.saving import merge_adapter

    folder = str(merge_adapter(options.adapter, options.output, base=options.base))
    write(as_json({"folder": folder}) if options.json else folder)
