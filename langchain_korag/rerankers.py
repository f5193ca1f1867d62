"""Rerankers as LangChain document compressors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field, WithJsonSchema, field_validator
from pydantic.json_schema import SkipJsonSchema

from korag.encoders.late_interaction import LateInteractionEncoder
from korag.encoders.load import late_interaction_encoder
from korag.reranking import Reranker, TokenCache
from langchain_korag.documents import check_documents
from langchain_korag.retrievers import DEFAULT_COLBERT


class KoColBERTReranker(BaseDocumentCompressor):
    """Puts retrieved documents in the order a ColBERT model gives them.

    >>> reranker = KoColBERTReranker(model="mini-colbert", top_n=3)
    >>> reranker.compress_documents(documents, "보증금은 언제 돌려받나요?")

    Returns copies with their ids, their metadata, and the MaxSim score under `score_key`; the documents
    passed in stay as they are. Equal scores keep their order. Documents without text are left out.

    Attributes:
        model: A name, a path, or a loaded late-interaction encoder; once made, always the encoder.
        top_n: Documents to keep; None for all.
        score_key: Metadata key of the score, written over what was there; None leaves it out.
        cache: Token vectors of the documents seen last; shared by copies.

    Raises:
        WrongFamilyError: If the model is not a late-interaction model.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_assignment=True)

    model: Annotated[
        LateInteractionEncoder | str | os.PathLike[str], WithJsonSchema({"type": "string", "title": "Model"})
    ] = Field(default=DEFAULT_COLBERT, validate_default=True, exclude=True, repr=False)
    top_n: int | None = Field(default=3, ge=0)
    score_key: str | None = "relevance_score"
    cache: SkipJsonSchema[TokenCache] = Field(default_factory=TokenCache, exclude=True, repr=False)

    @field_validator("model", mode="before")
    @classmethod
    def _load(cls, model: Any) -> LateInteractionEncoder:
        return late_interaction_encoder(model)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Returns the best documents for a query, best first.

        Args:
            documents: The candidates.
            query: The query.
            callbacks: Not used: nothing in here reports to them.

        Raises:
            InvalidTextError: If the query is not a string, or a candidate not a `Document`.
        """
        candidates = check_documents(documents)
        reranker = Reranker(self.model, cache=self.cache)
        ranked = reranker.rerank(query, [document.page_content for document in candidates], top_n=self.top_n)
        return [self._scored(candidates[index], score) for index, score in ranked]

    def _scored(self, document: Document, score: float) -> Document:
        extra = {} if self.score_key is None else {self.score_key: score}
        return document.model_copy(update={"metadata": {**document.metadata, **extra}})
