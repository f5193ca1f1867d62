"""Explains results: terms of a sparse vector, token matches of late interaction, legs of a hit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from korag.checks import check_choice, check_count
from korag.collection.base import Hit
from korag.encoders.base import Task
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.sparse import SparseEncoder
from korag.text import check_text


@dataclass(frozen=True)
class Term:
    """One vocabulary term of a sparse vector; ``term, weight = …`` unpacks it.

    Attributes:
        term: The term as text. Special tokens are shown by name (``[SEP]``), parts of a character as bytes
            (``<0xEC>``).
        weight: Its weight in the vector.
        in_text: True for a token of the text, False for a term added by the model.
    """

    term: str
    weight: float
    in_text: bool

    def __iter__(self) -> Iterator[Any]:
        return iter((self.term, self.weight))


SEPARATOR = " · "
"""Between the tokens of one vector."""


@dataclass(frozen=True)
class TokenMatch:
    """A query token and its best match in a document.

    A model with token pooling makes one vector of several similar tokens: all of them are named, and matched as one.

    Attributes:
        query_token: The query token as text; several, with `SEPARATOR` between them, if they have one vector.
        document_token: The document token most similar to it; several likewise.
        position: Index of the document token among those scored.
        similarity: Their cosine. The sum over all query tokens is the MaxSim score.
    """

    query_token: str
    document_token: str
    position: int
    similarity: float


def explain_terms(encoder: SparseEncoder, text: str, *, task: Task = "query", top: int = 20) -> list[Term]:
    """Returns the strongest terms of a text's sparse vector.

    Args:
        encoder: The encoder.
        text: A query or a document.
        task: Encode the text as a query or as a document.
        top: How many terms at most.

    Returns:
        Terms with a nonzero weight, largest first; equal weights in vocabulary order.

    Raises:
        InvalidTextError: If the text is not a string.
        InvalidArgumentError: If `task` is neither, or `top` is not an integer of at least 0.
    """
    check_text(text, "text")
    check_choice("task", task, get_args(Task))
    check_count("top", top)
    row = (encoder.encode_queries if task == "query" else encoder.encode_documents)([text])
    best = np.argsort(-row.data, kind="stable")[:top]
    ids, own = row.indices[best].tolist(), set(encoder.token_ids(text, task))
    terms = zip(encoder.token_texts(ids), row.data[best].tolist(), ids, strict=True)
    return [Term(term, weight, token in own) for term, weight, token in terms]


def explain_matches(encoder: LateInteractionEncoder, query: str, document: str) -> list[TokenMatch]:
    """Returns the best match of each query token in a document.

    Args:
        encoder: The encoder.
        query: The query.
        document: The document.

    Returns:
        One entry per query vector, in order, including prompt, special and expansion tokens.

    Raises:
        InvalidTextError: If the query or document is not a string.
    """
    query_tokens, query_vectors = encoder.encode_token_groups(check_text(query, "query"), "query")
    document_tokens, document_vectors = encoder.encode_token_groups(check_text(document, "document"), "document")
    similarities = query_vectors @ document_vectors.T
    places = similarities.argmax(axis=1).tolist()
    asked, found = (
        [SEPARATOR.join(encoder.token_texts(ids)) for ids in groups] for groups in (query_tokens, document_tokens)
    )
    return [
        TokenMatch(token, found[place], place, float(row[place]))
        for token, place, row in zip(asked, places, similarities, strict=True)
    ]


def explain_hit(hit: Hit) -> str:
    """Returns a hit's rank and score in each leg, one line per leg.

    >>> print(explain_hit(collection.search(query, k=1)[0]))
    문서-0: 0.0325
      bm25     #2  7.1402
      colbert  #1  17.3310

    Args:
        hit: A hit of a `korag.Collection`.
    """
    width = max(map(len, hit.legs), default=0)
    lines = [f"  {leg:<{width}}  #{rank}  {score:.4f}" for leg, (rank, score) in sorted(hit.legs.items())]
    return "\n".join([f"{hit.id}: {hit.score:.4f}", *lines])
