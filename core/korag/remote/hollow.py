"""A model without weights: its tokenizer, its marks and masks, and everything else that happens before and after."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from korag._optional import check
from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.hub import has_weights
from korag.checkpoints.settings import read_modules
from korag.errors import InvalidArgumentError
from korag.storage import copy_folder

DEVICE = "meta"
"""torch's device for tensors that have a shape and no numbers."""


def check_plain(checkpoint: Checkpoint) -> None:
    """Checks that a model can be served.

    Raises:
        InvalidArgumentError: If it is an adapter, or a head on the backbone of a dense model.
        MissingDependencyError: If accelerate is not installed.
    """
    if checkpoint.base is not None or checkpoint.head is not None:
        name = checkpoint.source.name
        raise InvalidArgumentError(
            f"like={name!r}: 어댑터와 dense 모델에 딸린 헤드는 서버에 맡길 수 없습니다. 어댑터는 베이스에 병합해 "
            "저장한 폴더를 서버와 like에 쓰세요.",
            f"like={name!r}: adapters, and heads on a dense model, cannot be served. Merge an adapter into its base, "
            "save that, and use the saved folder for the server and for like=.",
        )
    check("accelerate", extra="http")


@contextlib.contextmanager
def weightless(folder: Path) -> Iterator[Path]:
    """Yields a folder to load without weights: itself, or a copy that has an empty file in place of missing ones.

    Whoever loads it hides transformers' list of weights that it lacks, which is all of them.
    """
    with _without_warnings():
        if has_weights(folder):
            yield folder
            return
        from safetensors.numpy import save_file

        with TemporaryDirectory(prefix="korag-") as temporary:
            copy = Path(temporary) / "model"
            copy_folder(folder, copy)
            modules = read_modules(copy)
            backbone = copy / (modules[0]["path"] if modules else "")
            save_file({}, backbone / "model.safetensors", metadata={"format": "pt"})
            yield copy


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    logger, nothing = logging.getLogger("transformers.modeling_utils"), logging.Filter("nothing")
    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)
