"""`EncodeDocuments`: texts of a batch to vectors, in whatever process a framework starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from korag.checks import check_list
from korag.distributed.batches import Column, column_of, with_columns
from korag.distributed.files import stack_terms
from korag.distributed.texts import EncodedTexts, text_keys
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder, load_encoder
from korag.errors import InvalidArgumentError
from korag.forking import Lock
from korag.legs.registry import leg_of_family
from korag.remote.encoders import RemoteEncoder
from korag.text import check_texts

ModelLike = Encoder[Any] | str | os.PathLike[str] | Mapping[str, Any]
"""An encoder, a name, a path, or the keywords of `korag.load_encoder`."""

_lock = Lock()
_of_process: dict[str, Encoder[Any]] = {}
"""Every task comes with encoders of its own; the first of a kind keeps the weights for all that follow."""


class EncodeDocuments:
    """Encodes the texts of a batch. Pickles are small, and a process loads each model once.

    A batch is a dict of columns, a pandas DataFrame or a pyarrow Table, and so is the result: the batch's columns and
    ``korag_key``, the hash of each text and its models. Without a `folder`, it also has the vectors, by leg: ``dense``,
    ``sparse_indices`` and ``sparse_values``, ``colbert`` (float16, as bytes) and ``colbert_tokens``; `vectors_of` makes
    of them what `Collection.add_encoded` takes. With a `folder`, they are in files there.

    - Ray Data: ``dataset.map_batches(EncodeDocuments, fn_constructor_kwargs={…}, concurrency=2, batch_size=256)``
    - Dask: ``frame.map_partitions(EncodeDocuments(…), meta=…)``
    - Spark: ``frame.mapInPandas(EncodeDocuments(…).partitions, schema)``

    Args:
        models: One for each family: names, paths, encoders, or dicts of the keywords of `korag.load_encoder`.
        text_column: The column with the texts.
        folder: Where vectors are written, on storage that all machines share; texts that are there already are not
            encoded. None to return them.

    Raises:
        InvalidArgumentError: If two models are of one family, or an argument is invalid.
    """

    def __init__(
        self,
        models: Sequence[ModelLike],
        *,
        text_column: str = "text",
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self._encoders: dict[str, Encoder[Any]] = {}
        for given in check_list("models", models, example="['mini-colbert']"):
            encoder = load_encoder(**given) if isinstance(given, Mapping) else as_encoder(given)
            name = leg_of_family(encoder.family).name
            if name in self._encoders:
                raise InvalidArgumentError(
                    f"models에 {encoder.family} 모델이 둘 있습니다: {self._encoders[name].model_name}, "
                    f"{encoder.model_name}. 종류마다 하나만 넣으세요.",
                    f"models holds two {encoder.family} models: {self._encoders[name].model_name}, "
                    f"{encoder.model_name}. Pass at most one of each family.",
                )
            self._encoders[name] = encoder
        if not self._encoders:
            raise InvalidArgumentError(
                "models가 비어 있습니다. 예: models=['mini-colbert']", "models is empty; for example ['mini-colbert']."
            )
        self.fingerprints = {name: encoder.fingerprint for name, encoder in self._encoders.items()}
        self._text_column = text_column
        self._folder = None if folder is None else EncodedTexts(folder, fingerprints=self.fingerprints)

    def __call__(self, batch: Any) -> Any:
        """Encodes a batch.

        Args:
            batch: Columns of equal length.

        Returns:
            The same kind of batch, with more columns; see the class.

        Raises:
            InvalidTextError: If a text is not a string.
            InvalidArgumentError: If there is no such column.
        """
        texts = check_texts(column_of(batch, self._text_column))
        keys = text_keys(texts, self.fingerprints)
        if self._folder is None:
            return with_columns(batch, {"korag_key": Column(keys, "string"), **self._columns(self._encode(texts))})
        self._folder.add(dict(zip(keys, texts, strict=True)), self._encode)
        return with_columns(batch, {"korag_key": Column(keys, "string")})

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Returns the texts that have no vectors in the folder yet, each once, in order; all of them without a folder.

        Args:
            texts: In any Unicode normalization form.

        Raises:
            InvalidTextError: If an entry is not a string.
        """
        checked = check_texts(texts)
        return list(dict.fromkeys(checked)) if self._folder is None else self._folder.missing(checked)

    def partitions(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Encodes batches one after the other, as Spark's ``mapInPandas`` wants it."""
        for batch in batches:
            yield self(batch)

    def _encode(self, texts: Sequence[str]) -> dict[str, Any]:
        return {
            name: _shared(encoder).encode_documents(texts, show_progress=False)
            for name, encoder in self._encoders.items()
        }

    def _columns(self, vectors: Mapping[str, Any]) -> dict[str, Column]:
        columns: dict[str, Column] = {}
        for name, own in vectors.items():
            if isinstance(own, np.ndarray):
                columns[name] = Column(own, "float32[]")
            elif isinstance(own, list):
                columns[name] = Column([each.astype(np.float16).tobytes() for each in own], "binary")
                columns[f"{name}_tokens"] = Column(np.array([len(each) for each in own], np.int32), "int32")
            else:
                rows = [own[[place]] for place in range(own.shape[0])]
                columns[f"{name}_indices"] = Column([row.indices.astype(np.int32) for row in rows], "int32[]")
                columns[f"{name}_values"] = Column([row.data for row in rows], "float32[]")
        return columns

    def vectors_of(self, batch: Any) -> dict[str, Any]:
        """Returns the vectors in a batch that this callable has returned, for `Collection.add_encoded`.

        Args:
            batch: Of any of the kinds that it takes.

        Raises:
            InvalidArgumentError: If a column is missing.
        """
        found: dict[str, Any] = {}
        for name, fingerprint in self.fingerprints.items():
            if fingerprint.family == "dense":
                found[name] = np.array([np.asarray(row, np.float32) for row in column_of(batch, name)])
            elif fingerprint.family == "late_interaction":
                found[name] = [
                    np.frombuffer(row, np.float16).reshape(-1, fingerprint.dim) for row in column_of(batch, name)
                ]
            else:
                pairs = zip(column_of(batch, f"{name}_indices"), column_of(batch, f"{name}_values"), strict=True)
                rows = [(np.asarray(indices, np.int32), np.asarray(values, np.float32)) for indices, values in pairs]
                found[name] = stack_terms(rows, fingerprint.dim)
        return found


def _shared(encoder: Encoder[Any]) -> Encoder[Any]:
    """Returns the encoder that this process keeps for all of its kind; one of a server has its own key and address."""
    if isinstance(encoder, RemoteEncoder):
        return encoder
    key = f"{type(encoder).__qualname__} {encoder.fingerprint} {getattr(encoder, 'options', None)}"
    with _lock:
        return _of_process.setdefault(key, encoder)
