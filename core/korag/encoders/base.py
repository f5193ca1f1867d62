"""The interface of an encoder: what legs, collections and rerankers need of a model."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.explanations import Token

Task = Literal["query", "document"]
Vectors = TypeVar("Vectors")


class Encoder(ABC, Generic[Vectors]):
    """Turns queries and documents into vectors of one family.

    `korag.load_encoder` returns a `korag.encoders.pretrained.PretrainedEncoder`; subclass this to search with vectors
    from elsewhere. An encoder must be safe to use from many threads, and its vectors must not depend on what else is
    in the batch.

    What ``encode_*`` return, by `family`:

    - ``"dense"``: a float32 array. Shape: (n_texts, dim).
    - ``"sparse"``: a float32 `scipy.sparse.csr_array` with sorted indices. Shape: (n_texts, dim).
    - ``"late_interaction"``: a list of float32 arrays of unit vectors. Shape of each: (n_tokens, dim).
    """

    family: ClassVar[Family]

    @property
    @abstractmethod
    def model_name(self) -> str:
        """Name of the model, for messages."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Vector size; for sparse encoders, the vocabulary size."""

    @property
    @abstractmethod
    def similarity(self) -> str:
        """The similarity of vectors: ``"cosine"`` or ``"dot"``."""

    @property
    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors: two encoders with equal fingerprints return the same vectors.

        A collection stores it and refuses an encoder with another one, as far as `differences` counts.
        """

    @property
    def fills_queries(self) -> bool:
        """True if shorter queries are filled up to ``fingerprint.query_length``; True by default for late interaction.

        Otherwise it is only where long queries are cut, and vectors made with another one fit.
        """
        return self.family == "late_interaction"

    def differences(self, stored: Fingerprint) -> dict[str, tuple[Any, Any]]:
        """Returns why vectors made by an encoder of another fingerprint do not fit, as name → (its value, own value).

        Args:
            stored: That fingerprint.
        """
        found = stored.differences(self.fingerprint)
        if not self.fills_queries:
            found.pop("query_length", None)
        return found

    @property
    @abstractmethod
    def load_arguments(self) -> dict[str, Any]:
        """Keywords of `korag.load_encoder` that load an encoder with the same fingerprint; JSON values."""

    @abstractmethod
    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = False) -> Vectors:
        """Encodes queries.

        Args:
            texts: Queries, in any Unicode normalization form.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            One entry per query, in order; see the class for the type.

        Raises:
            InvalidTextError: If an entry is not a string; the message gives its position.
        """

    @abstractmethod
    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Vectors:
        """Encodes documents.

        Args:
            texts: Documents, in any Unicode normalization form.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            One entry per document, in order; see the class for the type.

        Raises:
            InvalidTextError: If an entry is not a string; the message gives its position.
        """

    async def aencode_queries(self, texts: Iterable[str]) -> Vectors:
        """As `encode_queries`, for coroutines: in a thread, or natively where a server computes."""
        return await asyncio.to_thread(self.encode_queries, texts, show_progress=False)

    async def aencode_documents(self, texts: Iterable[str]) -> Vectors:
        """As `encode_documents`, for coroutines: in a thread, or natively where a server computes."""
        return await asyncio.to_thread(self.encode_documents, texts, show_progress=False)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the tokens of documents, prompt and special tokens included, before anything is cut.

        Long documents are split into windows by it: of at most ``fingerprint.document_length`` tokens, if that is a
        number. By default every character counts as a token, of which hardly a tokenizer makes more; an encoder that
        knows better overrides this, and its windows hold more text.

        Args:
            texts: Documents or parts of them, also empty ones, in any Unicode normalization form.

        Returns:
            A number per text; for one of more tokens than the encoder reads, possibly fewer than there are, but more
            than it reads.
        """
        return [len(text) for text in texts]

    def read_tokens(self, text: str, task: Task) -> list[Token] | None:
        """Returns the tokens that the model reads of a text, with their places in it, for explanations.

        Args:
            text: A query or a document, in any Unicode normalization form.
            task: Whether it is a query or a document.

        Returns:
            For late interaction, one for each vector of the text. None, the default, if the encoder cannot tell.
        """
        return None
