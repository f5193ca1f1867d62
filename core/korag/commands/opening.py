"""Opening the collection that a command names, in a folder or on a Qdrant server, and choosing its models."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from korag.errors import ForeignFolderError, InvalidArgumentError
from korag.paths import shell_word

if TYPE_CHECKING:
    from korag.collection.base import Collection
    from korag.collection.local.opening import Server
    from korag.collection.local.stored import StoredFolder
    from korag.collection.qdrant.stored import StoredOnServer

_KEY = "QDRANT_API_KEY"
"""The variable with a server's key, which would be seen in the list of processes if it were an option."""


def add_index(parser: argparse.ArgumentParser, *, models: bool) -> None:
    """Adds the collection, and how its models are found.

    Args:
        parser: The command.
        models: Whether it needs them.
    """
    parser.add_argument(
        "index",
        metavar="INDEX",
        help="컬렉션의 폴더, 또는 Qdrant 서버의 주소. The collection's folder, or the address of a Qdrant server.",
    )
    parser.add_argument(
        "--collection",
        metavar="NAME",
        help=f"서버에 있는 컬렉션의 이름. 서버의 키는 환경 변수 {_KEY}에 넣습니다. The collection's name on the "
        f"server, whose key is taken from {_KEY}.",
    )
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
        help="폴더나 서버에 적힌 모델을 어디에 있든 불러옵니다. 믿을 수 있을 때만 쓰세요. Loads the models that the "
        "folder or server names from wherever they are; only for one you trust.",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json``."""
    parser.add_argument("--json", action="store_true", help="결과를 JSON으로 출력합니다. Prints the result as JSON.")


def open_index(options: argparse.Namespace) -> Collection:
    """Opens the collection that the options name, which must exist.

    Raises:
        KoragError: If it cannot be opened.
    """
    if (server := _server(options)) is not None:
        from korag.collection.qdrant.stored import open_existing

        return open_existing(server, encoders=options.models, load_stored_models=options.load_stored_models)
    from korag.collection.local.opening import open_saved

    with _advising(options.index):
        return open_saved(
            options.index,
            encoders=options.models,
            load_stored_models=options.load_stored_models,
            made_by=f"korag index FOLDER --to '{options.index}'",
        )


@contextmanager
def read_index(options: argparse.Namespace) -> Iterator[StoredFolder | StoredOnServer]:
    """Reads the collection that the options name, without loading its models.

    Raises:
        KoragError: If it cannot be read.
    """
    from korag.collection.local import stored as folders
    from korag.paths import check_path

    if (server := _server(options)) is not None:
        from korag.collection.qdrant import stored as servers

        with servers.reading(server) as on_server:
            yield on_server
        return
    with _advising(options.index), folders.reading(check_path("INDEX", options.index)) as in_folder:
        yield in_folder


@contextmanager
def _advising(index: str) -> Iterator[None]:
    """Says how to index a folder that is no collection: perhaps it is the one with the files."""
    try:
        yield
    except ForeignFolderError as error:
        if not Path(index).is_dir():
            raise
        korean, english = error.args
        command = f"korag index {shell_word(index)} --to"
        raise ForeignFolderError(
            f"{korean} 찾을 파일이 있는 폴더라면 먼저 {command} 색인",
            f"{english} If it has the files to search, first: {command} INDEX",
        ) from error


def check_folder(option: str, text: str) -> str:
    """Returns the name of a folder.

    Args:
        option: Where it was given, for the message.
        text: The name.

    Raises:
        InvalidArgumentError: If it is the address of a server.
    """
    if _is_url(text):
        raise InvalidArgumentError(
            f"{option}: 이 명령은 폴더에만 쓸 수 있는데 서버의 주소를 넣었습니다. 컬렉션의 폴더를 넣으세요. 폴더를 "
            "서버로 옮기려면 파이썬에서 Collection.open(폴더).export_to(QdrantCollection.open(...))를 쓰세요.",
            f"{option} is the address of a server, and this command is for folders; pass a collection's folder. In "
            "Python, Collection.open(folder).export_to(QdrantCollection.open(...)) moves one to a server.",
        )
    return text


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _server(options: argparse.Namespace) -> Server | None:
    """Returns the server that the options name; None for a folder.

    Raises:
        InvalidArgumentError: If the collection's name is missing, or given for a folder.
    """
    from korag.collection.local.opening import Server

    if not _is_url(options.index):
        if options.collection is not None:
            raise InvalidArgumentError(
                f"--collection {options.collection}: 서버에 있는 컬렉션에만 씁니다. INDEX에 서버의 주소를 넣거나 "
                "(예: http://localhost:6333) --collection을 빼세요.",
                f"--collection {options.collection} is for a collection on a server; pass the server's address as "
                "INDEX, for example http://localhost:6333, or leave it out.",
            )
        return None
    if options.collection is None:
        raise InvalidArgumentError(
            "서버에 있는 컬렉션의 이름이 필요합니다. --collection 이름을 더하세요.",
            "The collection's name on the server is missing; add --collection NAME.",
        )
    return Server(options.index, options.collection, os.environ.get(_KEY) or None)
