"""sentence-transformers 6.2 and later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

__all__ = [
    "CrossEncoder", "Dense", "MultiVectorEncoder", "Normalize", "Pooling", "SentenceTransformer", "SparseEncoder",
    "StaticEmbedding", "adapter_backbone", "embedding_dimension", "is_backbone", "load_late_interaction", "load_table",
    "normalize_tokens", "project_tokens", "replace_backbone",
]  # fmt: skip


def load_late_interaction(folder: Path, marks: tuple[str, str], **arguments: Any) -> Any:
    """Loads a late-interaction model.

    Args:
        folder: The model's.
        marks: The prompts that it was saved with, whose tokens stay whole; this release reads them itself.
        arguments: Of all classes of models.
    """
    del marks
    return MultiVectorEncoder(str(folder), **arguments)


def load_table(folder: Path) -> StaticEmbedding:
    """Loads static embeddings from a folder of their own."""
    return StaticEmbedding.load(str(folder))


def adapter_backbone(
    base: Path, tokenizer: Path, settings: dict[str, Any], max_length: int | None, **arguments: Any
) -> Any:
    """Loads the backbone that an adapter is for.

    Args:
        base: Its folder.
        tokenizer: The folder of the adapter's tokenizer.
        settings: What the adapter has saved of its backbone's module.
        max_length: Longest text in tokens; None for the tokenizer's own.
        arguments: ``model_kwargs``, ``processor_kwargs``, ``config_kwargs``.
    """
    return Transformer(
        str(base),
        max_seq_length=max_length,
        query_length=settings.get("query_length"),
        document_length=settings.get("document_length"),
        do_lower_case=bool(settings.get("do_lower_case")),
        tokenizer_name_or_path=str(tokenizer),
        **arguments,
    )


def replace_backbone(transformer: Any, backbone: Any) -> None:
    """Puts another model of transformers into a module; it is read as ``auto_model``."""
    transformer.model = backbone


def is_backbone(module: Any) -> bool:
    """Returns True for a module that runs a model of transformers."""
    return isinstance(module, Transformer)


def embedding_dimension(module: Any) -> int:
    """Returns the size of the vectors that a module makes."""
    return int(module.get_embedding_dimension())


def project_tokens(weight: Any, bias: Any = None) -> Dense:
    """Returns a linear layer for token vectors.

    Args:
        weight: Shape: (outputs, inputs).
        bias: Shape: (outputs,).
    """
    outputs, inputs = weight.shape
    return Dense(
        inputs, outputs, bias=bias is not None, activation_function=None, init_weight=weight, init_bias=bias,
        module_input_name="token_embeddings",
    )  # fmt: skip


def normalize_tokens() -> Normalize:
    """Returns a module that scales token vectors to unit length."""
    return Normalize(module_input_name="token_embeddings")
