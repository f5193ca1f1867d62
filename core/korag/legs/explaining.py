"""The parts of the scores of legs, by token and by term."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.analysis.marks import HEADING, MENTION
from korag.analysis.scripts import HAN, HANGUL, KANA, LETTER_OR_DIGIT
from korag.encoders.base import Encoder
from korag.encoders.sparse import SparseEncoder
from korag.encoders.token_places import joined
from korag.explanations import LegExplanation, Span, TermMatch, Token, TokenMatch
from korag.places import Spelling

NONE_SHARED = "함께 가진 말이 없습니다 / no term in common"
_ARTICLE = re.compile(r"제\d")
_SYLLABIC = re.compile(rf"[{HANGUL}{HAN}{KANA}]")
_UNKNOWN = "이 인코더는 토큰을 알려 주지 않습니다 / this encoder does not tell its tokens"


def explain_tokens(
    encoder: Encoder[Any],
    asked: str,
    query: NDArray[np.float32],
    document: str,
    vectors: NDArray[np.floating[Any]],
    groups: Sequence[Sequence[int]] | None = None,
) -> LegExplanation:
    """Returns the best match of each query token.

    Args:
        encoder: Of late interaction; tells the tokens.
        asked: The query.
        query: Its vectors. Shape: (tokens, dim).
        document: The document.
        vectors: Its vectors, as they are stored. Shape: (tokens, dim).
        groups: The document tokens that each of them is made of; None if each is one.
    """
    similarities = query.astype(np.float32) @ vectors.astype(np.float32).T
    score = math.fsum(similarities.max(axis=1).tolist()) if len(vectors) else -math.inf
    asked_tokens = encoder.read_tokens(asked, "query")
    tokens = encoder.read_tokens(document, "document")
    if tokens is not None and groups is not None:
        tokens = [joined([tokens[index] for index in group]) for group in groups]
    if asked_tokens is None or tokens is None or (len(asked_tokens), len(tokens)) != similarities.shape:
        return LegExplanation("late_interaction", score, note=_UNKNOWN)
    return LegExplanation("late_interaction", score, matches=tuple(match_tokens(asked_tokens, tokens, similarities)))


def match_tokens(
    asked: Sequence[Token], tokens: Sequence[Token], similarities: NDArray[np.float32]
) -> list[TokenMatch]:
    """Returns the best match of each query token.

    Args:
        asked: Of the query.
        tokens: Of the document.
        similarities: Cosines of their vectors. Shape: (query tokens, document tokens).
    """
    places = similarities.argmax(axis=1).tolist()
    return [
        TokenMatch(
            query_token=own.text,
            document_token=tokens[place].text,
            position=place,
            similarity=float(row[place]),
            query_spans=own.spans,
            document_spans=tokens[place].spans,
            query_kind=own.kind,
            document_kind=tokens[place].kind,
        )
        for own, place, row in zip(asked, places, similarities, strict=True)
    ]


def explain_terms(
    encoder: Encoder[Any], asked: str, query: sp.csr_array, document: str, vectors: sp.csr_array
) -> LegExplanation:
    """Returns the terms that a query and a document share.

    Args:
        encoder: Sparse; tells the tokens and terms.
        asked: The query.
        query: Its vector. Shape: (1, vocab).
        document: The document.
        vectors: Its vector, as it is stored. Shape: (1, vocab).
    """
    shared, in_query, in_document = np.intersect1d(query.indices, vectors.indices, return_indices=True)
    weights, own = query.data[in_query].astype(np.float64), vectors.data[in_document].astype(np.float64)
    products = weights * own
    score = math.fsum(products.tolist())
    if not isinstance(encoder, SparseEncoder):
        return LegExplanation("sparse", score, note=_UNKNOWN)
    asked_ids = {id_ for token in encoder.read_tokens(asked, "query") if token.kind == "text" for id_ in token.ids}
    spans: dict[int, list[Span]] = {}
    for token in encoder.read_tokens(document, "document"):
        for id_ in token.ids if token.kind == "text" else ():
            spans.setdefault(id_, []).extend(token.spans)
    order = np.argsort(-products, kind="stable").tolist()
    ids = shared[order].tolist()
    terms = [
        TermMatch(
            term=term,
            query_weight=float(weights[place]),
            document_weight=float(own[place]),
            contribution=float(products[place]),
            spans=tuple(dict.fromkeys(spans.get(id_, ()))),
            in_query=id_ in asked_ids,
            in_document=id_ in spans,
        )
        for term, place, id_ in zip(encoder.token_texts(ids), order, ids, strict=True)
    ]
    return LegExplanation("sparse", score, terms=tuple(terms), note="" if terms else NONE_SHARED)


def term_spans(term: str, document: Spelling) -> tuple[Span, ...]:
    """Returns the places of a term of the lexical leg in a document; none where it is in another spelling.

    Args:
        term: The term.
        document: The document.
    """
    written = term.removeprefix(HEADING).removeprefix(MENTION)
    letters = r"\s*".join(map(re.escape, written)) if _ARTICLE.match(written) else re.escape(written)
    if not _SYLLABIC.match(written):
        letters = rf"(?<!{LETTER_OR_DIGIT}){letters}(?!{LETTER_OR_DIGIT})"
    elif len(written) == 1:
        letters = rf"(?<![{HANGUL}{HAN}{KANA}]){letters}"
    found = re.finditer(letters, document.text, re.IGNORECASE)
    return tuple(document.place(*match.span()) for match in found)
