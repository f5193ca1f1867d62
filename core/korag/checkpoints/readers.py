"""Readers of dimension, prompts and lengths; the rows of `korag.checkpoints.layouts` choose among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from korag.checkpoints.linear_heads import HEAD_FILES, linear_dim
from korag.checkpoints.presets import Family
from korag.checkpoints.prompts import saved_prompts
from korag.checkpoints.rules import is_module
from korag.checkpoints.settings import FolderSettings, max_length, tokenizer_limit
from korag.checkpoints.sizes import count_modes

Lengths = tuple[int | None, int | None]
"""Maximum query and document length in tokens; None for no limit."""
_COLBERT_QUERY_LENGTH = 32
"""Query length where a ColBERT checkpoint saves none, in Stanford's implementation and in PyLate."""
_MODEL2VEC_LENGTH = 512
_PYLATE_KEYS = {
    "query_length", "document_length", "do_query_expansion", "attend_to_expansion_tokens", "attend_to_mask_tokens",
    "query_prefix", "document_prefix", "skiplist_words",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads an encoder's settings from a layout.

    Attributes:
        dim: Returns the size of the saved vectors; None if the settings do not show it.
        prompts: Returns the query and document prompts, empty where none is saved.
        lengths: Returns the maximum query and document lengths in tokens.
        least_query_length: Returns the number of tokens that queries are filled up to, beyond which they may be longer.
        fills_queries: Returns True if queries are filled up to their maximum length.
        has_head: Returns False if the projection to token vectors is missing.
        marks: Returns the marks before stripped queries and documents; None if texts are taken as they are.
        unit_vectors: The model makes unit vectors whatever its modules.
        similarity: Default similarity; a checkpoint may specify dot products.
        head: Name of the head that the model is, on the backbone of a dense one; None for other models.
    """

    dim: Callable[[FolderSettings], Any]
    prompts: Callable[[FolderSettings], tuple[str, str]]
    lengths: Callable[[FolderSettings], Lengths]
    least_query_length: Callable[[FolderSettings], int] = lambda _: 0
    fills_queries: Callable[[FolderSettings], bool] = lambda _: False
    has_head: Callable[[FolderSettings], bool] = lambda _: True
    marks: Callable[[FolderSettings], tuple[str, str] | None] = lambda _: None
    unit_vectors: bool = False
    similarity: Literal["cosine", "dot"] = "cosine"
    head: str | None = None


def pipeline_dim(settings: FolderSettings, *, backbone_key: str) -> Any:
    """Returns the output size of the last module that changes it; the backbone's if none does.

    None if only the loaded model shows it: for tables of token vectors, and behind a module of the checkpoint's own.
    """
    for kind, module in reversed([*zip(settings.module_types[1:], settings.module_settings, strict=True)]):
        if not is_module(kind):
            return None
        if size := _module_size(module):
            return size
    return None if settings.is_static else settings.backbone.get(backbone_key)


def token_dim(settings: FolderSettings) -> Any:
    """Returns the size of token vectors: of the last projection, or the backbone's."""
    sizes = [_module_size(module) for module in settings.module_settings]
    return next((size for size in reversed(sizes) if size), None) or settings.backbone.get("hidden_size")


def _module_size(module: dict[str, Any]) -> int | None:
    """Returns the output size of a Dense, SparseAutoEncoder or (Splade)Pooling module; None for others."""
    return module.get("out_features") or module.get("hidden_dim") or _pooled_size(module)


def _pooled_size(module: dict[str, Any]) -> int | None:
    size = module.get("embedding_dimension") or module.get("word_embedding_dimension")
    return size * count_modes(module) if isinstance(size, int) else None


def has_projection(settings: FolderSettings) -> bool:
    """Returns True if the folder has Matryoshka heads or a Dense module."""
    return settings.heads is not None or any("out_features" in module for module in settings.module_settings)


def pylate_marks(settings: FolderSettings) -> tuple[str, str] | None:
    """Returns the marks of a checkpoint saved by PyLate, which strips prompt and text before it inserts them.

    sentence-transformers up to 5.3, on which PyLate is built, stripped every text; from 5.4 on, it strips none.
    """
    model = settings.model
    if model.get("model_type") == "MultiVectorEncoder" or not (
        model.get("model_type") == "ColBERT" or _PYLATE_KEYS & model.keys()
    ):
        return None
    return model.get("query_prefix") or "", model.get("document_prefix") or ""


def own_lengths(settings: FolderSettings) -> Lengths:
    """Returns the maximum lengths of queries and documents, each of the module that they enter by."""
    return _own_length(settings.queries, "query_length"), _own_length(settings, "document_length")


def _own_length(side: FolderSettings, key: str) -> int | None:
    if side.is_static:
        return tokenizer_limit(side.home / side.modules[0]["path"])
    own: int | None = side.backbone.get(key)
    return own or max_length(side.backbone)


def model2vec_lengths(settings: FolderSettings) -> Lengths:
    """Returns model2vec's limit, which it also applies where a model saves none."""
    length = settings.backbone.get("max_length", _MODEL2VEC_LENGTH)
    return length, length


def late_interaction_lengths(settings: FolderSettings) -> Lengths:
    """Returns the lengths of a late-interaction model, in sentence-transformers' order of precedence."""
    model, backbone, documents = settings.model, settings.queries.backbone, settings.backbone
    document = documents.get("document_length") or model.get("document_length") or max_length(documents)
    own = max_length(backbone)
    query = backbone.get("query_length") or model.get("query_length")
    if (expansion := _expansion(settings)) is not None:
        if expansion.get("strategy") == "fixed":
            return expansion.get("length"), document
        return max(query, expansion.get("length", 0)) if query else own, document  # "min" is a floor, not a limit
    if _PYLATE_KEYS & model.keys() and model.get("do_query_expansion") is not False:
        return model.get("query_length") or _COLBERT_QUERY_LENGTH, document
    return query or own, document


def expansion_floor(settings: FolderSettings) -> int:
    """Returns the number of tokens that a late-interaction model fills queries up to; 0 if it is their maximum too."""
    expansion = _expansion(settings) or {}
    return expansion.get("length", 0) if expansion.get("strategy") == "min" else 0


def expands_to_length(settings: FolderSettings) -> bool:
    """Returns True if a late-interaction model fills queries up to their maximum length."""
    model = settings.model
    if (expansion := _expansion(settings)) is not None:
        return expansion.get("strategy") == "fixed"
    return bool(_PYLATE_KEYS & model.keys()) and model.get("do_query_expansion") is not False


def _expansion(settings: FolderSettings) -> dict[str, Any] | None:
    """Returns the settings of query expansion, empty if it is off; None where there are none."""
    backbone, model = settings.queries.backbone, settings.model
    if "query_expansion" not in backbone and "query_expansion" not in model:
        return None
    return backbone.get("query_expansion", model.get("query_expansion")) or {}


def stanford_dim(settings: FolderSettings) -> Any:
    """Returns the size in ``artifact.metadata``; ColBERT's 128 if there is none."""
    return settings.metadata.get("dim") or 128


def stanford_prompts(settings: FolderSettings) -> tuple[str, str]:
    """Returns Stanford ColBERT's markers, saved as tokens, as text."""
    query = settings.metadata.get("query_token_id") or "[unused0]"
    document = settings.metadata.get("doc_token_id") or "[unused1]"
    return query + " ", document + " "


def stanford_lengths(settings: FolderSettings) -> Lengths:
    """Returns the lengths in ``artifact.metadata``, unless sentence-transformers' settings override them."""
    model, backbone, metadata = settings.model, settings.backbone, settings.metadata
    if "query_expansion" in backbone or "query_expansion" in model:
        query, document = late_interaction_lengths(settings)
    else:
        query, document = metadata.get("query_maxlen") or _COLBERT_QUERY_LENGTH, max_length(backbone)
    saved = backbone.get("document_length") or model.get("document_length")
    return query, saved or metadata.get("doc_maxlen") or document


def stanford_fills(settings: FolderSettings) -> bool:
    """Returns True unless sentence-transformers' settings say that queries are not filled up to their length."""
    return _expansion(settings) is None or expands_to_length(settings)


DENSE = Reader(dim=partial(pipeline_dim, backbone_key="hidden_size"), prompts=saved_prompts, lengths=own_lengths)
SPARSE = replace(DENSE, dim=partial(pipeline_dim, backbone_key="vocab_size"), similarity="dot")
MODEL2VEC = replace(DENSE, dim=lambda _: None, lengths=model2vec_lengths)
LATE_INTERACTION = replace(
    DENSE,
    dim=token_dim,
    lengths=late_interaction_lengths,
    least_query_length=expansion_floor,
    fills_queries=expands_to_length,
    has_head=has_projection,
    marks=pylate_marks,
    unit_vectors=True,
)
STANFORD = replace(
    LATE_INTERACTION,
    dim=stanford_dim,
    prompts=stanford_prompts,
    lengths=stanford_lengths,
    fills_queries=stanford_fills,
    has_head=lambda _: True,  # the projection is among the weights of HF_ColBERT
    marks=lambda _: None,
)
FAMILY_READERS: dict[Family, Reader] = {"dense": DENSE, "sparse": SPARSE, "late_interaction": LATE_INTERACTION}
"""The reader of each family, for layouts that differ in nothing else and for folders of no known layout."""
HEAD_READERS: dict[Family, Reader] = {
    family: replace(
        DENSE,
        dim=partial(linear_dim, family),
        unit_vectors=family == "late_interaction",
        similarity="dot" if family == "sparse" else "cosine",
        head=name,
    )
    for family, name in HEAD_FILES.items()
}
"""Readers of models that are a head on the backbone of a dense one."""
