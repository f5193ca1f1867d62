"""Collections that hold their legs themselves, wherever their documents are."""

from __future__ import annotations

from typing import Any

from korag.collection.base import Collection
from korag.encoders.base import Encoder
from korag.legs.base import Leg


class CollectionOfLegs(Collection):
    """A collection whose names and encoders are those of its legs."""

    _legs: dict[str, Leg]

    @property
    def legs(self) -> tuple[str, ...]:
        """The names `using` can take, ``"hybrid"`` aside."""
        return tuple(self._legs)

    @property
    def encoders(self) -> dict[str, Encoder[Any]]:
        """The encoders by leg."""
        return {name: leg.encoder for name, leg in self._legs.items() if leg.encoder is not None}
