"""Stand-ins for langchain_qdrant's `SparseEmbeddings` and `SparseVector`, used if it is not installed.

LangChain's core has no interface for sparse embeddings. langchain_qdrant's is the established one, and
`QdrantVectorStore` needs its methods, not its class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from langchain_core.runnables import run_in_executor
from pydantic import BaseModel, Field


class SparseVector(BaseModel, extra="forbid"):
    """A sparse vector.

    Attributes:
        indices: Positions of non-zero values, each once.
        values: The value at each position.
    """

    indices: list[int] = Field(description="Positions of non-zero values, each once.")
    values: list[float] = Field(description="The value at each position.")


class SparseEmbeddings(ABC):
    """Embeds texts as sparse vectors."""

    @abstractmethod
    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embeds documents."""

    @abstractmethod
    def embed_query(self, text: str) -> SparseVector:
        """Embeds a query."""

    async def aembed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embeds documents in a thread."""
        return await run_in_executor(None, self.embed_documents, texts)

    async def aembed_query(self, text: str) -> SparseVector:
        """Embeds a query in a thread."""
        return await run_in_executor(None, self.embed_query, text)
