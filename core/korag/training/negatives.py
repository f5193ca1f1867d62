"""Hard negatives: documents ranked high for a query by BM25 or the model that are unlikely to answer it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.analysis.tokenizers import TokenizeFunction, Tokenizer
from korag.checks import check_count
from korag.collection import Collection
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.errors import InvalidArgumentError
from korag.fusion import reciprocal_rank_fusion
from korag.logs import logger
from korag.scoring import dot_rows, maxsim, unit_rows
from korag.text import check_texts
from korag.training.pairs import Pair, key

_BM25 = "bm25"


@dataclass(frozen=True)
class _Candidates:
    """Candidates of one leg for a query: indices of documents, best first."""

    leg: str
    documents: list[int]


def mine_negatives(
    pairs: Sequence[Pair],
    encoder: Encoder[Any] | str | os.PathLike[str] | None = None,
    *,
    n: int = 3,
    corpus: Iterable[str] = (),
    bm25: bool = True,
    tokenizer: str | TokenizeFunction | Tokenizer | None = None,
    depth: int = 30,
    skip: int = 0,
    relative_margin: float | None = 0.05,
    absolute_margin: float | None = None,
    show_progress: bool | None = None,
) -> list[Pair]:
    """Fills up each pair's negatives to `n` with hard ones.

    Candidates are the `depth` best documents of BM25 and of the model, merged by reciprocal rank, without the query's
    positives and those that may be unlabelled positives by the model's scores: as in sentence-transformers'
    ``mine_hard_negatives``, with s⁺ the best score of the query's positives, a candidate must satisfy ::

        s ≤ s⁺ − |s⁺| · relative_margin    and    s ≤ s⁺ − absolute_margin

    Args:
        pairs: The pairs; their own negatives are kept and come first.
        encoder: The current model, by name, path or loaded; None for BM25 alone, without margins, because its scores
            say little about relevance.
        n: Negatives per pair; fewer if not enough candidates are left.
        corpus: More documents to mine, in addition to the pairs' positives and negatives.
        bm25: Take candidates from BM25.
        tokenizer: Tokenizer of BM25: None for character bigrams, ``"kiwi"``, or a function.
        depth: Candidates from BM25 and from the model.
        skip: Best candidates to skip after the margins, if they are likely to be relevant.
        relative_margin: See above; None for none.
        absolute_margin: See above; None for none. On the scale of the model's scores: up to 1 for cosine, up to the
            number of query tokens for MaxSim.
        show_progress: As for `Encoder.encode_documents`.

    Returns:
        The pairs in order, with negatives.

    Raises:
        InvalidArgumentError: If an argument is invalid, or there is neither BM25 nor a model.
    """
    if encoder is None and not bm25:
        raise InvalidArgumentError(
            "encoder와 bm25가 모두 없어 오답을 찾을 수 없습니다.",
            "There is neither an encoder nor bm25 to mine negatives with.",
        )
    for name, number, least in (("n", n, 0), ("depth", depth, 1), ("skip", skip, 0)):
        check_count(name, number, at_least=least)
    texts, index_of, positives = _gather(pairs, check_texts(corpus, "corpus"))
    queries = {key(pair.query): pair.query for pair in pairs if len(pair.negatives) < n}
    names = list(queries)
    found: dict[str, list[_Candidates]] = {name: [] for name in names}
    if bm25 and names:
        with Collection.in_memory(bm25=True, tokenizer=tokenizer) as collection:
            collection.add(texts, ids=[str(index) for index in range(len(texts))], show_progress=False)
            for name, hits in zip(names, collection.search_many(queries.values(), k=depth), strict=True):
                found[name].append(_Candidates(_BM25, [int(hit.id) for hit in hits]))
    allowed: dict[str, NDArray[np.bool_]] = {}
    if encoder is not None and names:
        loaded = as_encoder(encoder)
        documents = loaded.encode_documents(texts, show_progress=show_progress)
        encoded = loaded.encode_queries(list(queries.values()), show_progress=False)
        for position, name in enumerate(names):
            scores = score_documents(loaded, encoded[position], documents)
            best = float(scores[sorted(positives[name])].max())
            limit = min(best - abs(best) * (relative_margin or 0), best - (absolute_margin or 0))
            unmargined = relative_margin is None and absolute_margin is None
            allowed[name] = np.ones(len(texts), bool) if unmargined else scores <= limit
            order = np.argsort(-scores, kind="stable")
            kept = [int(index) for index in order[: depth + len(positives[name])] if index not in positives[name]]
            found[name].append(_Candidates("model", kept[:depth]))
    return _filled(pairs, n, skip, texts, index_of, positives, found, allowed)


def _gather(pairs: Sequence[Pair], corpus: list[str]) -> tuple[list[str], dict[str, int], dict[str, set[int]]]:
    """Returns the distinct documents, their indices by key, and the indices of each query's positives."""
    index_of: dict[str, int] = {}
    texts: list[str] = []
    for text in [text for pair in pairs for text in (pair.positive, *pair.negatives)] + corpus:
        if key(text) and key(text) not in index_of:
            index_of[key(text)] = len(texts)
            texts.append(text)
    positives: dict[str, set[int]] = {}
    for pair in pairs:
        positives.setdefault(key(pair.query), set()).add(index_of[key(pair.positive)])
    return texts, index_of, positives


def score_documents(encoder: Encoder[Any], query: Any, documents: Any) -> NDArray[np.float32]:
    """Scores all encoded documents for an encoded query. Shape: (n,)."""
    if encoder.family == "late_interaction":
        return maxsim(query, documents)
    if encoder.family == "sparse":
        scores: NDArray[np.float32] = (documents @ sp.csr_array(query).reshape((1, -1)).T).toarray()[:, 0]
        return scores
    if encoder.similarity == "dot":
        return dot_rows(query, documents)
    return dot_rows(unit_rows(query[None])[0], unit_rows(documents))


def _filled(
    pairs: Sequence[Pair],
    n: int,
    skip: int,
    texts: list[str],
    index_of: dict[str, int],
    positives: dict[str, set[int]],
    found: dict[str, list[_Candidates]],
    allowed: dict[str, NDArray[np.bool_]],
) -> list[Pair]:
    mined: list[Pair] = []
    short = 0
    for pair in pairs:
        name = key(pair.query)
        if len(pair.negatives) >= n:
            mined.append(pair)
            continue
        have = {index_of[key(negative)] for negative in pair.negatives} | positives[name]
        runs = {item.leg: [(index, rank) for rank, index in enumerate(item.documents)] for item in found[name]}
        ranked = [index for index, _ in reciprocal_rank_fusion(
            {leg: [index for index, _ in run] for leg, run in runs.items()}
        )]  # fmt: skip
        good = [index for index in ranked if index not in have and (name not in allowed or allowed[name][index])]
        chosen = good[skip : skip + n - len(pair.negatives)]
        short += len(pair.negatives) + len(chosen) < n
        mined.append(replace(pair, negatives=(*pair.negatives, *(texts[index] for index in chosen))))
    if short:
        logger.info(
            "%d쌍 중 %d쌍은 오답 %d개를 채우지 못했습니다. / %d of %d pairs have fewer than %d negatives.",
            len(pairs), short, n, short, len(pairs), n,
        )  # fmt: skip
    return mined
