"""The shapes of answers, for ``/openapi.json``: answers are made without them, and a test compares the two."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from korag.explanations import FusionTable, Heat, TermMatch, TokenMatch

Span = tuple[int, int]


class Place(BaseModel):
    """Rank, from 1, and score of a document in one leg."""

    rank: int
    score: float


class FoundHit(BaseModel):
    """A document that was found, as `korag.Hit`."""

    id: str
    score: float
    relevance: Annotated[float, Field(description="From 0 to 1")]
    legs: dict[str, Place]
    metadata: dict[str, Any]
    rewritten_query: str | None
    cited_by: str | None
    span: Annotated[Span | None, Field(description="Where the passage is in the text, in characters")]
    passage: Annotated[str, Field(description="The part of the text that matches best")]
    text: Annotated[str, Field(default="", description='The whole text; absent after "text": false')]


class SearchAnswer(BaseModel):
    """The hits of a search, best first."""

    query: str
    rewritten_query: Annotated[str | None, Field(description="What was searched for, if the query was repaired")]
    hits: list[FoundHit]


class Document(BaseModel):
    """A document."""

    id: str
    text: str
    metadata: dict[str, Any]


class DocumentsAnswer(BaseModel):
    """The documents that exist."""

    documents: list[Document]


class LegReasons(BaseModel):
    """The parts of a leg's score, as `korag.explanations.LegExplanation`."""

    kind: Literal["late_interaction", "sparse", "lexical", "dense", "other"]
    score: float | None
    span: Span | None
    matches: list[TokenMatch]
    terms: list[TermMatch]
    note: str
    heat: Annotated[list[Heat], Field(description="What each place of the text adds")]
    words: Annotated[list[Heat], Field(description="What each word of the text adds")]


class ExplainAnswer(BaseModel):
    """The reasons for a document's score, as `korag.collection.explanation.Explanation`."""

    query: str
    searched: str
    id: str
    text: str
    score: float | None
    legs: dict[str, LegReasons]
    fusion: FusionTable | None
    html: Annotated[str, Field(default="", description='A picture; absent without "html": true')]


class LimitFacts(BaseModel):
    """The limits on a request."""

    hits: int
    texts: int
    characters: int


class FusionFacts(BaseModel):
    """A fitted fusion."""

    method: str
    weights: dict[str, float] | None


class InfoAnswer(BaseModel):
    """The collection, and the models that are served."""

    version: str
    documents: int
    legs: list[str]
    models: dict[str, str]
    fusion: FusionFacts | None
    reranker: str | None
    limits: LimitFacts


class ListedModel(BaseModel):
    """A model, in OpenAI's shape."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(BaseModel):
    """Models, in OpenAI's shape."""

    object: Literal["list"]
    data: list[ListedModel]


class Embedding(BaseModel):
    """A vector, in OpenAI's shape."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[float] | str, Field(description="Base64 of little-endian float32 if asked for")]


class Usage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Vectors, in OpenAI's shape."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


class Term(BaseModel):
    """A term of a sparse vector: its vocabulary id and weight."""

    index: int
    value: float


class RankedDocument(BaseModel):
    """The text of a document that was ranked."""

    text: str


class Ranked(BaseModel):
    """A document's place in the request and its score."""

    index: int
    relevance_score: float
    document: Annotated[RankedDocument, Field(default=None, description='Absent without "return_documents": true')]


class RerankAnswer(BaseModel):
    """Scores, best first, in the shape of Cohere and Jina."""

    id: str
    model: str
    results: list[Ranked]


class TeiRanked(BaseModel):
    """A text's place in the request and its score."""

    index: int
    score: float
    text: Annotated[str, Field(default="", description='Absent without "return_text": true')]
