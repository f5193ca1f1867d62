"""Prompts under the names that models use, poolings of bare folders, and vectors of another size."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints

from korag import load_encoder
from korag.errors import CheckpointError, InvalidArgumentError, UnknownDimError
from layouts import references
from layouts.case import DOCUMENTS, QUERIES, LayoutCase, RefusalCase
from layouts.saving import save, transformer

HIDDEN = checkpoints.HIDDEN
INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
_SMALL = {"device": "cpu", "dtype": "float32"}


def _saved(**settings: Any) -> Callable[[Path], None]:
    """A normalised dense model with mean pooling, saved with settings of `SentenceTransformer`."""

    def build(folder: Path) -> None:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

        with transformer() as first:
            modules = [first, Pooling(HIDDEN, "mean"), Normalize()]
            save(SentenceTransformer(modules=modules, device="cpu", **settings), folder)

    return build


def _named(query: str, document: str = "") -> Callable[[Path], tuple[Any, Any]]:
    """The reference's vectors with the prompts of two names; an empty name is no prompt."""

    def encode(folder: Path) -> tuple[Any, Any]:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        return (
            [model.encode(text, prompt_name=query) for text in QUERIES],
            [model.encode(text, **({"prompt_name": document} if document else {"prompt": ""})) for text in DOCUMENTS],
        )

    return encode


def _truncated(folder: Path) -> tuple[Any, Any]:
    """A model of full size cut by the reference, with its keyword that scales the rest to unit length."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    cut = {"truncate_dim": 8, "normalize_embeddings": True}
    return [model.encode_query(text, **cut) for text in QUERIES], [
        model.encode_document(text, **cut) for text in DOCUMENTS
    ]


def _active_dims(folder: Path) -> None:
    from sentence_transformers import SparseEncoder

    plain = folder / "plain"
    checkpoints.splade(plain)
    save(SparseEncoder(str(plain), device="cpu", local_files_only=True, max_active_dims=5), folder)
    shutil.rmtree(plain)


def _pooled(mode: str) -> Callable[[Path], tuple[Any, Any]]:
    def encode(folder: Path) -> tuple[Any, Any]:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        modules = [Transformer(str(folder)), Pooling(HIDDEN, mode)]
        return references.encoded(SentenceTransformer(modules=modules, device="cpu"))

    return encode


def _bare_adapter(folder: Path) -> None:
    checkpoints.bare_lora(folder)
    base = checkpoints.lora_base(folder)
    (base / "modules.json").unlink()
    shutil.rmtree(base / "1_Pooling")


CASES = [
    LayoutCase(
        name="prompts named `retrieval.query`, `retrieval.passage`",
        build=_saved(prompts={"retrieval.query": "찾을 질의: ", "retrieval.passage": "찾을 글: "}),
        reference=_named("retrieval.query", "retrieval.passage"),
        note="Jina",
    ),
    LayoutCase(
        name="prompts named `search_query`, `search_document`",
        build=_saved(prompts={"search_query": "search_query: ", "search_document": "search_document: "}),
        reference=_named("search_query", "search_document"),
        note="Nomic, FRIDA",
    ),
    LayoutCase(
        name="prompt named `s2p_query`",
        build=_saved(prompts={"s2p_query": INSTRUCT, "s2s_query": "Instruct: 비슷한 글\nQuery: "}),
        reference=_named("s2p_query"),
        note="Stella",
    ),
    LayoutCase(
        name="prompt named `web_search_query`",
        build=_saved(prompts={"web_search_query": INSTRUCT, "sts_query": "Instruct: 비슷한 글\nQuery: "}),
        reference=_named("web_search_query"),
        note="Harrier",
    ),
    LayoutCase(
        name="prompts named `query`, `passage`",
        build=_saved(prompts={"query": "query: ", "passage": "passage: "}),
        reference=_named("query", "passage"),
        note="KoE5; sentence-transformers 6.2 puts no prompt before documents, unless asked by name",
    ),
    LayoutCase(
        name="`default_prompt_name`",
        build=_saved(prompts={"query": "질의: ", "모두": "글: "}, default_prompt_name="모두"),
        reference=references.dense,
        note="for neither queries nor documents",
    ),
    LayoutCase(
        name="sentence-transformers with `truncate_dim`",
        build=_saved(truncate_dim=8),
        reference=references.dense,
        note="not of unit length, as in sentence-transformers",
    ),
    LayoutCase(
        name="dense model with `dim=`",
        build=_saved(),
        reference=_truncated,
        load=lambda folder: load_encoder(folder, dim=8, **_SMALL),
        note="scaled to unit length",
    ),
    LayoutCase(name="SparseEncoder with `max_active_dims`", build=_active_dims, reference=references.sparse),
    *(
        LayoutCase(
            name=f'bare backbone with `pooling="{mode}"`',
            build=checkpoints.bare_bert,
            reference=_pooled(mode),
            load=lambda folder, mode=mode: load_encoder(folder, family="dense", pooling=mode, **_SMALL),
        )
        for mode in ("cls", "mean", "max", "lasttoken")
    ),
    LayoutCase(
        name="bare backbone without `pooling=`",
        build=checkpoints.bare_bert,
        reference=references.dense,
        load=lambda folder: load_encoder(folder, family="dense", **_SMALL),
        note="with a warning",
    ),
]

REFUSALS = [
    RefusalCase(
        name="a `dim` larger than a dense model's",
        build=checkpoints.dense,
        error=UnknownDimError,
        use=lambda folder: load_encoder(folder, dim=HIDDEN + 1),
    ),
    RefusalCase(
        name="`pooling=` for a model that says its own",
        build=checkpoints.dense,
        error=InvalidArgumentError,
        use=lambda folder: load_encoder(folder, pooling="cls"),
    ),
    RefusalCase(name="an adapter of a bare backbone, without `pooling=`", build=_bare_adapter, error=CheckpointError),
]
