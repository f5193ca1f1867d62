"""The training losses, all over the documents of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

_EXCLUDED = -1e4
_BELOW_ANY_COSINE = -4.0
_HARDEST, _RANDOM = 10, 6
_DENSE_TEMPERATURE = 0.05
FLOPS_WEIGHT = 3e-3
_BLOCK = 16


def maxsim_loss(
    queries: Tensor, documents: Tensor, mask: Tensor, same: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over MaxSim scores (the sum over query tokens of the best cosine, temperature 1).

    All scores are computed without gradients; the softmax then runs over the positive, the hardest and a few
    random documents of each query, and only these get gradients. It must run over no more than these: with the
    others as constants it pushes positives up without pulling anything down, and the model collapses.

    Args:
        queries: Unit vectors. Shape: (n, query length, dim).
        documents: Unit vectors. Shape: (n, length, dim).
        mask: True where a document's token counts. Shape: (n, length).
        same: Where a document is no negative. Shape: (n, n).
        generator: Draws the random documents.

    Returns:
        The loss, and all scores without gradients, excluded ones very low. Shape of the scores: (n, n).
    """
    n = len(queries)
    with torch.no_grad():
        scores = torch.cat(
            [
                torch.einsum("bid,cjd->bicj", queries, documents[start : start + _BLOCK])
                .masked_fill_(~mask[start : start + _BLOCK], _BELOW_ANY_COSINE)
                .amax(-1)
                .sum(1)
                for start in range(0, n, _BLOCK)
            ],
            dim=1,
        ).masked_fill_(same, _EXCLUDED)
        diagonal = torch.arange(n)
        ranked = scores.clone()
        ranked[diagonal, diagonal] = -_EXCLUDED  # the positive comes first
        hardest = ranked.topk(min(_HARDEST, n), dim=1).indices
        random = torch.randint(n, (n, _RANDOM), generator=generator)
        repeated = (random.unsqueeze(2) == hardest.unsqueeze(1)).any(2)
        chosen = torch.cat([hardest, random], dim=1)
        excluded = torch.cat([same.gather(1, hardest), same.gather(1, random) | repeated], dim=1)
    cosines = torch.einsum("bid,bkjd->bkij", queries, documents[chosen])
    cosines = cosines.masked_fill(~mask[chosen].unsqueeze(2), _BELOW_ANY_COSINE)
    logits = cosines.amax(-1).sum(-1).masked_fill(excluded, _EXCLUDED)
    return F.cross_entropy(logits, torch.zeros(n, dtype=torch.long)), scores


def dense_loss(queries: Tensor, documents: Tensor, same: Tensor, teacher: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross-entropy over cosines, averaged with that against a teacher's distribution over the same documents.

    Args:
        queries: Unit vectors. Shape: (n, dim).
        documents: Unit vectors. Shape: (n, dim).
        same: Where a document is no negative. Shape: (n, n).
        teacher: Logits of the teacher, without gradients; None for no distillation. Shape: (n, n).

    Returns:
        The loss, and the logits. Shape of the logits: (n, n).
    """
    logits = (queries @ documents.T / _DENSE_TEMPERATURE).masked_fill(same, _EXCLUDED)
    loss = F.cross_entropy(logits, torch.arange(len(logits)))
    if teacher is not None:
        loss = (loss + F.cross_entropy(logits, teacher.softmax(-1))) / 2
    return loss, logits


def splade_loss(queries: Tensor, documents: Tensor, same: Tensor, flops_share: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy over dot products, plus the FLOPS penalty (Paria et al. 2020, https://arxiv.org/abs/2004.05665).

    Args:
        queries: Term weights. Shape: (n, vocabulary).
        documents: Term weights. Shape: (n, vocabulary).
        same: Where a document is no negative. Shape: (n, n).
        flops_share: How much of the penalty applies yet, 0 to 1.

    Returns:
        The loss, and the logits. Shape of the logits: (n, n).
    """
    logits = (queries @ documents.T).masked_fill(same, _EXCLUDED)
    penalty = sum((weights.mean(0) ** 2).sum() for weights in (queries, documents))
    return F.cross_entropy(logits, torch.arange(len(logits))) + flops_share * FLOPS_WEIGHT * penalty, logits
