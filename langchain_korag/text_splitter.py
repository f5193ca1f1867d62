"""A LangChain text splitter for Korean texts, measured in the tokens of the model that will read the chunks."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from korag.checkpoints.presets import DEFAULT_COLBERT
from korag.checks import check_flag
from korag.collection.local.arguments import EncoderLike
from korag.encoders.load import as_encoder
from korag.errors import InvalidArgumentError
from korag.keywords import checks_keywords
from korag.splitting import Chunk, Splitter
from korag.splitting.finding import SentenceRule
from korag.splitting.splitter import SplitterKind
from langchain_korag.documents import check_documents, texts_to_documents

START, END = "start_index", "end_index"
"""Metadata keys of a chunk's place; LangChain's splitters have the first."""


class KoTextSplitter(TextSplitter):
    """Splits Korean statutes, Markdown, HTML, tables, code and prose where their readers would.

    >>> documents = KoTextSplitter(model="mini-colbert").split_documents(loader.load())
    >>> retriever = KoColBERTRetriever.from_documents(documents, model="mini-colbert")

    Chunks have the document's metadata, with ``headings``, ``start_index`` and ``end_index``, and what the splitter
    knows of them, such as ``article`` and ``cites`` of a statute. KoRAG's retrievers and `KoVectorStore` search them
    by their headings too, which are not part of ``page_content``. Chunks of a document with an id have ids made of it.

    Args:
        model: The model that will read the chunks: a name, a path, or a loaded encoder.
        length_function: Counts the tokens of a text in its place.
        chunk_size: Tokens of a chunk at most, its headings included; None for as many as the model reads, or 512.
        splitter: ``"auto"``, ``"statutes"``, ``"markdown"``, ``"html"``, ``"table"``, ``"code"`` or ``"prose"``; see
            `korag.splitting.Splitter`.
        sentences: ``"rules"``, or ``"kiwi"`` (``pip install 'korag[kiwi]'``).
        title_key: Metadata key of the document's title, which becomes the outermost heading; None for none.
        add_start_index: Add ``start_index`` and ``end_index``.

    Raises:
        InvalidArgumentError: If an argument breaks its rule, or both `model` and `length_function` are given.
    """

    @checks_keywords
    def __init__(
        self,
        *,
        model: EncoderLike | None = None,
        length_function: Callable[[str], int] | None = None,
        chunk_size: int | None = None,
        splitter: SplitterKind = "auto",
        sentences: SentenceRule = "rules",
        title_key: str | None = None,
        add_start_index: bool = True,
    ) -> None:
        if model is not None and length_function is not None:
            raise InvalidArgumentError(
                "model과 length_function을 함께 넣었습니다. 길이를 재는 것은 하나여야 하니 하나만 넣으세요.",
                "Both model and length_function are given; one of them measures chunks, so give only one.",
            )
        check_flag("add_start_index", add_start_index)
        encoder = length_function or as_encoder(DEFAULT_COLBERT if model is None else model)
        self._title_key = title_key
        self._splitter = Splitter(encoder=encoder, max_tokens=chunk_size, splitter=splitter, sentences=sentences)
        super().__init__(
            chunk_size=self._splitter.size,
            chunk_overlap=0,
            length_function=self._splitter.count,
            add_start_index=add_start_index,
        )

    def split_text(self, text: str) -> list[str]:
        """Splits a text; what is known of the chunks is in `create_documents` and `split_documents`."""
        return [chunk.text for chunk in self._splitter.split(text)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(chunk_size={self._splitter.size})"

    def create_documents(self, texts: list[str], metadatas: list[dict[Any, Any]] | None = None) -> list[Document]:
        """Splits texts into documents.

        Args:
            texts: The texts.
            metadatas: A dict for each.

        Returns:
            The chunks of all texts, in order.
        """
        return self.split_documents(texts_to_documents(texts, metadatas))

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Splits documents. Their ``source``, if it is a file's name, helps to recognise what they are.

        Args:
            documents: The documents; not modified.

        Returns:
            The chunks of all documents, in order.
        """
        return [
            self._document(document, chunk, number)
            for document in check_documents(documents)
            for number, chunk in enumerate(self._chunks(document))
        ]

    def _chunks(self, document: Document) -> list[Chunk]:
        metadata: dict[str, Any] = document.metadata
        source = metadata.get("source")
        title = None if self._title_key is None else metadata.get(self._title_key)
        return self._splitter.split(
            document.page_content,
            filename=source if isinstance(source, str | os.PathLike) else None,
            title=title if isinstance(title, str) else None,
        )

    def _document(self, document: Document, chunk: Chunk, number: int) -> Document:
        metadata = chunk.to_metadata(copy.deepcopy(document.metadata))
        begin, end = metadata.pop("start"), metadata.pop("end")
        for name in ("start", "end"):  # of the document, which the chunk's place hides
            if name in document.metadata:
                metadata[name] = copy.deepcopy(document.metadata[name])
        if self._add_start_index:
            metadata |= {START: begin, END: end}
        id_ = f"{document.id}#{number}" if document.id else None
        return Document(id=id_, page_content=chunk.text, metadata=metadata)
