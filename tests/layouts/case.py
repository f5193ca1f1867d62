"""One layout, or one refusal: a row of the tables in docs/models.md, and a test."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from korag import CrossEncoderReranker, load_encoder
from korag.errors import KoragError

QUERIES = ["전세 보증금은 언제 돌려받나요?", "도서관 휴관일", "GPU 서버 점검은 새벽 몇 시에 하나요"]
DOCUMENTS = [
    "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다.",
    "시립 도서관은 매주 월요일과 공휴일에 문을 닫는다. 다만 여름 방학에는 쉬지 않고 연다.",
    "GPU 서버는 매일 새벽 두 시에 자동으로 점검한다.",
    "환불은 이레 안에.",
]
ATOL = 1e-5


def load(folder: Path | str) -> Any:
    """Loads an encoder as users do, in the precision that the reference computes in."""
    return load_encoder(folder, device="cpu", dtype="float32")


def load_reranker(folder: Path) -> Any:
    return CrossEncoderReranker(folder, device="cpu", dtype="float32")


@dataclass(frozen=True, kw_only=True)
class LayoutCase:
    """A layout that loads, and what the library that saved it makes of the same folder.

    Attributes:
        name: The row's name in docs/models.md.
        build: Makes the checkpoint in an empty folder, with the reference library.
        reference: Returns that library's (queries, documents): vectors of `QUERIES` and `DOCUMENTS`; for rerankers the
            scores of every query with every document. Shape: (n_queries, n_documents).
        load: Loads the folder with KoRAG.
        atol: Largest difference allowed.
        reason: Needed where `atol` is larger than `ATOL`.
        note: Shown in the table.
    """

    name: str
    build: Callable[[Path], object]
    reference: Callable[[Path], Any]
    load: Callable[[Path], Any] = load
    atol: float = ATOL
    reason: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        assert self.atol <= ATOL or self.reason, f"{self.name}: say why"


@dataclass(frozen=True, kw_only=True)
class RefusalCase:
    """A folder or an argument that is refused.

    Attributes:
        name: The row's name in docs/models.md.
        build: Makes the checkpoint in an empty folder.
        use: Loads the folder, and encodes something if only that can show the mistake.
        error: The class of the error.
    """

    name: str
    build: Callable[[Path], object]
    error: type[KoragError]
    use: Callable[[Path], object] = load


@dataclass(frozen=True)
class Measured:
    """The family that a case's folder loads as, and the largest difference to its reference."""

    family: str
    difference: float
    problems: list[str] = field(default_factory=list)


def measure(case: LayoutCase, folder: Path) -> Measured:
    """Builds a case's checkpoint in an empty folder and compares KoRAG's output with the reference's."""
    case.build(folder)
    family, got = outputs(case.load(folder))
    reference = case.reference(folder)
    if family == "cross_encoder":
        expected = [np.asarray(reference)]
    else:
        queries, documents = reference
        expected = [*_rows(queries), *_rows(documents)]
    problems = [
        f"shape {ours.shape}, not {theirs.shape}"
        for ours, theirs in zip(got, expected, strict=True)
        if ours.shape != theirs.shape
    ]
    difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in zip(got, expected, strict=True))
    return Measured(family, difference) if not problems else Measured(family, np.inf, problems)


def outputs(model: Any) -> tuple[str, list[np.ndarray]]:
    """Returns a loaded model's family and what it makes of `QUERIES` and `DOCUMENTS`."""
    if isinstance(model, CrossEncoderReranker):
        return "cross_encoder", [_scores(model)]
    return model.family, [*_rows(model.encode_queries(QUERIES)), *_rows(model.encode_documents(DOCUMENTS))]


def refuse(case: RefusalCase, folder: Path) -> KoragError:
    """Builds a case's checkpoint in an empty folder and returns the error of using it."""
    case.build(folder)
    try:
        case.use(folder)
    except case.error as error:
        return error
    raise AssertionError(f"{case.name}: no {case.error.__name__}")


def first_sentences(error: KoragError, folder: Path) -> tuple[str, str]:
    """Returns the first sentences of an error, Korean and English, without the place of the folder."""
    korean, english = (str(text).replace(f"{folder.parent}/", "") for text in error.args[:2])
    return _first(korean), _first(english)


def _first(text: str) -> str:
    return re.split(r"(?<=[.;]) ", text, maxsplit=1)[0].rstrip(";.") + "."


def _scores(model: CrossEncoderReranker) -> np.ndarray:
    scores = np.zeros((len(QUERIES), len(DOCUMENTS)))
    for row, query in enumerate(QUERIES):
        for column, score in model.rerank(query, DOCUMENTS):
            scores[row, column] = score
    return scores


def _rows(vectors: Any) -> Sequence[np.ndarray]:
    """Returns a float64 array per text, whatever the library's type."""
    if hasattr(vectors, "is_sparse"):  # a tensor of torch
        vectors = (vectors.to_dense() if vectors.is_sparse else vectors).float().cpu().numpy()
    if sp.issparse(vectors):
        vectors = vectors.toarray()
    return [np.asarray(row.cpu() if hasattr(row, "cpu") else row, np.float64) for row in vectors]
