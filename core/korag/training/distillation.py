"""Distillation: losses that compare a model's scores of a query's own candidates with a teacher's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from korag.training.recipes import DistillLoss


def kl_divergence(scores: Tensor, taught: Tensor) -> Tensor:
    """Kullback–Leibler divergence of the model's distribution over the candidates from the teacher's.

    For B queries with candidates j, logits s of the model and t of the teacher::

        p_ij = exp(t_ij) / Σ_k exp(t_ik)      q_ij = exp(s_ij) / Σ_k exp(s_ik)
        L    = 1/B Σ_i Σ_j p_ij · log(p_ij / q_ij)

    As for dense retrievers in TCT-ColBERT (https://arxiv.org/abs/2010.11386) and for late interaction in ColBERTv2
    (https://arxiv.org/abs/2112.01488, section 3.2). It is not multiplied by the squared temperature, as
    sentence-transformers' ``DistillKLDivLoss`` does, which would make it vanish at a temperature of 0.05.

    Args:
        scores: The model's scores over its temperature. Shape: (B, N).
        taught: The teacher's over its own; NaN for a candidate that it has not scored, which takes no part.
            Shape: (B, N).

    Returns:
        The mean over queries with at least two scored candidates; 0 if there are none.
    """
    known = ~taught.isnan()
    usable = known.sum(1) >= 2
    lowest = torch.finfo(scores.dtype).min
    ours = scores.masked_fill(~known, lowest)[usable].log_softmax(1)
    theirs = taught.masked_fill(~known, lowest)[usable].log_softmax(1)
    terms = theirs.exp() * (theirs - ours)
    return terms.masked_fill(~known[usable], 0.0).sum() / max(1, int(usable.sum()))


def margin_mse(scores: Tensor, taught: Tensor) -> Tensor:
    """Mean squared error of the margins between the positive and each negative (Margin-MSE).

    With the positive at j = 0, and the mean over all negatives of all queries::

        L = mean_ij ((s_i0 − s_ij) − (t_i0 − t_ij))²      (https://arxiv.org/abs/2010.02666)

    Args:
        scores: As for `kl_divergence`.
        taught: As for `kl_divergence`.

    Returns:
        The mean over negatives scored by the teacher, where it has scored the positive too; 0 if there are none.
    """
    margins, wanted = scores[:, :1] - scores[:, 1:], taught[:, :1] - taught[:, 1:]
    known = ~wanted.isnan()
    errors = (margins - wanted.nan_to_num()).square()
    return errors.masked_fill(~known, 0.0).sum() / max(1, int(known.sum()))


class Distillation(nn.Module):
    """The teacher's part of a loss.

    Args:
        kind: ``"kl"`` or ``"margin-mse"``.
        weight: Weight of this part; the contrastive part has the rest.
        scale: Factor of the model's scores.
        temperature: Divisor of the teacher's scores.
    """

    def __init__(self, kind: DistillLoss, *, weight: float, scale: float, temperature: float) -> None:
        super().__init__()
        self.kind = kind
        self.weight = weight
        self.scale = scale
        self.temperature = temperature

    def forward(self, contrastive: Tensor, scores: Tensor, taught: Tensor) -> Tensor:
        """Returns ``(1 − weight) · contrastive + weight · distillation``.

        Args:
            contrastive: The contrastive loss.
            scores: The model's scores of each query's own candidates, the positive first. Shape: (B, N).
            taught: The teacher's; NaN where there is none. Shape: (B, N).
        """
        compare = kl_divergence if self.kind == "kl" else margin_mse
        distilled = compare(scores.float() * self.scale, taught.float() / self.temperature)
        return (1 - self.weight) * contrastive + self.weight * distilled


class DistilledLoss(nn.Module):
    """A contrastive loss of sentence-transformers together with a teacher's part, over the same embeddings.

    For dense models, and inside ``SpladeLoss`` for SPLADE.

    Args:
        model: The model to train.
        contrastive: A loss with ``compute_loss_from_embeddings`` and ``similarity_fct``.
        distillation: The teacher's part.
    """

    def __init__(self, model: nn.Module, contrastive: Any, distillation: Distillation) -> None:
        super().__init__()
        self.model = model
        self.contrastive = contrastive
        self.distillation = distillation

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """Computes the loss of a batch.

        Args:
            sentence_features: Tokenized columns: queries, positives, then negatives; B rows each.
            labels: The teacher's scores. Shape: (B, columns − 1).
        """
        embeddings = [self.model(dict(features))["sentence_embedding"] for features in sentence_features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """Computes the loss of encoded columns; arguments as for `forward`."""
        query, *documents = embeddings
        compare = self.contrastive.similarity_fct
        scores = torch.stack([compare(query, column).diagonal() for column in documents], dim=1)
        return self.distillation(self.contrastive.compute_loss_from_embeddings(embeddings, labels), scores, labels)  # type: ignore[no-any-return]

    def get_config_dict(self) -> dict[str, Any]:
        """Returns the settings, for a model card."""
        return {"distill_loss": self.distillation.kind, "distill_weight": self.distillation.weight}
