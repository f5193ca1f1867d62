"""The identity of an encoder: everything that changes its vectors, and nothing else.

An index holds the fingerprint of the encoder that filled it. Device, precision, backend and batch sizes are
not part of it, and neither is the folder's path: a model downloaded from the Hub and its copy on an air-gapped
machine have the same fingerprint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from korag.checkpoints.files import IGNORED_FOLDERS, parse_json
from korag.checkpoints.matryoshka import find_heads, read_heads

_SHA256 = re.compile("[0-9a-f]{64}")
_SETTINGS = (
    "modules.json", "router_config.json", "config.json", "config_sentence_transformers.json",
    "sentence_bert_config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    "sentencepiece.bpe.model", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model", "artifact.metadata",
)  # fmt: skip
_NOT_VECTORS = {
    "__version__",
    "transformers_version",
    "_name_or_path",
    "prompts",
    "base_model_name_or_path",
    "revision",
}
"""Keys of settings files that do not change vectors, or are fingerprinted in their resolved form."""
_NOTHING = hashlib.sha256(b"{}").hexdigest()
"""Digest of a settings file that has only such keys."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Everything that changes an encoder's vectors.

    Attributes:
        model: The name the model was loaded by; informative only, not compared.
        revision: Hub commit; not compared, since the weights are.
        family: ``"dense"``, ``"sparse"`` or ``"late_interaction"``.
        weights: SHA-256 over weights, tokenizer and settings.
        dim: Vector size in use.
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every document.
        query_length: Longest query in tokens.
        document_length: Longest document in tokens.
        normalized: True if vectors have unit length.
    """

    model: str = field(compare=False)
    revision: str | None = field(compare=False)
    family: str
    weights: str
    dim: int
    query_prompt: str
    document_prompt: str
    query_length: int | None
    document_length: int | None
    normalized: bool

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Fingerprint:
        """Creates a fingerprint from the result of `to_dict`.

        Raises:
            ValueError: If it is something else.
        """
        types = get_type_hints(cls)
        if not isinstance(fields, dict) or fields.keys() != types.keys():
            raise ValueError("a fingerprint has other fields")
        if wrong := [name for name, value in fields.items() if not isinstance(value, types[name])]:
            raise ValueError(f"a fingerprint has other values: {', '.join(wrong)}")
        return cls(**fields)

    def differences(self, other: Fingerprint) -> dict[str, tuple[Any, Any]]:
        """Returns the compared fields that differ, as name → (own value, other's value)."""
        names = [f.name for f in dataclasses.fields(self) if f.compare]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def __str__(self) -> str:
        """Returns a short digest: equal for equal fingerprints."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.compare}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def digest_settings(weights: str, **settings: Any) -> str:
    """Returns a digest of weights and of settings that change their vectors; `weights` as it is if all are None.

    Args:
        weights: From `digest_folders`.
        settings: JSON values; None for what the files say.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    return hashlib.sha256((weights + json.dumps(given, sort_keys=True)).encode()).hexdigest() if given else weights


def digest_folders(*folders: Path, head: str | None = None) -> str:
    """Returns the SHA-256 of all files in some folders that vectors depend on.

    Reads every weight file once (about a second per GB), except in the Hub cache, where the file name is the
    SHA-256. File names, order and content count; the folders' own paths do not. Anything that changes no vector
    is ignored as well: a second copy of the weights in another format, the file format of Matryoshka heads, and
    the projection that they replace.

    Args:
        folders: The model's folder, and that of its base.
        head: Name of a head in the first folder that the vectors depend on as well (see
            `korag.checkpoints.linear_heads`).
    """
    digest = hashlib.sha256()
    for folder in folders:
        inner = [other for other in folders if other != folder and other.is_relative_to(folder)]
        heads = find_heads(folder)
        entries = {
            path.relative_to(folder).as_posix(): _digest_file(path)
            for path in folder.rglob("*")
            if _counts(path, folder, heads) and not any(path.is_relative_to(other) for other in inner)
        }
        if heads is not None:
            entries["matryoshka_heads"] = _digest_heads(heads)
        if head is not None and folder == folders[0]:
            entries[head] = _digest_file(folder / head)
        for name, content in sorted(entries.items()):
            if content != _NOTHING:
                digest.update(name.encode() + b"\0" + content.encode())
    return digest.hexdigest()


def digest_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file with settings or a tokenizer, and no weights, by its place in a folder."""
    digests = {
        path.relative_to(folder).as_posix(): _digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.name in _SETTINGS and _counts(path, folder, None)
    }
    return {name: digest for name, digest in digests.items() if digest != _NOTHING}


def _counts(path: Path, folder: Path, heads: Path | None) -> bool:
    """Returns True if vectors depend on a file. Matryoshka heads are hashed separately."""
    place = path.relative_to(folder).parts
    if any(map(IGNORED_FOLDERS.fullmatch, place[:-1])) or path.stem == "matryoshka_heads":
        return False
    if path.suffix == ".safetensors":
        return heads is None or not place[0].endswith("_Dense")
    if path.suffix == ".bin":
        return path.name != "training_args.bin" and not any(path.parent.glob("*.safetensors"))
    return path.name in _SETTINGS


def _digest_heads(path: Path) -> str:
    digest = hashlib.sha256()
    for dim, head in read_heads(path).items():
        digest.update(f"{dim}\0".encode() + head.numpy().tobytes())
    return digest.hexdigest()


def _digest_file(path: Path) -> str:
    if path.suffix == ".json" and path.name != "tokenizer.json":
        settings = parse_json(path)
        if isinstance(settings, dict):
            settings = {key: value for key, value in settings.items() if key not in _NOT_VECTORS}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    blob = path.resolve()
    if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
