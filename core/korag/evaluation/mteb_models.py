"""The classes behind `korag.evaluation.as_mteb`; only this module imports mteb."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import scipy.sparse as sp
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.models.sentence_transformer_wrapper import MultiVectorSearchEncoderWrapper
from mteb.similarity_functions import max_sim, pairwise_max_sim
from mteb.types import Licenses, PromptType

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.files import model_files
from korag.checkpoints.presets import PRESETS, Family
from korag.checkpoints.weights import tensor_shapes
from korag.encoders.base import Encoder
from korag.encoders.pretrained import PretrainedEncoder

_TYPES: dict[Family, str] = {"dense": "dense", "sparse": "sparse", "late_interaction": "late-interaction"}
_TORCH = ["Sentence Transformers", "PyTorch"]
_FRAMEWORKS = {"torch": _TORCH, "sentence-transformers": _TORCH, "onnx": ["ONNX"], "openvino": ["OpenVINO"]}
_NAMES_OF_MODELS = {"model", "family", "revision", "adapter"}
_DOCUMENTS_AT_ONCE = 2_048
"""Token vectors take about a hundred times the memory of other vectors."""


def wrap(encoder: Encoder[Any]) -> Any:
    """Returns the model of mteb for an encoder of any family."""
    return {"dense": DenseModel, "sparse": SparseModel, "late_interaction": LateInteractionModel}[encoder.family](
        encoder
    )


class DenseModel(AbsEncoder):
    """A dense encoder for all tasks of mteb."""

    def __init__(self, encoder: Encoder[Any]) -> None:
        self.model = encoder
        self.mteb_model_meta = describe(encoder)

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: PromptType | None = None, **settings: Any) -> Any:
        """Encodes the texts of a data loader; see `mteb.models.models_protocols.EncoderProtocol`."""
        return _encode(self.model, inputs, prompt_type, settings)


class SparseModel(DenseModel):
    """A sparse encoder for all tasks of mteb."""

    def encode(
        self, inputs: Any, *, task_metadata: Any, prompt_type: PromptType | None = None, **settings: Any
    ) -> torch.Tensor:
        """Encodes the texts of a data loader; sparse tensors for searches, whose corpora are large."""
        rows = _encode(self.model, inputs, prompt_type, settings)
        is_search = task_metadata.simplified_task_type == "retrieval" and "Reranking" not in task_metadata.type
        return _sparse_tensor(rows) if is_search else torch.from_numpy(rows.toarray())

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Returns dot products. Shape: (n_embeddings1, n_embeddings2)."""
        scores = _sparse_rows(embeddings1) @ _sparse_rows(embeddings2).T
        return torch.from_numpy(scores.toarray())


class LateInteractionModel(MultiVectorSearchEncoderWrapper):
    """A late-interaction encoder for the retrieval and reranking tasks of mteb."""

    corpus_chunk_size = _DOCUMENTS_AT_ONCE

    def __init__(self, encoder: Encoder[Any]) -> None:
        self.model = encoder
        self.mteb_model_meta = describe(encoder)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns MaxSim scores. Shape: (n_embeddings1, n_embeddings2)."""
        return max_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns MaxSim scores of pairs. Shape: (n_embeddings,)."""
        return pairwise_max_sim(embeddings1, embeddings2)

    def _encode(
        self, inputs: Any, *, prompt_type: PromptType | None = None, **settings: Any
    ) -> list[np.ndarray[Any, Any]]:
        vectors: list[np.ndarray[Any, Any]] = _encode(self.model, inputs, prompt_type, settings)
        return vectors


def describe(encoder: Encoder[Any]) -> ModelMeta:
    """Returns what is known about an encoder; None for what is not.

    Settings other than the checkpoint's own are ``experiment_kwargs``, by which mteb keeps results apart. A model that
    is not from the Hub has its fingerprint as its revision.
    """
    preset = PRESETS.get(encoder.model_name)
    fingerprint = encoder.fingerprint
    known: dict[str, Any] = {
        "name": _name(encoder),
        "revision": fingerprint.revision or str(fingerprint),
        "model_type": [_TYPES[encoder.family]],
        "embed_dim": encoder.dim,
        "similarity_fn_name": _similarity(encoder),
        "max_tokens": fingerprint.document_length,
        "use_instructions": bool(fingerprint.query_prompt or fingerprint.document_prompt),
        "experiment_kwargs": _changed(encoder) or None,
    }
    if isinstance(encoder, PretrainedEncoder):
        known |= {"n_parameters": _parameters(encoder), "framework": _framework(encoder)}
    if preset is not None:
        licence = preset.licence.lower()
        known |= {
            "license": licence if licence in get_args(Licenses) else None,
            "open_weights": True,
            "adapted_from": preset.base if "/" in preset.base else None,
            "reference": preset.source if "://" in preset.source else None,
        }
    return ModelMeta.model_validate(ModelMeta.create_empty().model_dump() | known)


def _framework(encoder: PretrainedEncoder[Any]) -> list[str]:
    if encoder.options.backend != "auto":
        return _FRAMEWORKS[encoder.options.backend]
    runtime = encoder.runtime  # torch, as far as is known before the weights are loaded
    return _TORCH if runtime is None else _FRAMEWORKS[runtime.backend]


def _name(encoder: Encoder[Any]) -> str:
    """Returns a name with an organisation, which mteb demands; of a folder, only its own name."""
    name = encoder.model_name
    if name in shipped_models():
        return f"korag/{name}"
    return name if encoder.fingerprint.revision and "/" in name else f"local/{Path(name).name}"


def _similarity(encoder: Encoder[Any]) -> ScoringFunction:
    if encoder.family == "late_interaction":
        return ScoringFunction.MAX_SIM
    return ScoringFunction.DOT_PRODUCT if encoder.similarity == "dot" else ScoringFunction.COSINE


def _changed(encoder: Encoder[Any]) -> dict[str, Any]:
    """Returns the settings of an encoder that are not its checkpoint's own."""
    if not isinstance(encoder, PretrainedEncoder):
        return {}
    own = encoder.checkpoint
    saved = {
        "dim": own.dim,
        "query_prompt": own.query_prompt,
        "document_prompt": own.document_prompt,
        "max_length": own.document_length,
    }
    settings = encoder.load_arguments.items()
    changed = {name: value for name, value in settings if name not in _NAMES_OF_MODELS and saved.get(name) != value}
    preset = PRESETS.get(encoder.model_name)
    if preset is not None and preset.family != encoder.family:  # of a folder with several, such as BGE-M3's
        changed["family"] = encoder.family
    return changed


def _parameters(encoder: PretrainedEncoder[Any]) -> int | None:
    """Returns the number of parameters in the model's files; None if their headers do not tell."""
    files = [file for folder in encoder.weight_folders() for file in model_files(folder)]
    shapes = [shape for file in files if file.suffix == ".safetensors" for shape in tensor_shapes([file]).values()]
    return sum(int(np.prod(shape)) for shape in shapes) or None


def _encode(encoder: Encoder[Any], inputs: Any, prompt_type: PromptType | None, settings: dict[str, Any]) -> Any:
    texts = [text for batch in inputs for text in batch["text"]]
    encode = encoder.encode_documents if prompt_type == PromptType.document else encoder.encode_queries
    return encode(texts, show_progress=None if settings.get("show_progress_bar", True) else False)


def _sparse_tensor(rows: sp.csr_array) -> torch.Tensor:
    entries = rows.tocoo()
    indices = torch.from_numpy(np.vstack([entries.row, entries.col]).astype(np.int64))
    values = torch.from_numpy(entries.data)
    return torch.sparse_coo_tensor(indices, values, rows.shape, check_invariants=False, is_coalesced=True)


def _sparse_rows(vectors: Any) -> sp.csr_array:
    """Returns vectors for scipy, whose product of sparse matrices is finished, unlike that of torch."""
    tensor = torch.as_tensor(vectors)
    if not tensor.is_sparse:
        return sp.csr_array(np.atleast_2d(tensor.numpy()))
    tensor = tensor.coalesce()
    rows, columns = tensor.indices().numpy()
    return sp.csr_array((tensor.values().numpy(), (rows, columns)), shape=(len(tensor), tensor.shape[1]))
