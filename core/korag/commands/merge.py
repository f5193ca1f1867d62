"""``korag merge``: merges a LoRA adapter into its base model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from korag.commands.opening import add_json
from korag.commands.options import write


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser("merge", help="LoRA 어댑터를 합쳐 저장 / merge a LoRA adapter into its base")
    parser.add_argument("adapter", help="어댑터 폴더 / the adapter's folder")
    parser.add_argument("output", help="만들 폴더 / folder to make")
    parser.add_argument("--base", help="베이스 모델 / the base, if it is elsewhere")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Merges and saves; prints the folder."""
    from korag.training.saving import merge_adapter

    folder = str(merge_adapter(options.adapter, options.output, base=options.base))
    write(json.dumps({"folder": folder}, ensure_ascii=False) if options.json else folder)
