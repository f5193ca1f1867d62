"""Mistakes with models that load otherwise: another family, a size that is not there, files that are missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import torch
from safetensors.torch import load_file, save_file

from korag import load_encoder
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MissingHeadsError,
    UnknownDimError,
    UnknownFamilyError,
    WrongFamilyError,
)
from layouts import known
from layouts.case import RefusalCase, load
from layouts.saving import plain, save

HIDDEN = checkpoints.HIDDEN


def _without_weights(folder: Path) -> None:
    checkpoints.dense(folder)
    (folder / "model.safetensors").unlink()


def roberta(folder: Path, **config: Any) -> None:
    """The base of the tests' adapters, with other sizes."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with plain("roberta", **config) as backbone:
        first = Transformer(str(backbone))
        save(SentenceTransformer(modules=[first, Pooling(config.get("hidden_size", HIDDEN), "mean")]), folder)


def adapter_on(change_base: Callable[[Path], object]) -> Callable[[Path], None]:
    """Makes an adapter whose base is then another one."""

    def build(folder: Path) -> None:
        checkpoints.bare_lora(folder)
        shutil.rmtree(checkpoints.lora_base(folder))
        change_base(checkpoints.lora_base(folder))

    return build


def adapter_with_other_vocabulary(folder: Path) -> None:
    checkpoints.lora(folder)
    words = json.loads((checkpoints.lora_base(folder) / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    pieces = [piece[0] if isinstance(piece, list) else piece for piece in vocabulary][-40:]
    if isinstance(vocabulary, dict):
        vocabulary |= dict(zip(pieces, [vocabulary[piece] for piece in reversed(pieces)], strict=True))
    else:
        vocabulary[-40:] = reversed(vocabulary[-40:])
    for file in folder.rglob("tokenizer.json"):
        checkpoints.write_json(file, words)


def weights_without(part: str) -> Callable[[Path], None]:
    """Makes a dense model whose file lacks the tensors with a part in their names."""

    def build(folder: Path) -> None:
        known.dense(folder)
        file = folder / "model.safetensors"
        tensors = {name: one for name, one in load_file(file).items() if part not in name}
        save_file(tensors, file, metadata={"format": "pt"})

    return build


def adapter_without_a_matrix(folder: Path) -> None:
    checkpoints.bare_lora(folder)
    file = folder / "adapter_model.safetensors"
    tensors = {name: one for name, one in load_file(file).items() if "layer.1.attention.self.query.lora_B" not in name}
    save_file(tensors, file, metadata={"format": "pt"})


def dense_of_another_model(folder: Path) -> None:
    known.projected(folder)
    checkpoints.edit_json(folder / "2_Dense/config.json", in_features=2 * HIDDEN)


def dense_with_other_weights(folder: Path) -> None:
    known.projected(folder)
    save_file({"linear.weight": torch.zeros(16, 2 * HIDDEN)}, folder / "2_Dense/model.safetensors")


def token_projection_of_another_model(folder: Path) -> None:
    checkpoints.pylate(folder)
    checkpoints.edit_json(folder / "1_Dense/config.json", in_features=2 * HIDDEN)
    save_file({"linear.weight": torch.zeros(16, 2 * HIDDEN)}, folder / "1_Dense/model.safetensors")


def heads_of_another_model(folder: Path) -> None:
    checkpoints.matryoshka_safetensors(folder)
    save_file({"16.weight": torch.zeros(16, 2 * HIDDEN)}, folder / "matryoshka_heads.safetensors")


def _encode(folder: Path) -> None:
    load(folder).encode_documents(["보증금"])


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
    RefusalCase(name="weights without a layer", build=weights_without("layer.1."), error=CheckpointError, use=_encode),
    RefusalCase(
        name="weights without a single bias",
        build=weights_without("layer.1.output.LayerNorm.bias"),
        error=CheckpointError,
        use=_encode,
    ),
    RefusalCase(name="an adapter without a matrix", build=adapter_without_a_matrix, error=CheckpointError, use=_encode),
    RefusalCase(
        name="an adapter whose base has another hidden size",
        build=adapter_on(lambda base: roberta(base, hidden_size=2 * HIDDEN)),
        error=CheckpointError,
    ),
    RefusalCase(
        name="an adapter whose base is another architecture",
        build=adapter_on(lambda base: known.dense(base, kind="modernbert")),
        error=CheckpointError,
    ),
    RefusalCase(
        name="an adapter whose base has fewer layers",
        build=adapter_on(lambda base: roberta(base, num_hidden_layers=1)),
        error=CheckpointError,
    ),
    RefusalCase(
        name="an adapter whose base has another vocabulary",
        build=adapter_with_other_vocabulary,
        error=CheckpointError,
        use=_encode,
    ),
    RefusalCase(name="a Dense module of another model", build=dense_of_another_model, error=CheckpointError),
    RefusalCase(
        name="a Dense module whose weights have another size", build=dense_with_other_weights, error=CheckpointError
    ),
    RefusalCase(
        name="a token projection of another model", build=token_projection_of_another_model, error=CheckpointError
    ),
    RefusalCase(name="Matryoshka heads of another model", build=heads_of_another_model, error=MissingHeadsError),
]
