"""The weights to start from: the exported models of an earlier run."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from korag.checkpoints.matryoshka import find_heads, read_heads
from training.minis.data import document_frequencies
from training.minis.lessons import read_documents
from training.minis.model import JUNK_TERM_BIAS, Mini
from training.minis.taught import FEWEST_DOCUMENTS

_BACKBONE = {
    "mini-colbert": "language_model.model.",
    "mini-dense": "language_model.model.",
    "mini-splade": "language_model.",
}
_UNTRAINED = {
    "mini-colbert": ("language_model.head.", "language_model.decoder.bias"),
    "mini-dense": ("language_model.head.", "language_model.decoder.bias", "projections."),
    "mini-splade": ("projections.",),
}
"""Tensors that a model does not have: outputs for the others, whose weights do not matter."""
_EMBEDDINGS = "language_model.model.embeddings.tok_embeddings.weight"


def copy_tokenizer(start: Path, path: Path) -> None:
    """Copies the tokenizer of the models to start from, which is the same for all three."""
    shutil.copy(start / "mini-splade" / "tokenizer.json", path)


def read_exported(start: Path, name: str, work: Path) -> Mini:
    """Reads an exported model, its outputs for the other models untrained.

    Args:
        start: Folder of the model folders.
        name: The model.
        work: Folder with ``tokenizer.json``.

    Raises:
        ValueError: If its tokenizer is another one, it has a tensor that the model does not, or it lacks one.
    """
    tokenizer = work / "tokenizer.json"
    if (start / name / "tokenizer.json").read_bytes() != tokenizer.read_bytes():
        raise ValueError(f"{start / name} has another tokenizer than {tokenizer}: start with an empty work folder")
    model = Mini(Tokenizer.from_file(str(tokenizer)), None)
    weights = {f"{_BACKBONE[name]}{key}": value for key, value in load_file(start / name / "model.safetensors").items()}
    heads = find_heads(start / name)
    if heads is not None:
        weights |= {f"projections.{dim}.weight": head for dim, head in read_heads(heads).items()}
    if unknown := weights.keys() - model.state_dict().keys():
        raise ValueError(f"{start / name} has tensors that the model does not have: {sorted(unknown)}")
    weights["language_model.decoder.weight"] = weights[_EMBEDDINGS]  # tied
    missing = model.load_state_dict({key: value.float() for key, value in weights.items()}, strict=False).missing_keys
    if lost := [key for key in missing if not key.startswith(_UNTRAINED[name])]:
        raise ValueError(f"{start / name} lacks tensors of {name}: {sorted(lost)}")
    return model


def check_same_start(start: Path, name: str, work: Path) -> None:
    """Notes which weights a run starts from; refuses others later, which the finished stages would hide.

    Args:
        start: Folder of the model folders.
        name: The model.
        work: The run's folder.

    Raises:
        ValueError: If the run was started from other weights.
    """
    digest, noted = hashlib.sha256(), work / f"{name}.sha256"
    for file in sorted((start / name).rglob("*.safetensors")):
        digest.update(file.read_bytes())
    if noted.exists() and noted.read_text() != digest.hexdigest():
        raise ValueError(f"{work} was started from other weights than {start / name}: use an empty folder")
    noted.write_text(digest.hexdigest())


def write_start(start: Path, name: str, work: Path, path: Path, rare: Tensor | None = None) -> None:
    """Writes an exported model as the result of a phase.

    Args:
        start: Folder of the model folders.
        name: The model.
        work: Folder with ``tokenizer.json``.
        path: The ``.pt`` to write.
        rare: True for terms that SPLADE is not to use. Shape: (vocabulary,).
    """
    model = read_exported(start, name, work)
    if rare is not None:
        with torch.no_grad():
            model.language_model.decoder.bias.masked_fill_(rare, JUNK_TERM_BIAS)
    torch.save(model.state_dict(), path)


def rare_terms(work: Path) -> Tensor:
    """Returns True for the terms of fewer than `FEWEST_DOCUMENTS` training documents. Shape: (vocabulary,)."""
    return torch.from_numpy(document_frequencies(read_documents(work)) < FEWEST_DOCUMENTS)
