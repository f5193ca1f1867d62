"""Searching by a vector in place of a text, the same for every store with legs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from korag.collection.base import Hit, SearchOptions
from korag.collection.spans import search_span, set_found
from korag.errors import InvalidArgumentError
from korag.legs.base import Leg
from korag.legs.registry import leg_type


def search_by_vector(
    legs: Mapping[str, Leg],
    vector: Sequence[float],
    options: SearchOptions,
    find: Callable[[dict[str, list[Any]]], list[list[Hit]]],
) -> list[Hit]:
    """Searches with the leg that takes vectors.

    Args:
        legs: By name.
        vector: The query's. Shape: (dim,).
        options: Settings.
        find: Returns the hits for each query, by the name of the leg that they are encoded for.

    Raises:
        InvalidArgumentError: If no leg takes vectors, or the vector is not one of this leg's.
    """
    takers = [name for name, leg in legs.items() if leg.takes_vectors]
    if not takers:
        raise InvalidArgumentError(
            f"벡터 하나로는 dense 모델이 있는 컬렉션만 찾을 수 있습니다(이 컬렉션: {', '.join(legs)}). "
            "질문 문자열로 찾으세요.",
            f"Only a collection with a dense model can be searched by one vector; this one has "
            f"{', '.join(legs)}. Search with the query's text.",
        )
    name = min(takers, key=lambda name: leg_type(name).comparison_order)
    query = legs[name].query_from_vector(vector)
    if options.k == 0:
        return []
    with search_span([name], options, queries=1) as span:
        (hits,) = find({name: [query]})
        set_found(span, [hits])
    return hits
