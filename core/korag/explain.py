"""Explains results: terms of a sparse vector, token matches of late interaction, legs of a hit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from korag.checks import check_choice, check_count
from korag.collection.base import Hit
from korag.collection.explanation import Explanation
from korag.encoders.base import Task
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.sparse import SparseEncoder
from korag.errors import InvalidArgumentError
from korag.explanations import SEPARATOR, FusionTable, LegExplanation, TermMatch, TokenMatch
from korag.legs.explaining import match_tokens
from korag.text import check_text

__all__ = [
    "SEPARATOR",
    "Explanation",
    "FusionTable",
    "LegExplanation",
    "Term",
    "TermMatch",
    "TokenMatch",
    "explain_hit",
    "explain_matches",
    "explain_terms",
]


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
        One entry per query vector, in order, including prompt, special and expansion tokens, which
        `TokenMatch.query_kind` sets apart. Places are those in the texts as they are given, in characters.

    Raises:
        InvalidTextError: If the query or document is not a string.
        InvalidArgumentError: If the encoder is one on a server, which does not tell its tokens.
    """
    asked = encoder.read_tokens(check_text(query, "query"), "query")
    tokens = encoder.read_tokens(check_text(document, "document"), "document")
    if asked is None or tokens is None:
        raise InvalidArgumentError(
            f"encoder={encoder!r:.80}: 서버에 있는 모델은 토큰별 벡터를 돌려주지 않습니다. 설명에는 로컬 모델을 "
            f"쓰세요: load_encoder({encoder.model_name!r}).",
            f"encoder={encoder!r:.80}: a model on a server does not tell which tokens its vectors are of. For "
            f"explanations, use the local model: load_encoder({encoder.model_name!r}).",
        )
    query_vectors = encoder.encode_queries([query])[0]
    (document_vectors,) = encoder.encode_documents([document], show_progress=False)
    return match_tokens(asked, tokens, query_vectors @ document_vectors.T)


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
