"""Documents with vectors that were made elsewhere: on other machines, by the same models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint
from korag.checks import check_list
from korag.collection.documents import COMMIT_DOCUMENTS, StoredDocument, check_documents, entry_parts
from korag.encoders.base import Encoder
from korag.errors import FingerprintError, InvalidArgumentError
from korag.legs.base import Leg
from korag.text import is_empty

Represent = Callable[[str, Leg, Sequence[StoredDocument]], Any]
"""``represent(name, leg, documents)`` returns what a leg stores of documents that are not empty."""


def encode_here(_: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
    """A `Represent`: the leg's own model encodes the texts."""
    return leg.encode_documents([document.searched for document in documents], show_progress=False)


FingerprintLike = Fingerprint | Mapping[str, Any]
"""The identity of an encoder, or its `Fingerprint.to_dict`."""


class EncodedDocuments:
    """Documents and their vectors, checked.

    Args:
        documents: In order.
        vectors: Of all documents, by leg.

    Attributes:
        documents: In order.
    """

    def __init__(self, documents: Sequence[StoredDocument], vectors: Mapping[str, Any]) -> None:
        self.documents = documents
        self._vectors = vectors
        self._places = {document.id: place for place, document in enumerate(documents)}

    def represent(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        """Returns what a leg stores of some of the documents; a leg without a model reads their texts."""
        texts = [document.searched for document in documents]
        if name not in self._vectors:
            return leg.encode_documents(texts, show_progress=False)
        return leg.represent(_take(self._vectors[name], [self._places[document.id] for document in documents]), texts)


def check_encoded(
    documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
    vectors: Mapping[str, Any],
    fingerprints: Mapping[str, FingerprintLike],
    legs: Mapping[str, Leg],
) -> EncodedDocuments:
    """Checks the arguments of `korag.collection.base.Collection.add_encoded`.

    Args:
        documents: (id, text) or (id, text, metadata) for each.
        vectors: Of all documents, by leg.
        fingerprints: Of the encoders that made them, by leg.
        legs: The collection's.

    Raises:
        InvalidTextError: If a text or id is not a string.
        InvalidArgumentError: If an entry is something else, an id occurs twice, metadata is not JSON, vectors of a leg
            are missing or superfluous, or cannot be stored.
        FingerprintError: If they are of other encoders than the collection's.
    """
    encoders = {name: leg.encoder for name, leg in legs.items() if leg.encoder is not None}
    _check_names("vectors", vectors, encoders, legs)
    _check_names("fingerprints", fingerprints, encoders, legs)
    for name, encoder in encoders.items():
        _check_fingerprint(name, fingerprints[name], encoder)
    entries = [entry_parts(entry, place) for place, entry in enumerate(check_list("documents", documents))]
    checked = check_documents(
        [text for _, text, _ in entries], [id_ for id_, _, _ in entries], [fields for _, _, fields in entries]
    )
    formed = {name: _formed(name, vectors[name], encoder, checked) for name, encoder in encoders.items()}
    filled = [place for place, document in enumerate(checked) if not is_empty(document.text)]
    for first in range(0, len(filled), COMMIT_DOCUMENTS):
        places = filled[first : first + COMMIT_DOCUMENTS]
        texts = [checked[place].searched for place in places]
        for name, own in formed.items():
            legs[name].check_vectors(_take(own, places), texts)
    return EncodedDocuments(checked, formed)


def _take(vectors: Any, places: Sequence[int]) -> Any:
    return [vectors[place] for place in places] if isinstance(vectors, list) else vectors[np.array(places, np.int64)]


def _check_names(argument: str, given: object, encoders: Mapping[str, Encoder[Any]], legs: Mapping[str, Leg]) -> None:
    names = ", ".join(encoders) or "—"
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(
            f"{argument}={given!r:.60}: {{검색 방식: 값}} 형식의 dict여야 합니다. 필요한 검색 방식: {names}.",
            f"{argument}={given!r:.60} must be a dict by leg. This collection needs: {names}.",
        )
    if missing := [name for name in encoders if name not in given]:
        raise InvalidArgumentError(
            f"{argument}에 '{missing[0]}'이(가) 없습니다. 이 컬렉션에는 모델마다 하나씩 필요합니다: {names}.",
            f"{argument} lacks '{missing[0]}'. This collection needs one for each of its models: {names}.",
        )
    for name in given:
        if name in encoders:
            continue
        if name in legs:
            raise InvalidArgumentError(
                f"{argument}에 '{name}'이(가) 있습니다. 모델 없는 검색 방식은 글에서 바로 색인하니 빼세요.",
                f"{argument} names '{name}', which has no model: it is indexed from the texts. Leave it out.",
            )
        raise InvalidArgumentError(
            f"{argument}에 '{name}'이(가) 있지만 이 컬렉션의 모델은 {names}입니다. 빼세요.",
            f"{argument} names '{name}', but this collection has models for: {names}. Leave it out.",
        )


def _check_fingerprint(name: str, given: object, encoder: Encoder[Any]) -> None:
    try:
        made = given if isinstance(given, Fingerprint) else Fingerprint.from_dict(given)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidArgumentError(
            f"fingerprints['{name}']={given!r:.60}: 벡터를 만든 인코더의 fingerprint나 그 to_dict()여야 합니다.",
            f"fingerprints['{name}']={given!r:.60} must be the fingerprint of the encoder that made the vectors, or "
            "its to_dict().",
        ) from error
    if differences := encoder.differences(made):
        field, (was, now) = next(iter(differences.items()))
        raise FingerprintError(
            f"vectors['{name}']은(는) 이 컬렉션의 인코더('{encoder.model_name}')가 아니라 '{made.model}'(으)로 만든 "
            f"것입니다. 다른 항목: {', '.join(differences)}. 예: {field} — 벡터 {was!r}, 컬렉션 {now!r}. 아무것도 넣지 "
            "않았습니다. 같은 모델과 설정으로 다시 인코딩하세요.",
            f"vectors['{name}'] were made by '{made.model}', not by this collection's encoder "
            f"('{encoder.model_name}'). Fields that differ: {', '.join(differences)}; {field} is {was!r} for the "
            f"vectors and {now!r} for the collection. Nothing was added; encode again with the same model.",
        )


def _formed(name: str, given: Any, encoder: Encoder[Any], documents: Sequence[StoredDocument]) -> Any:
    """Returns vectors in the form in which encoders return them; shapes are those that documents need."""
    count, dim = len(documents), encoder.dim
    if encoder.family == "dense":
        return _numbers(f"vectors['{name}']", given, (count, dim))
    if encoder.family == "sparse":
        if not _is_sparse(given) or given.shape != (count, dim):
            raise _wrong_form(f"vectors['{name}']", given, f"scipy.sparse ({count}, {dim})")
        try:  # scipy's own constructors do not look at every index, and its routines would write outside of an array
            for array in (given, rows := sp.csr_array(given).astype(np.float32, copy=True)):
                if hasattr(array, "check_format"):
                    array.check_format(full_check=True)
        except ValueError as error:
            raise InvalidArgumentError(
                f"vectors['{name}']: 희소 행렬의 위치 값이 행렬({count} × {dim})을 벗어납니다({error}). "
                "encode_documents가 돌려준 그대로 넣으세요.",
                f"vectors['{name}'] has indices outside of its {count} × {dim} ({error}); pass what encode_documents "
                "returns as it is.",
            ) from error
        rows.sum_duplicates()
        return rows
    listed = check_list(f"vectors['{name}']", given)
    if len(listed) != count:
        raise _wrong_form(f"vectors['{name}']", listed, f"{count}개 / of {count}")
    if encoder.family != "late_interaction":
        return listed
    tokens = []
    for place, (own, document) in enumerate(zip(listed, documents, strict=True)):
        array = _numbers(f"vectors['{name}'][{place}]", own, (None, dim))
        if not len(array) and not is_empty(document.text):
            raise _wrong_form(f"vectors['{name}'][{place}]", own, f"(1+, {dim})")
        tokens.append(array)
    return tokens


def _is_sparse(given: Any) -> bool:
    return bool(sp.issparse(given))  # as a guard of types, it knows less than there is


def _numbers(place: str, given: Any, shape: tuple[int | None, int]) -> NDArray[Any]:
    wanted = f"({'tokens' if shape[0] is None else shape[0]}, {shape[1]})"
    try:
        array = np.asarray(given if len(given) or shape[0] != 0 else np.zeros((0, shape[1])))
    except (TypeError, ValueError) as error:  # rows of several lengths
        raise _wrong_form(place, given, wanted) from error
    fits = array.ndim == 2 and array.shape[1] == shape[1] and shape[0] in (None, len(array))
    if not fits or array.dtype.kind not in "fiu":
        raise _wrong_form(place, given, wanted)
    return array


def _wrong_form(place: str, given: Any, wanted: str) -> InvalidArgumentError:
    shape = getattr(given, "shape", None)
    found = f"{type(given).__name__} {shape}" if shape is not None else f"{given!r:.60}"
    return InvalidArgumentError(
        f"{place}: {found}입니다. 문서마다 하나씩, 인코더의 encode_documents가 돌려주는 형식이어야 합니다: {wanted}.",
        f"{place} is {found}; it must have one entry per document, as the encoder's encode_documents returns them: "
        f"{wanted}.",
    )
