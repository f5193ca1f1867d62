"""Opening a collection's folder, and choosing its models, for the commands that read one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from korag.collection import LocalCollection


def add_folder(parser: argparse.ArgumentParser, *, models: bool) -> None:
    """Adds the folder, and how its models are found.

    Args:
        parser: The command.
        models: Whether it needs them.
    """
    parser.add_argument("folder", metavar="INDEX", help="컬렉션의 폴더. The collection's folder.")
    if not models:
        return
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help="컬렉션을 만든 모델. 내장 모델과 폴더 안의 모델은 적지 않아도 됩니다. The models the collection was made "
        "with; bundled ones and those inside the folder are found without this.",
    )
    parser.add_argument(
        "--load-stored-models",
        action="store_true",
        help="폴더에 적힌 모델을 어디에 있든 불러옵니다. 믿을 수 있는 폴더에만 쓰세요. Loads the models that the "
        "folder names from wherever they are; only for a folder you trust.",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json``."""
    parser.add_argument("--json", action="store_true", help="결과를 JSON으로 출력합니다. Prints the result as JSON.")


def open_folder(options: argparse.Namespace) -> LocalCollection:
    """Opens the collection that the options name."""
    from korag.collection.local.opening import open_saved

    return open_saved(
        options.folder,
        encoders=options.models,
        load_stored_models=options.load_stored_models,
        made_by=f"korag index FOLDER --to '{options.folder}'",
    )
