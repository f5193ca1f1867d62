"""Sparse and late-interaction models made of a dense model's backbone and one of BGE-M3's heads.

The formulas are those of FlagEmbedding's ``EncoderOnlyEmbedderM3Model``, for inference.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from korag.checkpoints.checkpoint import Checkpoint, read_checkpoint
from korag.checkpoints.linear_heads import read_linear_head
from korag.encoders.automatic import too_far
from korag.encoders.dense import DenseEncoder
from korag.encoders.precision import MIN_COSINE, Deviation, probe
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.shared import Loaded
from korag.logs import logger

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def load_with_head(encoder: PretrainedEncoder[Any]) -> Loaded:
    """Loads a model on the backbone of the dense model in its folder, which is loaded once for all families.

    With ``dtype="auto"``, the backbone computes in 16 bits only if that preserves the vectors of this family too.

    Args:
        encoder: Whose model it is; its checkpoint has a `head`.
    """
    return _load_on(_dense(encoder), encoder.checkpoint, encoder.weights_folder())


def _dense(encoder: PretrainedEncoder[Any]) -> DenseEncoder:
    """Returns an encoder of the dense model, with the same settings."""
    found = read_checkpoint(encoder.checkpoint.source, family="dense")
    dense = DenseEncoder(
        found,
        dim=found.dim,
        query_prompt="",
        document_prompt="",
        max_length=encoder.max_length,
        query_length=encoder.load_arguments.get("query_length"),
        options=encoder.options,
        pooling="cls" if found.bare_pooling else None,  # as of the dense vectors that the heads were trained with
    )
    dense.use_folder(encoder.weights_folder())
    return dense


def _load_on(dense: DenseEncoder, checkpoint: Checkpoint, folder: Path) -> Loaded:
    backbone = dense.shared()
    model = _on_backbone(backbone.model, checkpoint, folder)
    with backbone.tokenizer_lock:  # others may be encoding with the same tokenizer
        found = probe(model)
    runtime = backbone.runtime
    assert runtime is not None  # noqa: S101 (it is loaded; for the type checker)
    if runtime.deviation is not None:
        exact = _on_backbone(dense.with_options(device="cpu", backend="torch").load_copy().eval(), checkpoint, folder)
        deviation = Deviation.between(probe(exact), found)
        if dense.options.dtype == "auto" and deviation.least < MIN_COSINE:
            if dense.options.backend != "auto" or runtime.backend == "torch":
                loaded, reason = _load_on(dense.with_options(dtype="float32"), checkpoint, folder), runtime.reason
            else:
                reason = too_far(deviation)
                logger.info("%s: backend='auto': torch, float32; %s", dense.model_name, reason)
                loaded = _load_on(dense.with_options(dtype="float32", backend="torch"), checkpoint, folder)
            return loaded._replace(runtime=dataclasses.replace(loaded.runtime, reason=reason))
        runtime = dataclasses.replace(runtime, deviation=deviation)
    return Loaded(model, runtime, backbone)


def _on_backbone(dense: Any, checkpoint: Checkpoint, folder: Path) -> Any:
    from korag.encoders.releases import (
        MultiVectorEncoder,
        SparseEncoder,
        embedding_dimension,
        normalize_tokens,
        project_tokens,
    )

    backbone, device = dense[0], str(dense.device)
    weight, bias = read_linear_head(folder / str(checkpoint.head), embedding_dimension(backbone))
    if checkpoint.family == "sparse":
        tokenizer = backbone.tokenizer
        unused = (tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
        vocabulary = backbone.config.vocab_size
        # a damaged tokenizer may have others, which the backbone knows nothing of
        known = [token for token in unused if token is not None and token < vocabulary]
        rest = [_lexical_weights(weight, bias, vocabulary, known)]
        model: Any = SparseEncoder(modules=[backbone, *rest], device=device)
    else:
        rest = [project_tokens(weight, bias), _all_but_the_first(), normalize_tokens()]
        model = MultiVectorEncoder(modules=[backbone, *rest], device=device)
    for module in rest:
        module.float()  # sentence-transformers has cast it to the precision of the backbone, whose output is float32
    return model.eval()


def _lexical_weights(weight: torch.Tensor, bias: torch.Tensor, vocabulary: int, unused: list[int]) -> Any:
    """The weight of a term is the greatest relu(linear(state)) of its tokens; special tokens have none."""
    import torch

    class LexicalWeights(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(weight.shape[1], 1)
            self.linear.weight, self.linear.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)

        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            weights = self.linear(features["token_embeddings"]).squeeze(-1).relu() * features["attention_mask"]
            pooled = weights.new_zeros(len(weights), vocabulary)
            pooled.scatter_reduce_(1, features["input_ids"], weights, "amax")
            pooled[:, unused] = 0
            features["sentence_embedding"] = pooled
            return features

        def get_embedding_dimension(self) -> int:
            return vocabulary

    return LexicalWeights()


def _all_but_the_first() -> Any:
    """Leaves the first token of each text out of the scores: its state is the dense vector."""
    import torch

    class AllButTheFirst(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            mask = features["attention_mask"]
            features["attention_mask"] = mask * (mask.cumsum(1) > 1)
            return features

    return AllButTheFirst()
