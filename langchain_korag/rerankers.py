"""Rerankers as LangChain document compressors."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Self

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from korag.checkpoints.presets import DEFAULT_COLBERT, DEFAULT_CROSS_ENCODER
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.errors import CheckpointError
from korag.reranking.base import TextReranker
from korag.reranking.colbert import Reranker, TokenCache
from korag.reranking.cross_encoder import CrossEncoderReranker
from korag.reranking.fusing import check_fuse_weight, ranked_scores
from korag.text import check_text
from langchain_korag.checked_model import CHECKED, MODEL_NAME, CheckedModel
from langchain_korag.documents import check_documents, group_equal
from langchain_korag.field_types import Count, Fraction, Key
from langchain_korag.results import best_score, searched_by


class DocumentReranker(CheckedModel, BaseDocumentCompressor):
    """Puts retrieved documents in the order a model gives them; each subclass has its own kind of model.

    Attributes:
        top_n: Documents to keep; None for all.
        score_key: Metadata key for the score, such as ``"relevance_score"``; None leaves it out.
        score_threshold: Leave out documents of a lower relevance, in [0, 1]; the model's class in `korag` defines
            relevance.
        fuse_weight: Weight of this model's score in [0, 1]; the rest goes to the score the documents were found by,
            both scaled to [0, 1]. 1 ranks by this model alone. None is the model's default
            (`korag.reranking.base.TextReranker`) where the documents come with such scores, and 1 otherwise.
        first_score_key: Metadata key of the score that the documents were found by: the `score_key` given to KoRAG's
            retrievers; `KoRerankRetriever` needs none. Where a document has no such score, or the scores are not those
            of a ranked list, best first, the order of the documents takes their place for a `fuse_weight`; None always
            takes the order.
    """

    model_config = CHECKED

    top_n: Count | None = 3
    score_key: Key | None = None
    score_threshold: Fraction | None = None
    fuse_weight: float | None = Field(default=None, ge=0, le=1)
    first_score_key: Key | None = "score"

    _other_names = MODEL_NAME

    @field_validator("fuse_weight", mode="before")
    @classmethod
    def _check_weight(cls, weight: Any) -> float | None:
        return check_fuse_weight(weight)

    @model_validator(mode="after")
    def _check_threshold(self) -> Self:
        self._text_reranker().check_threshold(self.score_threshold)
        return self

    @abstractmethod
    def _text_reranker(self) -> TextReranker:
        """Returns the scorer of texts; cheap to create."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Returns the best documents for a query, best first.

        Args:
            documents: The candidates; not modified. A document that is among them twice, by its id or, without one,
                wholly equal, counts once: in its best place, with its best score.
            query: The query. If a KoRAG retriever repaired it and found all the documents so (``rewritten_query`` in
                their metadata), they are scored by the repaired one.
            callbacks: Not used.

        Returns:
            Copies with their ids and metadata, and the score if there is a `score_key`; equal scores in input order.
            Documents without text are left out.

        Raises:
            InvalidTextError: If the query is not a string, or a candidate not a `Document`.
        """
        groups = group_equal(check_documents(documents))
        candidates = [group[0] for group in groups]
        ranked = self._text_reranker().rerank(
            searched_by(check_text(query, "query"), candidates),
            [document.page_content for document in candidates],
            top_n=self.top_n,
            score_threshold=self.score_threshold,
            first_stage_scores=self._first_stage_scores(groups),
            fuse_weight=self.fuse_weight,
        )
        return [self._scored(candidates[index], score) for index, score in ranked]

    def _first_stage_scores(self, groups: Sequence[Sequence[Document]]) -> list[float] | None:
        if self.first_score_key is None:
            return None
        return ranked_scores([best_score(group, self.first_score_key) for group in groups])

    def _scored(self, document: Document, score: float) -> Document:
        extra = {} if self.score_key is None else {self.score_key: score}
        return document.model_copy(update={"metadata": {**document.metadata, **extra}})


class KoColBERTReranker(DocumentReranker):
    """Puts retrieved documents in the order a ColBERT model gives them.

    >>> reranker = KoColBERTReranker(model="mini-colbert", top_n=3)
    >>> reranker.compress_documents(documents, "보증금은 언제 돌려받나요?")

    Returns copies with their ids and metadata; with a `score_key`, the MaxSim score under it, or the fused one. The
    documents passed in are not modified. Equal scores keep their order. Documents without text are left out. Reranking
    the same documents for another query only encodes that query.

    Attributes:
        query_length: Longest query in tokens; None for the model's own. Not serialised, as it belongs to `model`.
        model: A name, a path, or a loaded late-interaction encoder; replaced by the encoder.
        top_n: Documents to keep; None for all.
        score_key: Metadata key for the score, such as ``"relevance_score"``; None leaves it out.
        score_threshold: Leave out documents of a lower relevance, in [0, 1]: the mean over query tokens of each one's
            best match (see `korag.Reranker`), not MaxSim itself, which grows with the query.
        fuse_weight: Weight of this model's score in [0, 1]; the rest goes to the score the documents were found by,
            both scaled to [0, 1]. 1 ranks by this model alone. None is 0.3 where ten documents or more come with such
            scores, and 1 otherwise; with mini-colbert alone, the lists of a hybrid search get worse.
        first_score_key: Metadata key of the score that the documents were found by: the `score_key` given to KoRAG's
            retrievers; `KoRerankRetriever` needs none. Where a document has no such score, or the scores are not those
            of a ranked list, best first, the order of the documents takes their place for a `fuse_weight`; None always
            takes the order.
        cache: Token vectors of recently seen documents; shared by copies.

    Raises:
        WrongFamilyError: If the model is not a late-interaction model.
    """

    query_length: Count | None = Field(
        default=None, exclude=True, repr=False, frozen=True
    )  # before `model`, which uses it
    model: Annotated[
        LateInteractionEncoder | str | os.PathLike[str], WithJsonSchema({"type": "string", "title": "Model"})
    ] = Field(default=DEFAULT_COLBERT, validate_default=True, exclude=True, repr=False)
    cache: SkipJsonSchema[TokenCache] = Field(default_factory=TokenCache, exclude=True, repr=False)

    @field_validator("model", mode="before")
    @classmethod
    def _load(cls, model: Any, info: ValidationInfo) -> Encoder[Any]:
        return as_encoder(model, family="late_interaction", query_length=info.data.get("query_length"))

    def _text_reranker(self) -> Reranker:
        return Reranker(self.model, cache=self.cache, query_length=self.query_length)


class KoCrossEncoderReranker(DocumentReranker):
    """Puts retrieved documents in the order a cross-encoder gives them.

    >>> reranker = KoCrossEncoderReranker(model="dragonkue/bge-reranker-v2-m3-ko", top_n=3)
    >>> reranker.compress_documents(documents, "보증금은 언제 돌려받나요?")

    Returns copies with their ids and metadata, and the score under `score_key` if there is one; the documents passed in
    are not modified. Equal scores keep their order. Documents without text are left out. Every document is read again
    for every query: slower than `KoColBERTReranker`, which keeps their vectors.

    Attributes:
        model: A name, a path, a loaded `korag.CrossEncoderReranker`, or a `BaseCrossEncoder` of LangChain's; a name
            or path is replaced by the model.
        top_n: Documents to keep; None for all.
        score_key: Metadata key for the score, such as ``"relevance_score"``; None leaves it out.
        score_threshold: Leave out documents of a lower score, in [0, 1]; an error if the model's scores are not
            sigmoid outputs, and for a `BaseCrossEncoder`, whose range is unknown.
        fuse_weight: Weight of this model's score in [0, 1]; the rest goes to the score the documents were found by,
            both scaled to [0, 1]. 1 ranks by this model alone. None is 1.
        first_score_key: Metadata key of the score that the documents were found by: the `score_key` given to KoRAG's
            retrievers; `KoRerankRetriever` needs none. Where a document has no such score, or the scores are not those
            of a ranked list, best first, the order of the documents takes their place for a `fuse_weight`; None always
            takes the order.

    Raises:
        WrongFamilyError: If the model is a dense, sparse or late-interaction model.
        CheckpointError: If it does not give exactly one score.
        InvalidArgumentError: If there is a `score_threshold` and the scores are not in [0, 1].
    """

    model: Annotated[
        CrossEncoderReranker | BaseCrossEncoder | str | os.PathLike[str],
        WithJsonSchema({"type": "string", "title": "Model"}),
    ] = Field(default=DEFAULT_CROSS_ENCODER, validate_default=True, exclude=True, repr=False)

    @field_validator("model", mode="before")
    @classmethod
    def _load(cls, model: Any) -> CrossEncoderReranker | BaseCrossEncoder:
        return model if isinstance(model, CrossEncoderReranker | BaseCrossEncoder) else CrossEncoderReranker(model)

    def _text_reranker(self) -> TextReranker:
        if isinstance(self.model, BaseCrossEncoder):
            return _PairScorer(self.model)
        if isinstance(self.model, CrossEncoderReranker):
            return self.model
        return CrossEncoderReranker(self.model)  # after model_copy(update=...), which validates nothing


class _PairScorer(TextReranker):
    """A cross-encoder behind LangChain's interface."""

    def __init__(self, model: BaseCrossEncoder) -> None:
        self._model = model

    def _score(
        self,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[NDArray[np.float32], None]:
        scores = np.asarray(self._model.score([(query, text) for text in texts]), np.float32)
        if scores.shape != (len(texts),):
            raise CheckpointError(
                f"{type(self._model).__name__}.score가 {len(texts)}쌍에 모양이 {scores.shape}인 점수를 돌려주었습니다. "
                "쌍마다 수 하나여야 합니다.",
                f"{type(self._model).__name__}.score returned scores of shape {scores.shape} for {len(texts)} pairs; "
                "it must be one number per pair.",
            )
        return scores, None

    def _no_relevance(self) -> tuple[str, str]:
        name = type(self._model).__name__
        return (f"{name}은(는) 점수의 범위를 알려 주지 않습니다.", f"{name} does not declare the range of its scores.")
