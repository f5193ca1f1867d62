"""Training losses, all over the documents of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

EXCLUDED = -1e4
BELOW_ANY_COSINE = -4.0
_HARDEST, _RANDOM = 10, 6
_DENSE_TEMPERATURE = 0.05
FLOPS_WEIGHT = 3e-3
_PENALISED_SHARE = 0.25
_BLOCK = 16


def maxsim_loss(
    queries: Tensor,
    documents: Tensor,
    mask: Tensor,
    same: Tensor,
    generator: torch.Generator,
    taught: Tensor | None = None,
    share: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over MaxSim scores (the sum over query tokens of the best cosine, temperature 1).

    All scores are computed without gradients; the softmax then covers only the positive, the hardest and a few random
    documents of each query, which get gradients. It must not include the others: as constants, they would push
    positives up without pulling anything down, and the model would collapse.

    Args:
        queries: Unit vectors. Shape: (n, query length, dim).
        documents: Unit vectors, the positives first. Shape: (m, length, dim).
        mask: True for document tokens that are not ignored. Shape: (m, length).
        same: True where a document is not a negative. Shape: (n, m).
        generator: Random generator.
        taught: A teacher's logits, whose distribution over the chosen documents is distilled. Shape: (n, m).
        share: The teacher's share.

    Returns:
        The loss, and all scores without gradients, with excluded ones very low. Shape of the scores: (n, m).
    """
    n = len(queries)
    with torch.no_grad():
        scores = maxsim_scores(queries, documents, mask).masked_fill_(same, EXCLUDED)
        diagonal = torch.arange(n)
        ranked = scores.clone()
        ranked[diagonal, diagonal] = -EXCLUDED  # the positive comes first
        hardest = ranked.topk(min(_HARDEST, len(documents)), dim=1).indices
        random = torch.randint(len(documents), (n, _RANDOM), generator=generator)
        repeated = (random.unsqueeze(2) == hardest.unsqueeze(1)).any(2)
        chosen = torch.cat([hardest, random], dim=1)
        excluded = torch.cat([same.gather(1, hardest), same.gather(1, random) | repeated], dim=1)
    cosines = torch.einsum("bid,bkjd->bkij", queries, documents[chosen])
    cosines = cosines.masked_fill(~mask[chosen].unsqueeze(2), BELOW_ANY_COSINE)
    logits = cosines.amax(-1).sum(-1).masked_fill(excluded, EXCLUDED)
    wanted = None if taught is None else taught.gather(1, chosen).masked_fill(excluded, EXCLUDED)
    return _learned(logits, torch.zeros(n, dtype=torch.long), wanted, share), scores


def _learned(logits: Tensor, target: Tensor, taught: Tensor | None, share: float) -> Tensor:
    """Cross-entropy with the labels, and for its share with a teacher's distribution."""
    loss = F.cross_entropy(logits, target)
    return loss if taught is None else (1 - share) * loss + share * F.cross_entropy(logits, taught.softmax(-1))


def maxsim_scores(queries: Tensor, documents: Tensor, mask: Tensor) -> Tensor:
    """Returns the MaxSim score of every query with every document; arguments as for `maxsim_loss`. Shape: (n, m)."""
    return torch.cat(
        [
            torch.einsum("bid,cjd->bicj", queries, documents[start : start + _BLOCK])
            .masked_fill_(~mask[start : start + _BLOCK], BELOW_ANY_COSINE)
            .amax(-1)
            .sum(1)
            for start in range(0, len(documents), _BLOCK)
        ],
        dim=1,
    )


def dense_loss(
    queries: Tensor, documents: Tensor, same: Tensor, teacher: Tensor | None, share: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over cosines, and for its share the cross-entropy against a teacher's distribution.

    Args:
        queries: Unit vectors. Shape: (n, dim).
        documents: Unit vectors, the positives first. Shape: (m, dim).
        same: True where a document is not a negative. Shape: (n, m).
        teacher: Logits of the teacher, without gradients; None for no distillation. Shape: (n, m).
        share: The teacher's share.

    Returns:
        The loss, and the logits. Shape of the logits: (n, m).
    """
    logits = (queries @ documents.T / _DENSE_TEMPERATURE).masked_fill(same, EXCLUDED)
    return _learned(logits, torch.arange(len(logits)), teacher, share), logits


def choose_terms(queries: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Chooses the terms whose document weights are computed in a step.

    Terms that occur in no query do not affect any score, so the cross-entropy over the queries' terms is exact. Only
    the FLOPS penalty needs the others; it is estimated from a random quarter of them, counted four times.

    Args:
        queries: Term weights. Shape: (n, vocabulary).
        generator: Random generator.

    Returns:
        Indices of the terms, and their multiplicity in the penalty. Shape of each: (n_terms,).
    """
    wanted = (queries.detach() > 0).any(0)
    drawn = torch.rand(len(wanted), generator=generator) < _PENALISED_SHARE
    chosen = (wanted | drawn).nonzero().squeeze(1)
    return chosen, torch.where(wanted[chosen], 1.0, 1 / _PENALISED_SHARE)


def splade_loss(
    queries: Tensor,
    documents: Tensor,
    chosen: Tensor,
    counts: Tensor,
    same: Tensor,
    flops_share: float,
    taught: Tensor | None = None,
    share: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over dot products, plus the FLOPS penalty (Paria et al. 2020, https://arxiv.org/abs/2004.05665).

    Args:
        queries: Term weights. Shape: (n, vocabulary).
        documents: Weights of the chosen terms, the positives first. Shape: (m, n_terms).
        chosen: Indices of the chosen terms. Shape: (n_terms,).
        counts: Multiplicity of each in the penalty of documents. Shape: (n_terms,).
        same: True where a document is not a negative. Shape: (n, m).
        flops_share: Current fraction of the penalty, 0 to 1.
        taught: A teacher's logits, which are distilled. Shape: (n, m).
        share: The teacher's share.

    Returns:
        The loss, and the logits. Shape of the logits: (n, m).
    """
    logits = (queries[:, chosen] @ documents.T).masked_fill(same, EXCLUDED)
    penalty = (queries.mean(0) ** 2).sum() + (counts * documents.mean(0) ** 2).sum()
    loss = _learned(logits, torch.arange(len(logits)), taught, share)
    return loss + flops_share * FLOPS_WEIGHT * penalty, logits
