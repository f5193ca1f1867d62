"""The legs there are: one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from korag.encoders.base import Encoder
from korag.legs.base import Leg
from korag.legs.dense import DenseLeg
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.sparse import SparseLeg

LEG_NAMES = {"dense": "dense", "sparse": "sparse", "late_interaction": "colbert"}
"""What `using=` calls the leg of each family."""

_LEGS: dict[str, Callable[[Encoder[Any]], Leg]] = {
    "dense": DenseLeg,
    "sparse": SparseLeg,
    "late_interaction": LateInteractionLeg,
}


def make_leg(encoder: Encoder[Any]) -> Leg:
    """Returns the leg for an encoder's vectors."""
    return _LEGS[encoder.family](encoder)
