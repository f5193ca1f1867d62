"""Facts about published models, one row per model, each with its source.

Rows are used for three things only: the prompts of a checkpoint that has none of its own, the Matryoshka heads
that a checkpoint must have, and the text of errors and tables. Everything else is read from the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["dense", "sparse", "late_interaction"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Facts about a published model.

    Attributes:
        name: Hub id, or the name of a bundled model.
        family: Its encoder family.
        dim: Size of its vectors: per text, per token, or of the vocabulary.
        dims: Dimensions of its Matryoshka heads, ascending; empty if it has none.
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every document.
        max_length: Longest document, in tokens.
        base: The checkpoint it was trained from.
        licence: SPDX id, or "unknown".
        source: Where these facts come from.
    """

    name: str
    family: Family
    dim: int
    dims: tuple[int, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""
    max_length: int
    base: str
    licence: str
    source: str


def _hub(name: str) -> str:
    return f"https://huggingface.co/{name}"


_A_X = "skt/A.X-Encoder-base"
_ROWS = (
    Preset(
        name="dragonkue/colbert-ko-0.1b", family="late_interaction", dim=128, dims=(32, 64, 96, 128),
        query_prompt="[Q] ", document_prompt="[D] ", max_length=2048, base=_A_X, licence="Apache-2.0",
        source=_hub("dragonkue/colbert-ko-0.1b"),
    ),
    Preset(
        name="dragonkue/BGE-m3-ko", family="dense", dim=1024, max_length=8192, base="BAAI/bge-m3",
        licence="Apache-2.0", source=_hub("dragonkue/BGE-m3-ko"),
    ),
    Preset(
        name="yjoonjang/splade-ko-v1", family="sparse", dim=50_000, max_length=8192, base=_A_X,
        licence="Apache-2.0", source=_hub("yjoonjang/splade-ko-v1"),
    ),
    Preset(
        name="nlpai-lab/KoE5", family="dense", dim=1024, query_prompt="query: ", document_prompt="passage: ",
        max_length=512, base="intfloat/multilingual-e5-large", licence="MIT", source=_hub("nlpai-lab/KoE5"),
    ),
    Preset(
        name="dragonkue/snowflake-arctic-embed-l-v2.0-ko", family="dense", dim=1024, query_prompt="query: ",
        max_length=8192, base="Snowflake/snowflake-arctic-embed-l-v2.0", licence="Apache-2.0",
        source=_hub("dragonkue/snowflake-arctic-embed-l-v2.0-ko"),
    ),
    Preset(
        name="mini-colbert", family="late_interaction", dim=128, dims=(32, 64, 96, 128), query_prompt="[Q] ",
        document_prompt="[D] ", max_length=512, base="trained for KoRAG from scratch", licence="Apache-2.0",
        source="core/korag/checkpoints/bundled/mini-colbert/README.md",
    ),
    Preset(
        name="mini-dense", family="dense", dim=192, query_prompt="[Q] ", document_prompt="[D] ",
        max_length=512, base="trained for KoRAG from scratch", licence="Apache-2.0",
        source="core/korag/checkpoints/bundled/mini-dense/README.md",
    ),
    Preset(
        name="mini-splade", family="sparse", dim=12_288, query_prompt="[Q] ", document_prompt="[D] ",
        max_length=512, base="trained for KoRAG from scratch", licence="Apache-2.0",
        source="core/korag/checkpoints/bundled/mini-splade/README.md",
    ),
)  # fmt: skip

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ROWS}
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
