"""Loads a light model, or says that a checkpoint is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.matryoshka import read_heads
from korag.checkpoints.weights import tensor_shapes
from korag.encoders.base import Task
from korag.encoders.light.layout import Layout, read_layout
from korag.encoders.running import find_growth
from korag.errors import KoragError

if TYPE_CHECKING:
    from torch import Tensor

    from korag.encoders.light.modernbert import Shape
    from korag.encoders.light.modules import LightModel
    from korag.encoders.light.tokenizer import Tokenizer

_WEIGHTS = "model.safetensors"


def load_light(
    checkpoint: Checkpoint, folder: Path, *, dim: int | None, lengths: Mapping[Task, int | None]
) -> LightModel | None:
    """Loads a model for inference in float32 on the CPU.

    Args:
        checkpoint: Description of the model.
        folder: With its weights.
        dim: Size of a token vector, of a late-interaction model.
        lengths: Tokens after which texts are truncated, by task.

    Returns:
        None for a model that `korag.encoders.light` does not fully understand, or whose files are damaged: whatever
        loads it then also finds the words for that.
    """
    known: dict[Task, int] = {task: length for task, length in lengths.items() if length is not None}
    layout = read_layout(checkpoint, folder)
    if layout is None or len(known) < len(lengths):
        return None
    tokenizer = _read_tokenizer(layout)
    if tokenizer is None:
        return None
    from korag.encoders.light.modules import (
        Dense,
        LightModel,
        MultiVectorMask,
        Normalize,
        Pooling,
        SpladePooling,
        Transformer,
    )

    if (backbone := _read_backbone(layout)) is None:
        return None
    is_late = checkpoint.family == "late_interaction"
    model = LightModel(Transformer(backbone, tokenizer, known, expands=layout.expands))
    if is_late:
        weight = _read_projection(checkpoint, layout, dim)
        skipped = [
            found for word in layout.skipped if (found := tokenizer.backend_tokenizer.token_to_id(word)) is not None
        ]
        if weight is None or len(skipped) < len(layout.skipped):
            return None
        model.extend([Dense(weight), MultiVectorMask(skipped), Normalize("token_embeddings")])
    elif checkpoint.family == "sparse":
        model.append(SpladePooling(layout.backbone["vocab_size"]))
    else:
        model.append(Pooling())
        if layout.modules[-1] == "Normalize":
            model.append(Normalize("sentence_embedding"))
    return model.eval()


def _read_tokenizer(layout: Layout) -> Tokenizer | None:
    from tokenizers import Tokenizer as Backend

    from korag.encoders.light.tokenizer import Tokenizer

    try:
        backend = Backend.from_file(str(layout.folder / "tokenizer.json"))
    except Exception:  # tokenizers raises nothing more particular for a file that it cannot read
        return None
    if not _is_usual(backend.truncation, backend.padding, layout.tokens["pad_token"]):
        return None  # transformers takes sides, multiples and the token from them
    backend.no_padding()
    added = backend.get_added_tokens_decoder().values()
    whole = {token.content for token in added if token.special and not token.normalized}
    if not {*layout.tokens.values()} <= whole or backend.get_vocab_size() > layout.backbone["vocab_size"]:
        return None  # transformers would add tokens
    tokenizer = Tokenizer(backend, layout.tokens)
    if find_growth(tokenizer) is not None:
        return None
    if any(backend.encode(mark, add_special_tokens=False).tokens != [mark] for mark in layout.prefixes if mark):
        return None  # sentence-transformers would keep them whole, if it can
    return tokenizer


def _is_usual(truncation: dict[str, Any] | None, padding: dict[str, Any] | None, pad_token: str) -> bool:
    """Returns True if a tokenizer's file asks for no other batches than `korag.encoders.light.tokenizer` makes."""
    kept = {} if truncation is None else {name: truncation[name] for name in ("direction", "strategy", "stride")}
    filled = (
        {} if padding is None else {name: padding[name] for name in ("direction", "pad_to_multiple_of", "pad_token")}
    )
    return kept in ({}, {"direction": "right", "strategy": "longest_first", "stride": 0}) and filled in (
        {},
        {"direction": "right", "pad_to_multiple_of": None, "pad_token": pad_token},
    )


def _read_backbone(layout: Layout) -> Any:
    from korag.encoders.light.modernbert import fill_backbone, make_backbone, weight_shapes

    stored = _shapes(layout.folder / _WEIGHTS)
    if len(layout.backbone["layer_types"]) > len(stored):  # before a module for each is made
        return None
    backbone = make_backbone(_shape(layout))
    if stored != weight_shapes(backbone):
        return None
    fill_backbone(backbone, _read_weights(layout.folder / _WEIGHTS))
    backbone.config = SimpleNamespace(**layout.backbone)
    return backbone


def _shape(layout: Layout) -> Shape:
    from korag.encoders.light.modernbert import Shape

    settings = layout.backbone
    return Shape(
        vocabulary=settings["vocab_size"],
        hidden=settings["hidden_size"],
        inner=settings["intermediate_size"],
        heads=settings["num_attention_heads"],
        layers=settings["layer_types"],
        thetas={kind: found["rope_theta"] for kind, found in settings["rope_parameters"].items()},
        window=settings["local_attention"] // 2,
        epsilon=settings["norm_eps"],
        has_terms=layout.modules[0] == "MLMTransformer",
    )


def _read_projection(checkpoint: Checkpoint, layout: Layout, dim: int | None) -> Tensor | None:
    hidden = layout.backbone["hidden_size"]
    if _shapes(layout.projection) != {"linear.weight": (layout.out_features, hidden)}:
        return None
    if checkpoint.heads is not None:
        return read_heads(layout.folder / checkpoint.heads.name, hidden).get(dim or 0)
    if dim != layout.out_features:
        return None
    return _read_weights(layout.projection)["linear.weight"].float()


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        return tensor_shapes([path])
    except KoragError:
        return {}


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = load_file(path)
    return weights
