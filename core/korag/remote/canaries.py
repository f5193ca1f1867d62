"""Vectors of a few known texts, which a server must return: from a local copy of the model, or from a file.

A server runs in 16 bits where a local copy runs in 32, so vectors are compared by their cosine, as they are when a
precision is chosen (`korag.encoders.precision`): another model, pooling, prompt or length is much further away.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint, digest_files
from korag.encoders.base import Task
from korag.encoders.pipeline import Pipeline
from korag.encoders.precision import MIN_COSINE, PROBE_TEXTS
from korag.encoders.pretrained import PretrainedEncoder
from korag.errors import CheckpointError, InvalidArgumentError
from korag.paths import check_path
from korag.storage import write_text
from korag.text import normalize

TASKS: tuple[Task, ...] = ("query", "document")
_TOPICS = (
    "마을 어귀의 방앗간에서는 새벽마다 떡을 찌는 김이 오르고, 주인은 쌀가루를 체에 내려 시루에 안친다.",
    "환율이 오르면 수입 원자재의 값이 비싸지므로 기업은 선물환 계약으로 손실을 줄이려고 한다.",
    "혜성의 꼬리는 태양풍에 밀려 언제나 태양의 반대쪽을 향하며, 가까워질수록 길어진다.",
    "소프트웨어를 배포하기 전에는 회귀 시험을 돌리고, 되돌릴 방법을 문서로 남겨 두어야 한다.",
)
_LONGEST = 1_024
"""Tokens of the longest canary: servers that cut texts do it at 512 or less unless told otherwise."""
_SHORTEST = 12
"""Tokens that each sentence has at least, whatever the tokenizer."""
_FORMAT = {"format": "korag-canaries", "version": 1}


@dataclass(frozen=True)
class Canaries:
    """Known texts with the rows that their encoder makes of them.

    Attributes:
        fingerprint: Of the encoder.
        texts: The texts; for queries and documents.
        rows: By task, a row per text: a vector, (indices, values) of a sparse one, or token vectors.
        files: SHA-256 of each of the model's files with settings or a tokenizer, by its place.
    """

    fingerprint: Fingerprint
    texts: tuple[str, ...]
    rows: dict[Task, list[Any]]
    files: dict[str, str]

    def __reduce__(self) -> tuple[Any, ...]:
        """Leaves the long text out of pickles: of token vectors, it has most, and each worker gets one."""
        short = len(PROBE_TEXTS)
        rows = {task: own[:short] for task, own in self.rows.items()}
        return Canaries, (self.fingerprint, self.texts[:short], rows, self.files)


def canary_texts(longest: int | None) -> tuple[str, ...]:
    """Returns short texts, and one that fills the length of a model and changes its subject on the way.

    Args:
        longest: Tokens that the model reads; None for any number.
    """
    repeats = 1 + min(longest or _LONGEST, _LONGEST) // (len(_TOPICS) * _SHORTEST)
    parts = [topic for topic in _TOPICS for _ in range(repeats)]
    return (*PROBE_TEXTS, " ".join(parts))


EncoderT = TypeVar("EncoderT", bound=PretrainedEncoder[Any])


def make_canaries(encoder: PretrainedEncoder[Any]) -> Canaries:
    """Encodes the known texts in 32 bits.

    Args:
        encoder: A local one.
    """
    local = exact(encoder)
    fingerprint = local.fingerprint
    texts = canary_texts(fingerprint.document_length)
    rows: dict[Task, list[Any]] = {task: known_rows(local._pipeline(), texts, task) for task in TASKS}
    return Canaries(fingerprint, texts, rows, digest_files(local.checkpoint.source.folder))


def exact(encoder: EncoderT) -> EncoderT:
    """Returns an encoder of the same model that computes in 32 bits, on the CPU."""
    return encoder.with_options(device="cpu", dtype="float32", backend="torch")


def known_rows(pipeline: Pipeline, texts: Sequence[str], task: Task) -> list[Any]:
    """Encodes known texts, without reporting that some are long; a row per text, in the form of `Canaries.rows`."""
    cut = pipeline.cut(pipeline.prepare([normalize(text) for text in texts], task), task)
    rows = pipeline.encode(cut, task, lengths=pipeline.count_tokens(cut, task))
    return [(row.indices.astype(np.int64), row.data) if isinstance(row, sp.csr_array) else row for row in rows]


def cosines(own: Sequence[Any], other: Sequence[Any]) -> list[float]:
    """Returns the cosine of each row with its counterpart: of token vectors the mean, or −1 if their number differs."""
    return [_cosine(one, two) for one, two in zip(own, other, strict=True)]


def _cosine(one: Any, other: Any) -> float:
    if isinstance(one, tuple):
        size = 1 + max((int(indices.max()) for indices, _ in (one, other) if len(indices)), default=0)
        one, other = (sp.coo_array((values, (indices,)), shape=(size,)).toarray() for indices, values in (one, other))
    if one.shape != other.shape:
        return -1.0
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    products = (one.astype(np.float64) * other).sum(axis=-1)
    both_zero = ~one.any(axis=-1) & ~other.any(axis=-1)
    return float(np.mean(np.where(both_zero, 1.0, products / np.maximum(lengths, 1e-12))))


def agree(own: Sequence[Any], other: Sequence[Any]) -> bool:
    """Returns True if every row has a cosine of .999 or more with its counterpart."""
    return min(cosines(own, other)) >= MIN_COSINE


# -- files ----------------------------------------------------------------------------------------------------


def write_canaries(encoder: PretrainedEncoder[Any], path: str | os.PathLike[str]) -> Path:
    """Writes the vectors of the known texts to a file, for machines without the model's weights.

    >>> write_canaries(load_encoder("dragonkue/BGE-m3-ko"), "bge-m3-ko.canaries.json")

    Args:
        encoder: A local encoder, with the prompts, lengths and dimension that the server will be used with.
        path: The file; must not exist.

    Returns:
        The file.

    Raises:
        InvalidArgumentError: If the file exists.
    """
    target = check_path("path", path)
    if target.exists():
        raise InvalidArgumentError(
            f"path='{target}': 이미 있는 파일입니다. 다른 이름을 넣거나 파일을 지우세요.",
            f"path='{target}' already exists; pass another name, or delete it.",
        )
    made = make_canaries(encoder)
    content = {
        **_FORMAT,
        "fingerprint": made.fingerprint.to_dict(),
        "files": made.files,
        "texts": made.texts,
        "rows": {task: [_to_json(row) for row in rows] for task, rows in made.rows.items()},
    }
    write_text(target, json.dumps(content, ensure_ascii=False))
    return target


def read_canaries(path: str | os.PathLike[str]) -> Canaries:
    """Reads what `write_canaries` has written.

    Raises:
        CheckpointError: If the file is missing or something else.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if {name: content[name] for name in _FORMAT} != _FORMAT:
            raise ValueError("another format")
        texts = tuple(map(str, content["texts"]))
        rows: dict[Task, list[Any]] = {task: [_from_json(row) for row in content["rows"][task]] for task in TASKS}
        if not texts or any(len(each) != len(texts) for each in rows.values()):
            raise ValueError("not a row for every text")
        files = {str(name): str(digest) for name, digest in content["files"].items()}
        return Canaries(Fingerprint.from_dict(content["fingerprint"]), texts, rows, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise CheckpointError(
            f"canaries='{file}'을(를) 읽을 수 없습니다({reason}). korag.remote.canaries.write_canaries로 만든 파일을 "
            "넣으세요.",
            f"canaries='{file}' cannot be read ({reason}); pass a file made by korag.remote.canaries.write_canaries.",
        ) from error


def _to_json(row: Any) -> Any:
    if isinstance(row, tuple):
        return {"indices": row[0].tolist(), "values": _text(row[1])}
    return {"shape": row.shape, "values": _text(row)}


def _from_json(row: Any) -> Any:
    values = np.frombuffer(base64.b64decode(row["values"], validate=True), "<f2").astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("numbers that are not finite")
    if "indices" in row:
        indices = np.array(row["indices"], np.int64)
        if indices.shape != values.shape or (len(indices) and indices.min() < 0):
            raise ValueError("indices that do not fit")
        return indices, values
    return values.reshape(row["shape"])


def _text(values: NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()
