"""The fusion fitted to a collection, as a row of its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from korag.checks import check_fusion, check_weights
from korag.collection.local.database import Database
from korag.errors import InvalidArgumentError
from korag.fusion import Fusion

NAME = "fusion"
"""Of the row. Collections without a fitted fusion have none."""


def check_fitted(fusion: Fusion, legs: Sequence[str]) -> Fusion:
    """Returns a fusion of some legs.

    Raises:
        InvalidArgumentError: If it is none, or has a weight for another leg.
    """
    if not isinstance(fusion, Fusion):
        raise InvalidArgumentError(
            f"fusion={fusion!r:.80}: korag.fusion.Fusion이어야 합니다. 예: Fusion('weighted', {{'bm25': 2.0}})",
            f"fusion={fusion!r:.80} must be a korag.fusion.Fusion, for example Fusion('weighted', {{'bm25': 2.0}}).",
        )
    check_fusion(fusion.method)
    check_weights(legs, fusion.weights)
    return fusion


def read_fusion(database: Database, legs: Iterable[str]) -> Fusion | None:
    """Returns the fitted fusion; None if there is none.

    Args:
        database: The collection's.
        legs: The collection's, the only ones that may have a weight.

    Raises:
        IndexStateError: If what is stored is not a fusion of these legs.
    """
    recorded = database.read_setting(NAME)
    if recorded is None:
        return None
    try:
        fusion = Fusion.from_dict(recorded)
    except InvalidArgumentError as error:
        raise database.damaged(f"settings: {NAME}: {error.args[-1]}") from error
    if unknown := set(fusion.weights or ()) - set(legs):
        raise database.damaged(f"settings: {NAME}: {min(unknown)!r:.40} is not a leg of this collection")
    return fusion
