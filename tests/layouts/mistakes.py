"""Mistakes with models that load otherwise: another family, a size that is not there, files that are missing."""

from __future__ import annotations

from pathlib import Path

import checkpoints

from korag import load_encoder
from korag.errors import CheckpointError, CheckpointNotFoundError, UnknownDimError, UnknownFamilyError, WrongFamilyError
from layouts.case import RefusalCase


def _without_weights(folder: Path) -> None:
    checkpoints.dense(folder)
    (folder / "model.safetensors").unlink()


REFUSALS = [
    RefusalCase(
        name="a folder without a model",
        build=lambda folder: folder.mkdir(),
        error=CheckpointNotFoundError,
    ),
    RefusalCase(name="a bare backbone, without `family=`", build=checkpoints.bare_bert, error=UnknownFamilyError),
    RefusalCase(
        name="a cross-encoder where vectors are needed", build=checkpoints.cross_encoder, error=WrongFamilyError
    ),
    RefusalCase(
        name='a dense model with `family="sparse"`',
        build=checkpoints.dense,
        error=WrongFamilyError,
        use=lambda folder: load_encoder(folder, family="sparse"),
    ),
    RefusalCase(
        name="a `dim` that a Matryoshka model does not have",
        build=checkpoints.matryoshka,
        error=UnknownDimError,
        use=lambda folder: load_encoder(folder, dim=640),
    ),
    RefusalCase(name="no weights", build=_without_weights, error=CheckpointError),
]
