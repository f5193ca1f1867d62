"""Late-interaction encoders (ColBERT): one vector per token, compared by MaxSim."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.presets import Family
from korag.encoders.base import Task
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.saving import convert_heads
from korag.encoders.sentence_transformers import load_multi_vector
from korag.encoders.tensors import as_float32
from korag.text import normalize


class LateInteractionEncoder(PretrainedEncoder[list[NDArray[np.float32]]]):
    """One unit vector per token, compared by MaxSim (ColBERT, https://arxiv.org/abs/2004.12832).

    ``encode_*`` return a list of float32 arrays. Shape of each: (n_tokens, dim). Depending on the checkpoint, queries
    are padded with mask tokens to `query_length`, and punctuation in documents gets no vectors. For a model with
    Matryoshka heads, `dim` can be any of `dims`.
    """

    family: ClassVar[Family] = "late_interaction"

    @property
    def dims(self) -> tuple[int, ...]:
        """Dimensions available in the checkpoint."""
        return self._checkpoint.dims

    @property
    def query_length(self) -> int | None:
        """Longest query in tokens, prompt and special tokens included."""
        return self._query_length or self._checkpoint.query_length

    def encode_tokens(self, text: str, task: Task) -> tuple[list[int], NDArray[np.float32]]:
        """Encodes one text, keeping track of the token of each vector.

        Args:
            text: A query or a document, in any Unicode normalization form.
            task: Whether it is a query or a document.

        Returns:
            (vocabulary ids, unit vectors), including prompt, special and expansion tokens. Shapes: (n_tokens,),
            (n_tokens, dim).
        """
        pipeline = self._pipeline()
        cut = pipeline.cut(pipeline.prepare([normalize(text)], task), task)
        features = pipeline.forward(pipeline.tokenize(cut, task), task)
        kept = features["attention_mask"][0].bool()
        return features["input_ids"][0][kept].tolist(), self._to_rows(features)[0]

    def _load_settings(self) -> Hashable:
        # The prompts too: the tokenizer keeps markers such as "[Q] " whole.
        return super()._load_settings(), *self.prompts.values()

    def _load(self, folder: Path) -> Any:
        return load_multi_vector(
            self._checkpoint,
            folder,
            dim=self.dim,
            prompts=self.prompts,
            max_length=self._max_length,
            query_length=self._query_length,
            options=self._options,
        )

    def _to_rows(self, features: dict[str, Any]) -> list[NDArray[np.float32]]:
        vectors, mask = as_float32(features["token_embeddings"]), features["attention_mask"].bool().cpu().numpy()
        return [row[kept] for row, kept in zip(vectors, mask, strict=True)]

    def _collate(self, rows: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return rows

    def _min_length(self, model: Any, task: Task) -> int:
        expansion = getattr(model[0], "query_expansion", None) or {}
        return expansion.get("length", 0) if task == "query" else 0

    def _complete_copy(self, folder: Path) -> None:
        convert_heads(folder)
