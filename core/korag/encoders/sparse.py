"""Learned sparse encoders (SPLADE): weights for a few hundred vocabulary terms per text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.checkpoints.presets import Family
from korag.encoders.base import Task
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.running import explained
from korag.encoders.sentence_transformers import load_single_vector
from korag.encoders.shared import Loaded
from korag.encoders.splade_head import fuse_splade_head
from korag.encoders.tensors import as_float32
from korag.encoders.token_places import read_text
from korag.explanations import Token


class SparseEncoder(PretrainedEncoder[sp.csr_array]):
    """Term weights over the model's vocabulary (SPLADE models), compared by dot product.

    A weight is the maximum over tokens of log(1 + relu(logit)): SPLADE-max, https://arxiv.org/abs/2109.10086, equation
    6.

    ``encode_*`` return a float32 `scipy.sparse.csr_array` with sorted indices. Shape: (n_texts, vocab).

    On the CPU, if the output layer is a plain linear layer, the logits of a batch are never held at once (see
    `korag.encoders.splade_head`). On a GPU, in half precision and with other backends they are: (tokens × vocab)
    numbers, where ``tokens`` is the larger of ``batch_tokens`` (2,048 by default) and the longest text. In float32 with
    a vocabulary of 50,000, that is about 0.4 GB by default, and 1.6 GB for a text of 8,192 tokens.
    """

    family: ClassVar[Family] = "sparse"
    default_batch_tokens: ClassVar[int] = 2_048

    def read_tokens(self, text: str, task: Task) -> list[Token]:
        """Returns the tokens of a text that the model reads, with their places in it.

        Args:
            text: A query or a document, in any Unicode normalization form.
            task: Whether it is a query or a document.
        """
        with self.running():
            return read_text(self._pipeline(), text, task, self.token_texts, None)

    def _load_ready(self) -> Loaded:
        if self._checkpoint.head is None:
            return super()._load_ready()
        from korag.encoders.linear_heads import load_with_head

        with explained(self._load_error):
            return load_with_head(self)

    def _load(self, folder: Path) -> Any:
        return load_single_vector(
            self._checkpoint,
            folder,
            max_length=self._max_length,
            query_length=self.query_length,
            options=self._options,
        )

    def _load_checked(self, *, light: bool = True) -> tuple[Any, NDArray[np.float32]]:
        model, exact = super()._load_checked(light=light)
        fuse_splade_head(model)  # not in `load_copy`: training needs the original layers
        return model, exact

    def _other_settings(self) -> dict[str, Any]:
        return super()._other_settings() | {"max_active_dims": self._checkpoint.max_active_dims}

    def _to_rows(self, features: dict[str, Any]) -> list[sp.csr_array]:
        kept = features["sentence_embedding"]
        if (most := self._checkpoint.max_active_dims) is not None:
            from sentence_transformers.util import select_max_active_dims

            kept = select_max_active_dims(kept, most)
        return [_sparse(weights) for weights in as_float32(kept)]

    def _collate(self, rows: list[sp.csr_array]) -> sp.csr_array:
        if not rows:
            return sp.csr_array(np.zeros((0, self.dim), np.float32))
        return cast("sp.csr_array", sp.vstack(rows, format="csr"))


def _sparse(weights: NDArray[np.float32]) -> sp.csr_array:
    terms = np.flatnonzero(weights).astype(np.int32)
    return sp.csr_array((weights[terms], terms, np.array([0, len(terms)], np.int32)), shape=(1, len(weights)))


def index_weight_lists(rows: sp.csr_array) -> list[tuple[list[int], list[float]]]:
    """Returns the (vocabulary indices, weights) of each row, the format of vector stores.

    Args:
        rows: Output of a `SparseEncoder`. Shape: (n_texts, vocab).
    """
    bounds = zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True)
    return [(rows.indices[start:end].tolist(), rows.data[start:end].tolist()) for start, end in bounds]
