"""`as_mteb`: an encoder as a model of mteb, for its benchmarks and leaderboards."""

from __future__ import annotations

import os
from typing import Any

from korag._optional import require
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder


def as_mteb(encoder: Encoder[Any] | str | os.PathLike[str]) -> Any:
    """Returns an encoder in the form in which `mteb.evaluate` takes models.

        import mteb

        model = as_mteb("nlpai-lab/KURE-v1")
        results = mteb.evaluate(model, mteb.get_benchmark("MTEB(kor, v2)"))

    Queries and documents get the encoder's own prompts and lengths. Nothing else is put before them: mteb's
    instructions are for models that were trained with those. Texts that are neither, as in clustering or similarity of
    sentences, are encoded as queries. Titles and texts of documents are joined by mteb, with a space.

    Late-interaction models can do retrieval and reranking only. ``batch_size`` in ``encode_kwargs`` has no effect; use
    ``batch_tokens=`` of `korag.load_encoder`.

    Args:
        encoder: An encoder, a name, or a path.

    Returns:
        A model of mteb. Its ``mteb_model_meta`` says what is known about the encoder, and leaves the rest empty: fill
        in languages and training data before you submit results.

    Raises:
        MissingDependencyError: If mteb is not installed (``korag[mteb]``).
        WrongFamilyError: If it is a cross-encoder.
    """
    require("mteb", extra="mteb")
    from korag.evaluation.mteb_models import wrap

    return wrap(as_encoder(encoder))
