"""Training losses: the Matryoshka ColBERT loss, and sentence-transformers' losses by recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from korag.errors import InvalidArgumentError
from korag.training.distillation import Distillation, DistilledLoss
from korag.training.heads import find_matryoshka
from korag.training.recipes import Recipe


class MatryoshkaColBERTLoss(nn.Module):
    """Contrastive MaxSim loss of every Matryoshka head, weighted and summed.

    For a batch of B queries with N documents each, the positive first, and heads ``W_m`` (m × hidden)::

        q_i^m, d_j^m = unit(W_m · hidden)                     per token
        s_m(i, j)    = Σ_a max_b q_ia^m · d_jb^m              MaxSim over unmasked tokens
        L_m          = −1/B Σ_i log( exp(s_m(i, i⁺)/T) / Σ_j exp(s_m(i, j)/T) )      j over all B·N documents
        L            = Σ_m c_m · L_m

    MaxSim and its softmax over in-batch documents are ColBERT's (https://arxiv.org/abs/2004.12832, equation 3);
    separate projections with a weighted sum of their losses are Jina-ColBERT-v2's (https://arxiv.org/abs/2408.16672,
    section 3), after Matryoshka representation learning (https://arxiv.org/abs/2205.13147, equation 1). Scores are
    float32 regardless of the precision of the forward pass.

    For `sentence_transformers.MultiVectorEncoderTrainer`, with columns (query, positive[, negative …]). No batch
    may contain another positive of one of its queries: `korag.training.finetune` ensures that; with the trainer alone,
    use ``BatchSamplers.NO_DUPLICATES``.

    Args:
        model: A `MultiVectorEncoder` with heads from `korag.training.heads.attach_heads`.
        weights: ``c_m`` by dimension; None for equal weights that sum to 1.
        temperature: ``T``.
        distillation: A teacher's part of each head's loss: ``L_m`` becomes ``(1 − w) · L_m + w · D_m``, with ``D_m``
            over ``s_m / T`` of the query's own documents; the labels are then the teacher's scores. None for none.

    Raises:
        InvalidArgumentError: If the model has no heads, `weights` do not match its dimensions, or `temperature` is
            not positive.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        weights: Mapping[int, float] | None = None,
        temperature: float = 1.0,
        distillation: Distillation | None = None,
    ) -> None:
        super().__init__()
        heads = find_matryoshka(model)
        if heads is None:
            raise InvalidArgumentError(
                "모델에 Matryoshka 헤드가 없습니다. "
                "korag.training.heads.attach_heads(model, dims=…)를 먼저 호출하세요.",
                "The model has no Matryoshka heads; call korag.training.heads.attach_heads(model, dims=…) first.",
            )
        chosen = {dim: 1 / len(heads.dims) for dim in heads.dims} if weights is None else dict(weights)
        if set(chosen) != set(heads.dims):
            raise InvalidArgumentError(
                f"weights의 차원 {sorted(chosen)}이(가) 모델의 헤드 {heads.dims}와(과) 다릅니다.",
                f"weights have the dimensions {sorted(chosen)}, the model's heads {heads.dims}.",
            )
        if not temperature > 0:
            raise InvalidArgumentError(
                f"temperature={temperature!r}은(는) 쓸 수 없습니다. 0보다 커야 합니다.",
                f"temperature={temperature!r} is invalid; it must be positive.",
            )
        self.model = model
        self.weights = {dim: chosen[dim] for dim in heads.dims}
        self.temperature = temperature
        self.distillation = distillation

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Computes the loss of a batch.

        Args:
            sentence_features: Tokenized columns: queries, positives, then any negatives; B rows each.
            labels: The teacher's scores, with `distillation`; otherwise ignored. Shape: (B, columns − 1).

        Returns:
            The loss: a float32 scalar.
        """
        outputs = [
            self.model(dict(features), task=features.get("task", "document" if column else "query"), all_dims=True)
            for column, features in enumerate(sentence_features)
        ]
        total = torch.zeros((), device=outputs[0]["attention_mask"].device)
        for dim, weight in self.weights.items():
            name = f"token_embeddings_{dim}"
            total = total + weight * _contrastive(outputs, name, self.temperature, self.distillation, labels)
        return total

    def get_config_dict(self) -> dict[str, Any]:
        """Returns the settings, for a model card."""
        return {"weights": self.weights, "temperature": self.temperature}


class _TaughtColBERTLoss(nn.Module):
    """`MatryoshkaColBERTLoss` of a model with a single projection, which is not among its heads."""

    def __init__(self, model: nn.Module, *, temperature: float, distillation: Distillation) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.distillation = distillation

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        outputs = [
            self.model(dict(features), task=features.get("task", "document" if column else "query"))
            for column, features in enumerate(sentence_features)
        ]
        return _contrastive(outputs, "token_embeddings", self.temperature, self.distillation, labels)


def _contrastive(
    outputs: list[dict[str, Any]],
    name: str,
    temperature: float,
    distillation: Distillation | None,
    labels: Tensor | None,
) -> Tensor:
    """Computes ``L_m`` of `MatryoshkaColBERTLoss`, from the token vectors called `name` of each column."""
    query, *documents = outputs
    columns = [
        maxsim_matrix(query[name], query["attention_mask"], column[name], column["attention_mask"])
        for column in documents
    ]
    scores = torch.cat(columns, dim=1)
    targets = torch.arange(len(scores), device=scores.device)  # positives are the first column
    loss = F.cross_entropy(scores / temperature, targets)
    if distillation is None or labels is None:
        return loss
    taught: Tensor = distillation(loss, torch.stack([column.diagonal() for column in columns], dim=1), labels)
    return taught


def maxsim_matrix(query: Tensor, query_mask: Tensor, documents: Tensor, document_mask: Tensor) -> Tensor:
    """Computes MaxSim of every query with every document, differentiably; vectors are normalized first.

    Args:
        query: Shape: (B, query_tokens, dim).
        query_mask: Unmasked tokens. Shape: (B, query_tokens).
        documents: Shape: (D, tokens, dim).
        document_mask: Unmasked tokens. Shape: (D, tokens).

    Returns:
        float32 scores. Shape: (B, D).
    """
    from sentence_transformers.multi_vector_encoder.scoring import colbert_scores

    with torch.autocast(query.device.type, enabled=False):  # in bfloat16, a sum over 32 tokens would be off by 0.1
        scores: Tensor = colbert_scores(
            F.normalize(query.float(), dim=-1),
            F.normalize(documents.float(), dim=-1)[:, None],
            queries_mask=query_mask.bool(),
            documents_mask=document_mask.bool()[:, None],
        )
    return scores


def make_loss(
    model: Any, recipe: Recipe, *, similarity: str = "cosine", teacher_temperature: float | None = None
) -> nn.Module:
    """Builds the loss of a recipe.

    Args:
        model: The sentence-transformers model to train.
        recipe: The recipe.
        similarity: Similarity of a dense model: ``"cosine"`` or ``"dot"``.
        teacher_temperature: Temperature of the teacher whose scores are the labels; None without one.

    Returns:
        A loss for the trainer of the model's family. Late interaction without heads uses sentence-transformers' loss,
        which equals `MatryoshkaColBERTLoss` with a single projection.
    """
    distillation = None
    if teacher_temperature is not None:
        distillation = Distillation(
            recipe.distill_loss, weight=recipe.distill_weight, scale=recipe.scale, temperature=teacher_temperature
        )
    if recipe.family == "late_interaction":
        from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss

        if find_matryoshka(model) is None:
            if distillation is not None:
                return _TaughtColBERTLoss(model, temperature=recipe.temperature, distillation=distillation)
            return MultiVectorMultipleNegativesRankingLoss(model, scale=recipe.scale)
        weights = dict(zip(recipe.dims, recipe.dim_weights, strict=True)) if recipe.dim_weights else None
        return MatryoshkaColBERTLoss(model, weights=weights, temperature=recipe.temperature, distillation=distillation)
    if recipe.family == "sparse":
        from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss

        ranking = SparseMultipleNegativesRankingLoss(
            model, scale=recipe.scale, gather_across_devices=recipe.gather_across_devices
        )
        return SpladeLoss(
            model,
            ranking if distillation is None else DistilledLoss(model, ranking, distillation),
            document_regularizer_weight=recipe.document_regularizer,
            query_regularizer_weight=recipe.query_regularizer,
        )
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )
    from sentence_transformers.util import cos_sim, dot_score

    compare = dot_score if similarity == "dot" else cos_sim
    gather = recipe.gather_across_devices
    if recipe.loss == "multiple-negatives":
        contrastive = MultipleNegativesRankingLoss(
            model, scale=recipe.scale, similarity_fct=compare, gather_across_devices=gather
        )
        return contrastive if distillation is None else DistilledLoss(model, contrastive, distillation)
    return CachedMultipleNegativesRankingLoss(
        model, scale=recipe.scale, similarity_fct=compare, mini_batch_size=recipe.mini_batch_size,
        gather_across_devices=gather,
    )  # fmt: skip
