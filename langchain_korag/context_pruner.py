"""A pruner of contexts as a LangChain document compressor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator

from korag.checkpoints.presets import DEFAULT_COLBERT
from korag.encoders.load import as_encoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.field_errors import showable
from korag.pruning.pruner import (
    DEFAULT_THRESHOLD,
    PrunedText,
    Pruner,
    WhenEmpty,
    check_places,
    check_threshold,
    check_when_empty,
)
from korag.splitting.finding import SentenceRule, check_sentences
from korag.text import check_text
from langchain_korag.checked_model import CHECKED, MODEL_NAME, CheckedModel
from langchain_korag.documents import check_documents
from langchain_korag.field_types import Count, Key
from langchain_korag.results import searched_by


class KoContextPruner(CheckedModel, BaseDocumentCompressor):
    """Leaves out of retrieved documents the sentences that do not belong to the query.

    >>> pruner = KoContextPruner(model="mini-colbert")
    >>> pruner.compress_documents(documents, "보증금은 언제 돌려받나요?")
    >>> retriever = ContextualCompressionRetriever(base_compressor=pruner, base_retriever=retriever)

    Returns copies in their order, with their ids and metadata, whose ``page_content`` is what was kept; the documents
    passed in are not modified. Sentences, rows of tables and blocks of code are kept whole, with their headings
    (`korag.pruning.pruner.Pruner`). Put it behind a reranker, and give it all documents of a prompt at once: scores
    compare them with each other. Documents without text stay as they are.

    Attributes:
        query_length: Longest query in tokens; None for the model's own. Not serialised, as it belongs to `model`.
        model: A name, a path, or a loaded late-interaction encoder; replaced by the encoder.
        threshold: Least score of a sentence, in [0, 1]; lower keeps more.
        when_empty: A document without such a sentence is left out (``"drop"``), or its best one is kept (``"best"``).
        sentences: ``"rules"``, or ``"kiwi"`` (``pip install 'korag[kiwi]'``).
        spans_key: Metadata key for the places of what was kept, as [begin, end] in the document's text; None for none.

    Raises:
        WrongFamilyError: If the model is not a late-interaction model.
    """

    model_config = CHECKED

    _other_names = MODEL_NAME

    query_length: Count | None = Field(default=None, exclude=True, repr=False, frozen=True)  # `model` uses it
    model: Annotated[
        LateInteractionEncoder | str | os.PathLike[str], WithJsonSchema({"type": "string", "title": "Model"})
    ] = Field(default=DEFAULT_COLBERT, validate_default=True, exclude=True, repr=False)
    threshold: float = Field(default=DEFAULT_THRESHOLD, ge=0, le=1)
    when_empty: WhenEmpty = "drop"
    sentences: SentenceRule = "rules"
    spans_key: Key | None = "kept_spans"

    @field_validator("threshold", mode="before")
    @classmethod
    def _check_threshold(cls, threshold: Any) -> float:
        return check_threshold(showable(threshold))

    @field_validator("when_empty", mode="before")
    @classmethod
    def _check_when_empty(cls, when_empty: Any) -> WhenEmpty:
        return check_when_empty(showable(when_empty))

    @field_validator("sentences", mode="before")
    @classmethod
    def _check_sentences(cls, sentences: Any) -> SentenceRule:
        return check_sentences(showable(sentences))

    @field_validator("model", mode="before")
    @classmethod
    def _load(cls, model: Any, info: ValidationInfo) -> LateInteractionEncoder:
        return check_places(as_encoder(model, family="late_interaction", query_length=info.data.get("query_length")))

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Returns what belongs to the query.

        Args:
            documents: The documents of a prompt; not modified. Their ``source``, if it is a file's name, tells tables
                and code.
            query: The query. If a KoRAG retriever repaired it and found all the documents so (``rewritten_query`` in
                their metadata), it is the repaired one.
            callbacks: Not used.

        Returns:
            Copies with their ids and metadata, in order; all documents as they are for an empty query.

        Raises:
            InvalidTextError: If the query is not a string, or something else than a `Document` is among them.
        """
        found = check_documents(documents)
        sources = [document.metadata.get("source") for document in found]
        pruned = self._pruner().prune(
            searched_by(check_text(query, "query"), found),
            [document.page_content for document in found],
            filenames=[os.fspath(source) if isinstance(source, str | os.PathLike) else None for source in sources],
        )
        return [self._pruned(*pair) for pair in zip(found, pruned, strict=True) if not pair[1].is_dropped]

    def _pruner(self) -> Pruner:
        return Pruner(
            self.model,
            threshold=self.threshold,
            when_empty=self.when_empty,
            sentences=self.sentences,
            query_length=self.query_length,
        )

    def _pruned(self, document: Document, pruned: PrunedText) -> Document:
        spans = {} if self.spans_key is None else {self.spans_key: [list(span) for span in pruned.spans]}
        return document.model_copy(update={"page_content": pruned.text, "metadata": {**document.metadata, **spans}})
