"""Documents that found documents cite: one step from article to article, by what the statute splitter noted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from korag.collection.documents import StoredDocument
from korag.collection.hits import Hit
from korag.metadata import CITATION, CITES
from korag.text import to_nfc


def with_cited(
    found: Sequence[list[Hit]],
    get: Callable[..., list[StoredDocument]],
    where: Mapping[str, Any] | None,
    k: int,
) -> list[list[Hit]]:
    """Adds to the hits of each query the documents that they cite, behind all of them.

    Args:
        found: The hits of each query, best first.
        get: Returns documents by a filter (`Collection.get`).
        where: The filter of the search, which the documents added match too.
        k: Documents to add to each at most: those cited by the best hits.

    Returns:
        The hits, then the documents, in the order in which they are cited. A document has the score and relevance of
        the hit that cites it, since the query was not compared with it, and the hit's id in `Hit.cited_by`.
    """
    wanted = sorted({key for hits in found for hit in hits for key in _cited(hit)})
    if not wanted:
        return list(found)
    condition: dict[str, Any] = {CITATION: {"$in": wanted}}
    there: dict[str, list[StoredDocument]] = {}
    for document in get(where={"$and": [dict(where), condition]} if where else condition):
        key = document.metadata[CITATION]
        if isinstance(key, str):  # a list with the key in it matches the filter, too
            there.setdefault(to_nfc(key), []).append(document)
    return [[*hits, *_added(hits, there)[:k]] for hits in found]


def _added(hits: Sequence[Hit], there: Mapping[str, Sequence[StoredDocument]]) -> list[Hit]:
    known = {to_nfc(hit.id) for hit in hits}
    added = []
    for hit in hits:
        for document in (one for key in _cited(hit) for one in there.get(key, ())):
            if to_nfc(document.id) not in known:
                known.add(to_nfc(document.id))
                own = Hit(document.id, hit.score, document.text, document.metadata, relevance=hit.relevance)
                added.append(replace(own, rewritten_query=hit.rewritten_query, cited_by=hit.id))
    return added


def _cited(hit: Hit) -> list[str]:
    cites = hit.metadata.get(CITES)
    return [to_nfc(key) for key in cites if isinstance(key, str)] if isinstance(cites, list) else []
