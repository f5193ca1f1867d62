"""Files of vectors: safetensors, one for each batch."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint
from korag.errors import IndexStateError
from korag.storage import is_unfinished, write_bytes

KEY_BYTES = 16
SUFFIX = ".safetensors"
_FORMAT = {"format": "korag-encoded-texts", "version": "1"}

_DIGEST = "sha256"
_LENGTH = 8
"""Bytes of the header's length, at the beginning of the file."""
_PIECE = 1 << 20
_ABANDONED = 86_400.0
"""Seconds after which nobody writes a file on any more; a machine's clock may differ from that of the storage."""


def write_file(
    path: Path, keys: Sequence[bytes], vectors: Mapping[str, Any], fingerprints: Mapping[str, Fingerprint]
) -> None:
    """Writes vectors whole, and then gives the file its name.

    Args:
        path: The file; the same content may be there already, or be written by another process right now.
        keys: Of the texts.
        vectors: By leg, as encoders return them.
        fingerprints: Of the encoders, by leg.
    """
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {"keys": np.array([list(key) for key in keys], np.uint8)}
    for name, own in vectors.items():
        arrays |= _to_arrays(name, own)
    described = {name: one.to_dict() for name, one in fingerprints.items()}
    metadata = {**_FORMAT, "fingerprints": json.dumps(described, ensure_ascii=False)}
    content = memoryview(save(arrays, metadata=metadata))
    digest = hashlib.sha256(content[_data_start(content[:_LENGTH].tobytes()) :]).hexdigest()
    write_bytes(path, save(arrays, metadata={**metadata, _DIGEST: digest}))  # the same data behind a longer header


def remove_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Removes what processes that were killed while they wrote have left, once it is a day old.

    Args:
        folder: Where files are.
        names: Of everything in it.
    """
    for name in names:
        if is_unfinished(name):
            with suppress(OSError):  # renamed or removed by another process meanwhile
                if time.time() - (folder / name).stat().st_mtime > _ABANDONED:
                    (folder / name).unlink()


def _to_arrays(name: str, vectors: Any) -> dict[str, NDArray[Any]]:
    if isinstance(vectors, np.ndarray):
        return {name: vectors}
    if isinstance(vectors, list):
        ends = np.cumsum([0, *map(len, vectors)], dtype=np.int64)
        return {name: np.concatenate(vectors).astype(np.float16), f"{name}.ends": ends}
    return {
        name: vectors.data.astype(np.float32),
        f"{name}.indices": vectors.indices.astype(np.int32),
        f"{name}.ends": vectors.indptr.astype(np.int64),
    }


def read_keys(path: Path) -> tuple[dict[str, Fingerprint], list[bytes]]:
    """Reads which texts' vectors are in a file, and the models that made them; no vectors.

    Raises:
        IndexStateError: If it is damaged or something else.
    """
    with _opened(path) as (file, fingerprints):
        keys = file.get_tensor("keys")
        if keys.shape != (len(keys), KEY_BYTES) or keys.dtype != np.uint8:
            raise ValueError("keys of another shape")
    return fingerprints, [key.tobytes() for key in keys]


def check_digest(path: Path) -> None:
    """Compares a file with the digest that was written into it, a piece at a time.

    Raises:
        IndexStateError: If it has been changed.
    """
    with _opened(path) as (file, _), path.open("rb") as content:
        content.seek(_data_start(content.read(_LENGTH)))
        digest = hashlib.sha256()
        while piece := content.read(_PIECE):
            digest.update(piece)
        if digest.hexdigest() != file.metadata().get(_DIGEST):
            raise ValueError("its digest is another")


def read_rows(path: Path, rows: Sequence[int]) -> dict[str, list[Any]]:
    """Reads the vectors of some texts of a file, and no others, by leg: arrays, or (indices, values) of sparse ones.

    Raises:
        IndexStateError: If it is damaged or something else.
    """
    with _opened(path) as (file, fingerprints):
        count = file.get_slice("keys").get_shape()[0]
        return {name: _rows(file, name, rows, one, count) for name, one in fingerprints.items()}


def _rows(file: Any, name: str, rows: Sequence[int], fingerprint: Fingerprint, count: int) -> list[Any]:
    own = file.get_slice(name)
    shape, dim = own.get_shape(), fingerprint.dim
    if fingerprint.family == "dense":
        if shape != [count, dim]:
            raise ValueError(f"'{name}' of another shape")
        return [_finite(name, own[row : row + 1])[0] for row in rows]
    ends = file.get_tensor(f"{name}.ends")
    if ends.shape != (count + 1,) or ends[0] != 0 or ends[-1] != shape[0] or (np.diff(ends) < 0).any():
        raise ValueError(f"'{name}.ends' of another shape")
    spans = [(int(ends[row]), int(ends[row + 1])) for row in rows]
    if fingerprint.family == "late_interaction":
        if len(shape) != 2 or shape[1] != dim:
            raise ValueError(f"'{name}' of another shape")
        none = np.zeros((0, dim), np.float16)
        return [_finite(name, own[start:end]) if end > start else none for start, end in spans]
    indices = file.get_slice(f"{name}.indices")
    if indices.get_shape() != shape or len(shape) != 1:
        raise ValueError(f"'{name}.indices' of another shape")
    found = []
    for start, end in spans:
        if end == start:
            found.append((np.zeros(0, np.int32), np.zeros(0, np.float32)))
            continue
        terms = indices[start:end]
        if terms.dtype.kind != "i" or terms.min() < 0 or terms.max() >= dim:
            raise ValueError(f"'{name}.indices' out of range")
        found.append((terms, _finite(name, own[start:end])))
    return found


def _finite(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise ValueError(f"'{name}' holds something else than finite numbers")
    return values


def stack_terms(rows: Sequence[tuple[NDArray[Any], NDArray[Any]]], dim: int) -> sp.csr_array:
    """Returns sparse vectors as one array.

    Args:
        rows: (indices, values) of each.
        dim: Size of a vector.
    """
    ends = np.cumsum([0, *(len(indices) for indices, _ in rows)])
    none = (np.zeros(0, np.int32), np.zeros(0, np.float32))
    indices, values = (np.concatenate(each) for each in zip(none, *rows, strict=True))
    return sp.csr_array((values, indices, ends), shape=(len(rows), dim))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Fingerprint]]]:
    """Opens a file; nothing but its header is read yet. What goes wrong with it is one error."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if {name: metadata.get(name) for name in _FORMAT} != _FORMAT:
                raise ValueError("another format")
            described = json.loads(metadata["fingerprints"])
            yield file, {name: Fingerprint.from_dict(fields) for name, fields in described.items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise IndexStateError(
            f"'{path}'은(는) 손상되었거나 EncodeDocuments가 쓴 파일이 아닙니다({reason}). 지우고 다시 실행하면 그 "
            "텍스트만 다시 인코딩합니다.",
            f"'{path}' is damaged, or not written by EncodeDocuments ({reason}). Delete it and run again; only its "
            "texts are encoded again.",
        ) from error


def _data_start(length: bytes) -> int:
    """Returns where the data begin, behind a header of which this is the length."""
    return _LENGTH + int.from_bytes(length, "little")
