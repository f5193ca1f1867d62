"""Static embeddings: the vector of a text is the mean of its tokens' vectors, looked up in a table."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any


def load_model2vec(folder: Path, *, normalize: bool) -> list[Any]:
    """Loads model2vec's own layout, without the ``modules.json`` that sentence-transformers needs.

    Args:
        folder: With ``model.safetensors``, ``tokenizer.json`` and ``config.json``.
        normalize: Add the normalization that model2vec does.

    Returns:
        Modules of sentence-transformers that compute what model2vec does, except that it also cuts texts after 512
        times the median length of a token, in characters.
    """
    from korag.encoders.releases import Normalize, load_table

    table: Any = load_table(folder)
    table.preprocess = partial(_without_unknown, table.tokenizer, _unknown_token(table.tokenizer))
    return [table, *([Normalize()] if normalize else [])]


def _without_unknown(
    tokenizer: Any, unknown: int | None, inputs: list[str], prompt: str | None = None, **_: Any
) -> dict[str, Any]:
    """Tokenizes as model2vec does: it leaves out tokens without a vector, which sentence-transformers does not."""
    import torch

    texts = [(prompt or "") + text for text in inputs]
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    ids = [[token for token in encoding.ids if token != unknown] for encoding in encodings]
    sizes = torch.tensor([0, *map(len, ids[:-1])], dtype=torch.long)
    return {
        "input_ids": torch.tensor([token for row in ids for token in row], dtype=torch.long),
        "offsets": sizes.cumsum(0),
    }


def _unknown_token(tokenizer: Any) -> int | None:
    """Returns the id that stands for whatever is not in the vocabulary; None if there is none."""
    settings = json.loads(tokenizer.to_str())["model"]
    found: int | None = settings.get("unk_id")  # of a Unigram model; the others name it
    return found if settings.get("unk_token") is None else tokenizer.token_to_id(settings["unk_token"])


def use_float32(model: Any) -> None:
    """Widens tables of token vectors that are saved in half precision."""
    import torch

    from korag.encoders.releases import StaticEmbedding

    for module in model.modules():
        if isinstance(module, StaticEmbedding):
            module.to(torch.float32)
