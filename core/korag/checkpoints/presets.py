"""The known models by name, and the default models.

A row is used for three things only: the prompts of a checkpoint that has none of its own, the Matryoshka heads that a
checkpoint must have, and the text of errors and tables. Everything else is read from the checkpoint. Cross-encoders
have neither prompts nor heads, so their rows only appear in tables.
"""

from __future__ import annotations

from korag.checkpoints.preset import Benchmark, Family, Figure, ModelFamily, Preset
from korag.checkpoints.preset_rows import ROWS

__all__ = [
    "DEFAULT_COLBERT",
    "DEFAULT_CROSS_ENCODER",
    "DEFAULT_DENSE",
    "DEFAULT_SPLADE",
    "LEGAL_DOCUMENT_PROMPT",
    "LEGAL_QUERY_PROMPT",
    "PRESETS",
    "Benchmark",
    "Family",
    "Figure",
    "ModelFamily",
    "Preset",
]

PRESETS: dict[str, Preset] = {preset.name: preset for preset in ROWS}
"""Every known model by name."""

DEFAULT_COLBERT = "dragonkue/colbert-ko-0.1b"
DEFAULT_SPLADE = "yjoonjang/splade-ko-v1"
DEFAULT_DENSE = "dragonkue/BGE-m3-ko"
DEFAULT_CROSS_ENCODER = "dragonkue/bge-reranker-v2-m3-ko"
"""Default models of the framework classes."""

LEGAL_QUERY_PROMPT = "Represent this sentence for searching relevant passages: "
LEGAL_DOCUMENT_PROMPT = "Represent this sentence for retrieving relevant passages: "
"""The prompts of the legal LoRA model on ``jhgan/ko-sroberta-multitask`` (its model card). The card names no
Hub id, so there is no row for it. Pass the adapter's folder to `korag.load_encoder`, and these two as
``query_prompt`` and ``document_prompt`` if the folder does not contain them."""
