"""Routers, static embeddings, and modules that come with a checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import torch
from checkpoints import HIDDEN, edit_json, write_json

from korag import load_encoder
from korag.errors import CheckpointError
from layouts import references
from layouts.case import DOCUMENTS, QUERIES, LayoutCase, RefusalCase
from layouts.saving import plain, random, save, transformer


def inference_free(folder: Path) -> None:
    """yjoonjang/inference-free-splade-ko-v1's layout: queries by a table of token weights, documents by SPLADE."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
    from transformers import AutoModelForMaskedLM

    with plain("modernbert", auto=AutoModelForMaskedLM) as backbone:
        documents = Transformer(str(backbone), transformer_task="fill-mask")
        words = documents.tokenizer
        queries = SparseStaticEmbedding(words, weight=random(len(words)).abs(), frozen=True)
        router = Router.for_query_document([queries], [documents, SpladePooling(activation_function="log1p_relu")])
        model = SparseEncoder(modules=[router], device="cpu", similarity_fn_name="dot")
        model.encode_document(["한 번 쓴 다음 저장"])  # the pooling learns its size
        save(model, folder)


def opensearch(folder: Path) -> None:
    """The layout of opensearch-neural-sparse-encoding-multilingual-v1 and its relatives.

    The document model lies in the root, where it was before sentence-transformers was supported; modules have the names
    of sentence-transformers 5; ``idf.json`` has the weights of queries once more, for other programs.
    """
    inference_free(folder)
    for path in (folder / "document_0_Transformer").iterdir():
        shutil.move(path, folder / path.name)
    (folder / "document_0_Transformer").rmdir()
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    models = "sentence_transformers.sparse_encoder.models."
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}]
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "router_config.json",
        {
            "types": {
                "query_0_SparseStaticEmbedding": models + "SparseStaticEmbedding.SparseStaticEmbedding",
                "": models + "MLMTransformer.MLMTransformer",
                "document_1_SpladePooling": models + "SpladePooling.SpladePooling",
            },
            "structure": {
                "query": ["query_0_SparseStaticEmbedding"],
                "document": ["", "document_1_SpladePooling"],
            },
            "parameters": {"default_route": "document", "allow_empty_key": True},
        },
    )
    write_json(
        folder / "document_1_SpladePooling/config.json",
        {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": None},
    )
    write_json(folder / "idf.json", {"보증금": 5.25, "도서관": 4.5, "[UNK]": 0.0})


def two_splade(folder: Path) -> None:
    """naver's efficient SPLADE as a Router: one SPLADE model for queries, another one for documents."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoModelForMaskedLM

    with (
        plain("modernbert", auto=AutoModelForMaskedLM) as small,
        plain("bert", auto=AutoModelForMaskedLM) as large,
    ):
        sides = [[Transformer(str(place), transformer_task="fill-mask"), SpladePooling()] for place in (small, large)]
        model = SparseEncoder(modules=[Router.for_query_document(*sides)], device="cpu")
        for encode in (model.encode_query, model.encode_document):
            encode(["한 번 쓴 다음 저장"])
        save(model, folder)


def two_encoders(folder: Path) -> None:
    """A dense Router with different backbones, pooling and lengths for queries and documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Router
    from sentence_transformers.sentence_transformer.modules import Pooling

    with transformer("bert", max_seq_length=32) as queries, transformer(max_seq_length=200) as documents:
        router = Router.for_query_document([queries, Pooling(HIDDEN, "cls")], [documents, Pooling(HIDDEN, "mean")])
        prompts = {"query": "질의: ", "document": "문서: "}
        save(SentenceTransformer(modules=[router, Normalize()], device="cpu", prompts=prompts), folder)


def late_interaction(folder: Path) -> None:
    """A late-interaction model with different backbones, projections and lengths for queries and documents."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Router
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    heads = _projections(bias=False, activation_function=None, module_input_name="token_embeddings")
    with transformer("bert", query_length=24) as queries, transformer(document_length=40) as documents:
        router = Router.for_query_document([queries, heads[0]], [documents, heads[1]])
        modules = [router, MultiVectorMask(), Normalize("token_embeddings")]
        save(MultiVectorEncoder(modules=modules, device="cpu"), folder)


def _projections(**settings: Any) -> list[Any]:
    from sentence_transformers.base.modules import Dense

    return [Dense(HIDDEN, 16, init_weight=random(16, HIDDEN, seed=seed), **settings) for seed in (1, 2)]


def shared_backbone(folder: Path) -> None:
    """A Router whose two routes begin with one and the same backbone."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Pooling

    queries, documents = _projections()
    with transformer() as first:
        pooling = Pooling(HIDDEN, "mean")
        router = Router.for_query_document([first, pooling, queries], [first, pooling, documents])
        save(SentenceTransformer(modules=[router], device="cpu"), folder)


def later_router(folder: Path) -> None:
    """A Router at the end: one backbone, then a Dense for queries and one for documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Pooling

    queries, documents = _projections()
    with transformer() as first:
        router = Router.for_query_document([queries], [documents])
        save(SentenceTransformer(modules=[first, Pooling(HIDDEN, "mean"), router], device="cpu"), folder)


def old_router(folder: Path) -> None:
    """``Asym``, the Router of sentence-transformers before 5.0, which kept its settings in ``config.json``."""
    later_router(folder)
    place = folder / "2_Router"
    settings = json.loads((place / "router_config.json").read_text(encoding="utf-8"))
    settings["types"] = dict.fromkeys(settings["types"], "sentence_transformers.models.Dense")
    write_json(place / "config.json", settings | {"parameters": {"allow_empty_key": True}})
    (place / "router_config.json").unlink()
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[2]["type"] = "sentence_transformers.models.Asym"
    write_json(folder / "modules.json", modules)


def mapped_router(folder: Path) -> None:
    """A Router whose routes have other names, which ``route_mappings`` assigns."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Pooling

    questions, passages = _projections()
    with transformer() as first:
        router = Router(
            {"질문": [questions], "passage": [passages]},
            route_mappings={("query", "text"): "질문", (None, "text"): "passage"},
        )
        save(SentenceTransformer(modules=[first, Pooling(HIDDEN, "mean"), router], device="cpu"), folder)


def static(folder: Path, *rest: Any) -> None:
    """Static embeddings as sentence-transformers saves them."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    words = checkpoints.tokenizer()
    table = StaticEmbedding(words, embedding_weights=random(len(words), 24))
    save(SentenceTransformer(modules=[table, *rest], device="cpu"), folder)


def _static_normalized(folder: Path) -> None:
    from sentence_transformers.base.modules import Normalize

    static(folder, Normalize())


def static_subfolder(folder: Path) -> None:
    """static-retrieval-mrl-en-v1's layout: the table in ``0_StaticEmbedding``."""
    static(folder)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / "0_StaticEmbedding").mkdir(exist_ok=True)
        shutil.move(folder / name, folder / "0_StaticEmbedding" / name)
    kind = "sentence_transformers.models.StaticEmbedding"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "0_StaticEmbedding", "type": kind}])
    (folder / "config_sentence_transformers.json").unlink()


def static_queries(folder: Path) -> None:
    """Queries by a static embedding, documents by a transformer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Router
    from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

    words = checkpoints.tokenizer()
    with transformer() as documents:
        table = StaticEmbedding(words, embedding_weights=random(len(words), HIDDEN))
        router = Router.for_query_document([table], [documents, Pooling(HIDDEN, "mean")])
        save(SentenceTransformer(modules=[router, Normalize()], device="cpu"), folder)


def model2vec(folder: Path) -> None:
    """model2vec's own save: fewer vectors than tokens, which a mapping and weights of tokens make up for."""
    from model2vec import StaticModel

    tokenizer = checkpoints.tokenizer().backend_tokenizer
    count, rows = tokenizer.get_vocab_size(), 500
    StaticModel(
        random(rows, 24).numpy().astype(np.float32),
        tokenizer,
        normalize=True,
        weights=random(count, seed=3).abs().numpy(),
        token_mapping=(np.arange(count) * 7) % rows,
        config={
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "tokenizer_name": "BAAI/bge-m3",
            "apply_pca": 24,
            "sif_coefficient": 0.0001,
            "hidden_dim": 24,
            "seq_length": 1_000_000,
            "normalize": True,
        },
    ).save_pretrained(folder)


def model2vec_alone(folder: Path) -> None:
    """The same as older versions saved it: without ``modules.json``, no kind of model and no length in its settings."""
    model2vec(folder)
    (folder / "modules.json").unlink()
    edit_json(folder / "config.json", model_type=None, architectures=None, max_length=None, embedding_dtype=None)
    edit_json(folder / "tokenizer.json", truncation=None)


def _model2vec(folder: Path) -> tuple[Any, Any]:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder)
    return model.encode(QUERIES), model.encode(DOCUMENTS)


BACKBONE = """
from transformers import BertConfig, BertForMaskedLM


class OwnConfig(BertConfig):
    model_type = "own"


class OwnForMaskedLM(BertForMaskedLM):
    config_class = OwnConfig

    def forward(self, *inputs, **settings):
        output = super().forward(*inputs, **settings)
        output.logits = output.logits * 2
        return output
"""
POOLING = '''
from sentence_transformers.sparse_encoder.modules import SpladePooling


class TwoViews(SpladePooling):
    """Weights of half the terms, and of their neighbours once more: not as many as the vocabulary has."""

    def forward(self, features):
        features = super().forward(features)
        weights = features["sentence_embedding"]
        features["sentence_embedding"] = __import__("torch").cat([weights[:, ::2], weights[:, :9] * 2], 1)
        return features
'''


def own_pooling(folder: Path) -> None:
    """A sparse model with a pooling of its own, in a Python file beside it."""
    checkpoints.splade(folder)
    (folder / "modeling_views.py").write_text(POOLING, encoding="utf-8")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[1]["type"] = "modeling_views.TwoViews"
    write_json(folder / "modules.json", modules)


def own_backbone(folder: Path) -> None:
    """The same with a backbone of its own as well."""
    from transformers import AutoModelForMaskedLM

    with plain("bert", auto=AutoModelForMaskedLM) as backbone:
        shutil.copytree(backbone, folder)
    (folder / "modeling_own.py").write_text(BACKBONE, encoding="utf-8")
    auto = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForMaskedLM": "modeling_own.OwnForMaskedLM"}
    edit_json(folder / "config.json", model_type="own", architectures=["OwnForMaskedLM"], auto_map=auto)
    (folder / "modeling_views.py").write_text(POOLING, encoding="utf-8")
    kinds = {"": "sentence_transformers.sparse_encoder.models.MLMTransformer", "1_TwoViews": "modeling_views.TwoViews"}
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(kinds.items())]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_TwoViews/config.json", {"pooling_strategy": "max"})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    settings = {"model_type": "SparseEncoder", "prompts": {"query": "", "document": ""}, "similarity_fn_name": "dot"}
    write_json(folder / "config_sentence_transformers.json", settings)


def load_trusted(folder: Path) -> Any:
    return load_encoder(folder, device="cpu", dtype="float32", trust_remote_code=True)


def _trusted(folder: Path) -> tuple[Any, Any]:
    return references.sparse(folder, trust_remote_code=True)


def without_side(folder: Path, side: str) -> None:
    """A Router that has lost one of its routes."""
    inference_free(folder)
    structure = json.loads((folder / "router_config.json").read_text(encoding="utf-8"))["structure"]
    edit_json(folder / "router_config.json", structure={key: value for key, value in structure.items() if key != side})


def table_elsewhere(folder: Path) -> None:
    """Weights of queries that are looked for in the working directory."""
    inference_free(folder)
    write_json(folder / "query_0_SparseStaticEmbedding/config.json", {"frozen": True, "path": "idf.json"})


def uneven(folder: Path) -> None:
    """Queries and documents with vectors of different sizes."""
    later_router(folder)
    weight = {"linear.weight": random(12, HIDDEN), "linear.bias": torch.zeros(12)}
    edit_json(folder / "2_Router/query_0_Dense/config.json", out_features=12)
    from safetensors.torch import save_file

    save_file(weight, folder / "2_Router/query_0_Dense/model.safetensors")


CASES = [
    LayoutCase(
        name="Router: queries by a table, documents by SPLADE",
        build=inference_free,
        reference=references.sparse,
        note="yjoonjang/inference-free-splade-ko-v1",
    ),
    LayoutCase(
        name="Router: the same, documents' model in the root",
        build=opensearch,
        reference=references.sparse,
        note="opensearch multilingual-v1",
    ),
    LayoutCase(name="Router: two SPLADE models", build=two_splade, reference=references.sparse),
    LayoutCase(name="Router: two dense encoders", build=two_encoders, reference=references.dense),
    LayoutCase(name="Router: two late-interaction encoders", build=late_interaction, reference=references.multi_vector),
    LayoutCase(name="Router: one backbone in both routes", build=shared_backbone, reference=references.dense),
    LayoutCase(name="Router as the last module", build=later_router, reference=references.dense),
    LayoutCase(name="Router of sentence-transformers 4 (Asym)", build=old_router, reference=references.dense),
    LayoutCase(name="Router with route_mappings", build=mapped_router, reference=references.dense),
    LayoutCase(
        name="Router: queries by static embeddings, documents by a transformer",
        build=static_queries,
        reference=references.dense,
    ),
    LayoutCase(name="StaticEmbedding", build=static, reference=references.dense),
    LayoutCase(name="StaticEmbedding, normalised", build=_static_normalized, reference=references.dense),
    LayoutCase(name="StaticEmbedding in a folder of its own", build=static_subfolder, reference=references.dense),
    LayoutCase(name="model2vec", build=model2vec, reference=references.dense),
    LayoutCase(name="model2vec without modules.json", build=model2vec_alone, reference=_model2vec),
    LayoutCase(
        name="SparseEncoder with a pooling of its own",
        build=own_pooling,
        reference=_trusted,
        load=load_trusted,
        note="`trust_remote_code=True`",
    ),
    LayoutCase(
        name="SparseEncoder with a backbone and a pooling of its own",
        build=own_backbone,
        reference=_trusted,
        load=load_trusted,
        note="`trust_remote_code=True`; KURE-Sparse-base",
    ),
]
REFUSALS = [
    RefusalCase(
        name="a Router without a document side",
        build=lambda folder: without_side(folder, "document"),
        error=CheckpointError,
    ),
    RefusalCase(
        name="a Router without a query side", build=lambda folder: without_side(folder, "query"), error=CheckpointError
    ),
    RefusalCase(
        name="a Router whose queries and documents differ in size",
        build=uneven,
        error=CheckpointError,
        use=lambda folder: load_encoder(folder).encode_queries(QUERIES),
    ),
    RefusalCase(name="weights of queries outside the folder", build=table_elsewhere, error=CheckpointError),
    RefusalCase(name="a module of its own, without trust_remote_code=True", build=own_pooling, error=CheckpointError),
]
