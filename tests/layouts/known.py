"""The layouts of the models most used for Korean."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import torch
from safetensors.torch import load_file, save_file

from korag import load_encoder
from layouts import references
from layouts.case import LayoutCase, load_reranker
from layouts.saving import plain, random, save, transformer

HIDDEN = checkpoints.HIDDEN


QWEN3 = {"tie_word_embeddings": True, "num_key_value_heads": 2, "head_dim": 16}


def dense(folder: Path, *rest: Any, pooling: str = "mean", kind: str = "xlm-roberta", **settings: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with transformer(kind, config=QWEN3 if kind == "qwen3" else {}) as first:
        save(SentenceTransformer(modules=[first, Pooling(HIDDEN, pooling), *rest], device="cpu", **settings), folder)


def _cls(folder: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Normalize

    dense(folder, Normalize(), pooling="cls")


def _prompts(folder: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Normalize

    dense(folder, Normalize(), prompts={"query": "query: ", "document": "passage: "})


def projected(folder: Path) -> None:
    from sentence_transformers.base.modules import Dense

    weight, bias = random(16, HIDDEN), random(16, seed=2)
    dense(folder, Dense(HIDDEN, 16, init_weight=weight, init_bias=bias))


def _prefixed(prefix: str) -> Callable[[Path], None]:
    """Makes a model, keeps it beside the folder, and puts a prefix before the names of its tensors."""

    def build(folder: Path) -> None:
        dense(folder)
        shutil.copytree(folder, _unprefixed(folder))
        file = folder / "model.safetensors"
        save_file({prefix + name: one for name, one in load_file(file).items()}, file, metadata={"format": "pt"})

    return build


def _unprefixed(folder: Path) -> Path:
    return folder.with_name("as-saved")


def qwen3(folder: Path) -> None:
    """Qwen3-Embedding's layout: a causal backbone, the vector of the last token."""
    from sentence_transformers.sentence_transformer.modules import Normalize

    instruction = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    dense(folder, Normalize(), pooling="lasttoken", kind="qwen3", prompts={"query": instruction, "document": ""})


def _splade(folder: Path, *, used: bool = True) -> None:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoModelForMaskedLM

    with plain("modernbert", auto=AutoModelForMaskedLM) as backbone:
        first = Transformer(str(backbone), transformer_task="fill-mask")
        model = SparseEncoder(modules=[first, SpladePooling()], device="cpu")
        if used:
            model.encode(["한 번 쓴 다음 저장"])  # the pooling learns its size
        save(model, folder)


def _matryoshka(folder: Path) -> tuple[Any, Any]:
    """The package that trains such models replaces the projection's weight by the head in use."""
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    head = torch.load(folder / "matryoshka_heads.pt", weights_only=True)["projection_heads"]["16.weight"]
    model[1].linear.weight.data = head
    return references.encoded(model)


def _lora(folder: Path) -> tuple[Any, Any]:
    """peft's own way: the base with the adapter on it, not merged."""
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer

    base = checkpoints.lora_base(folder)
    model = SentenceTransformer(str(base), device="cpu", local_files_only=True, prompts=_saved_prompts(folder))
    model[0].model = PeftModel.from_pretrained(model[0].model, str(folder)).eval()
    return references.encoded(model)


def _saved_prompts(folder: Path) -> dict[str, str]:
    path = folder / "config_sentence_transformers.json"
    return dict(json.loads(path.read_text())["prompts"]) if path.exists() else {}


CASES = [
    LayoutCase(name="sentence-transformers, CLS pooling, normalised", build=_cls, reference=references.dense),
    LayoutCase(name="sentence-transformers, mean pooling", build=dense, reference=references.dense),
    LayoutCase(name="sentence-transformers with prompts", build=_prompts, reference=references.dense),
    LayoutCase(name="sentence-transformers with a Dense module", build=projected, reference=references.dense),
    LayoutCase(
        name="sentence-transformers, last token of a causal backbone",
        build=qwen3,
        reference=references.dense,
        note="Qwen3-Embedding",
    ),
    *(
        LayoutCase(
            name=f"names of weights that begin with `{prefix}`",
            build=_prefixed(prefix),
            reference=lambda folder: references.dense(_unprefixed(folder)),
        )
        for prefix in ("_orig_mod.", "module.", "0.auto_model.", "model.", "module._orig_mod.")
    ),
    LayoutCase(name="sentence-transformers with a PEFT adapter", build=checkpoints.lora, reference=_lora),
    LayoutCase(name="PEFT adapter alone", build=checkpoints.bare_lora, reference=_lora),
    LayoutCase(name="SparseEncoder, SPLADE", build=_splade, reference=references.sparse),
    LayoutCase(
        name="SparseEncoder, SPLADE, saved before its first use",
        build=lambda folder: _splade(folder, used=False),
        reference=references.sparse,
    ),
    LayoutCase(
        name="SparseEncoder, sparse autoencoder", build=checkpoints.sparse_autoencoder, reference=references.sparse
    ),
    LayoutCase(name="MultiVectorEncoder", build=checkpoints.native, reference=references.multi_vector),
    LayoutCase(name="PyLate", build=checkpoints.pylate, reference=references.multi_vector),
    LayoutCase(
        name="PyLate with a residual head of three layers",
        build=checkpoints.residual,
        reference=references.multi_vector,
        note="KURE-v2",
    ),
    LayoutCase(name="Stanford ColBERT", build=checkpoints.stanford, reference=references.multi_vector),
    LayoutCase(
        name="Matryoshka heads beside a PyLate model",
        build=checkpoints.matryoshka,
        reference=_matryoshka,
        load=lambda folder: load_encoder(folder, dim=16, device="cpu", dtype="float32"),
        note="colbert-ko-0.1b",
    ),
    LayoutCase(
        name="sequence classification of transformers",
        build=checkpoints.cross_encoder,
        reference=references.cross_encoder,
        load=load_reranker,
        note="bge-reranker-v2-m3-ko",
    ),
    LayoutCase(
        name="CrossEncoder, saved with modules",
        build=checkpoints.saved_cross_encoder,
        reference=references.cross_encoder,
        load=load_reranker,
    ),
]
