"""``/v1/embeddings`` of OpenAI, as vLLM, Infinity, TEI and others have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.remote.shapes.base import by_index, floats


class OpenAIDense:
    """``{"model": …, "input": […]}`` → ``{"data": [{"index": 0, "embedding": [0.1, …]}, …]}``."""

    takes_ids = False

    def body(self, inputs: Sequence[Any], *, model: str | None, normalize: bool) -> dict[str, Any]:
        """As `Shape.body`; whether vectors are scaled is up to the server."""
        del normalize
        named = {} if model is None else {"model": model}
        return {**named, "input": list(inputs), "encoding_format": "float"}

    def rows(self, answer: Any, count: int) -> list[NDArray[np.float32]]:
        """As `Shape.rows`."""
        return [floats(entry.get("embedding"), ndim=1) for entry in by_index(answer, count, key="data")]
