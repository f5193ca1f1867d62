"""Late-interaction encoders (ColBERT): one vector per token, compared by MaxSim."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.presets import Family
from korag.encoders.base import Task
from korag.encoders.inputs import input_module
from korag.encoders.pipeline import Pipeline
from korag.encoders.placed import PlacedTokens, place_tokens, to_rows
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.running import explained
from korag.encoders.saving import convert_heads
from korag.encoders.sentence_transformers import load_multi_vector
from korag.encoders.shared import Loaded
from korag.encoders.tensors import as_float32, forward
from korag.encoders.token_places import joined, read_text
from korag.encoders.token_pooling import before_pooling, find_pooling, pooled_rows
from korag.errors import InvalidArgumentError
from korag.explanations import Token
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

        Raises:
            InvalidArgumentError: If the model pools the tokens of this task, so that a vector stands for several.
        """
        if find_pooling(self.load(), task) is not None:
            raise InvalidArgumentError(
                f"'{self.model_name}'은(는) 비슷한 토큰의 벡터를 하나로 합치므로(task={task!r}) 벡터 하나가 토큰 "
                "여럿에 해당합니다. encode_token_groups를 쓰세요.",
                f"'{self.model_name}' merges the vectors of similar tokens (task={task!r}), so a vector stands for "
                "several tokens; use encode_token_groups.",
            )
        groups, vectors = self.encode_token_groups(text, task)
        return [token for (token,) in groups], vectors

    def encode_token_groups(self, text: str, task: Task) -> tuple[list[list[int]], NDArray[np.float32]]:
        """Encodes one text, keeping track of the tokens of each vector: several where the model pools tokens.

        Args:
            text: A query or a document, in any Unicode normalization form.
            task: Whether it is a query or a document.

        Returns:
            (vocabulary ids per vector, vectors), including prompt, special and expansion tokens. The vectors are those
            of `encode_queries` or `encode_documents`. Shapes: (n_vectors, tokens of each), (n_vectors, dim).
        """
        ids, members, vectors = self._encode_members(text, task)
        return [[ids[position] for position in positions] for positions in members], vectors

    def read_tokens(self, text: str, task: Task) -> list[Token] | None:
        """Returns the token of each vector of `encode_queries` or `encode_documents`, with its place in the text.

        Args:
            text: A query or a document, in any Unicode normalization form.
            task: Whether it is a query or a document.
        """
        ids, members, _ = self._encode_members(text, task)
        with self.running():
            tokens = read_text(self._pipeline(), text, task, self.token_texts, ids)
        return [joined([tokens[position] for position in positions]) for positions in members]

    def _encode_members(self, text: str, task: Task) -> tuple[list[int], list[list[int]], NDArray[np.float32]]:
        """Returns the tokens read, the places of those of each vector among them, and the vectors."""
        pipeline = self._pipeline()
        pooling = find_pooling(pipeline.model, task)
        part = pipeline.model if pooling is None else before_pooling(pipeline.model)
        cut = pipeline.cut(pipeline.prepare([normalize(text)], task), task)
        with self.running():
            features = forward(part, pipeline.tokenize(cut, task), task=task)
            mask = features["attention_mask"][0].bool()
            ids, kept = features["input_ids"][0].tolist(), mask.nonzero().flatten().tolist()
            if pooling is None:
                return ids, [[position] for position in kept], self._to_rows(features)[0]
            rows = pooled_rows(pooling, features["token_embeddings"][0][mask])
            (vectors,) = pipeline.compute(pipeline.tokenize(cut, task), task)
        if len(rows) != len(vectors):
            raise self._run_error("its tokens are pooled more than once")
        return ids, [[kept[row] for row in members] for members in rows], vectors

    def encode_placed(self, texts: Sequence[str], task: Task = "document") -> list[PlacedTokens]:
        """Encodes texts, keeping track of where in its text the token of each vector is.

        Args:
            texts: The texts, in the form of `korag.text.normalize` and without spaces around them.
            task: Whether they are queries or documents.

        Returns:
            Places and vectors for each text, in order; the vectors of a model that pools tokens as they are before.
        """
        if not texts:
            return []
        pipeline = self._placing_pipeline()
        with self.running():
            cut, lengths, tokens = self._measure(pipeline, list(texts), task, self._report(task), log=True)
            return place_tokens(pipeline, texts, pipeline.encode(cut, task, lengths=lengths, tokens=tokens), task)

    def _placing_pipeline(self) -> Pipeline:
        """Returns what makes the rows of `encode_placed`: a vector for every token, with the token."""
        shared = self.shared()
        arguments: dict[str, Any] = {**self._pipeline_arguments(shared), "to_rows": to_rows}
        return Pipeline(before_pooling(shared.model), **arguments)

    def _load_settings(self) -> Hashable:
        # The prompts too: the tokenizer keeps markers such as "[Q] " whole.
        return super()._load_settings(), *self.prompts.values()

    def _load_ready(self) -> Loaded:
        if self._checkpoint.head is None:
            return super()._load_ready()
        from korag.encoders.linear_heads import load_with_head

        with explained(self._load_error):
            return load_with_head(self)

    def _load(self, folder: Path) -> Any:
        return load_multi_vector(
            self._checkpoint,
            folder,
            dim=self.dim,
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
        expansion = getattr(input_module(model, task), "query_expansion", None) or {}
        return expansion.get("length", 0) if task == "query" else 0

    def _complete_copy(self, folder: Path) -> None:
        convert_heads(folder)
