"""ColBERT's middle projections, derived from the largest: principal components, then distillation."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from training.minis.config import HEAD_DIMS, HEAD_RATES, HEADS_PHASE
from training.minis.data import Pairs, Sampler, read_pairs
from training.minis.losses import BELOW_ANY_COSINE, EXCLUDED
from training.minis.model import Mini, lay_out_documents, lay_out_queries

logger = logging.getLogger(__name__)

_SAMPLE = 1_200
_BATCH = 32
_LOGGED_EVERY = 20


def refine_heads(work: Path, path: Path, threads: int) -> None:
    """Replaces the projections to 64 and 96 dimensions and writes the weights; the backbone does not change.

    They start from the principal components of the largest projection's vectors over training texts, and are then
    trained to match its distribution of scores over the documents of a batch. On tydiqa-goldp-ko, an earlier model with
    nDCG@10 .673 at 128 dimensions had .647 / .668 at 64 / 96 when trained in turns with it, and .664 / .676 this way.
    Dim 32 keeps its trained weights: .614 with .686 at 128, but .605 after distillation.

    Args:
        work: Folder with ``tokenizer.json``, ``pairs.npz`` and the phase to start from.
        path: The ``.pt`` to write.
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    phase = HEADS_PHASE
    model = Mini.load(work, str(phase.start))
    pairs = read_pairs(work / "pairs.npz")
    smaller = list(HEAD_RATES)
    _start_from_components(model, pairs, np.random.default_rng((phase.seed, zlib.crc32(phase.name.encode()))))
    optimizer = torch.optim.Adam(
        [{"params": [model.projection(dim).weight], "peak": rate, "lr": rate} for dim, rate in HEAD_RATES.items()]
    )
    sampler = Sampler(pairs, phase)
    recent: list[float] = []
    for step in range(phase.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * (1 - (1 - phase.final_rate) * step / phase.steps)
        batch = sampler.batch(step)
        same = torch.from_numpy(batch.same)
        tokens, mask = lay_out_documents(batch.documents, phase.document_tokens)
        with torch.no_grad():
            queries = model.hidden_expanded(*lay_out_queries(batch.queries))
            documents = model.hidden(tokens, mask)
            counted = mask & ~model.skipped[tokens]
            taught = _scores(model, HEAD_DIMS[-1], queries, documents, counted).masked_fill(same, EXCLUDED).softmax(-1)
        losses = [
            F.cross_entropy(_scores(model, dim, queries, documents, counted).masked_fill(same, EXCLUDED), taught)
            for dim in smaller
        ]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        recent.append(float(losses[0].detach()))
        if (step + 1) % _LOGGED_EVERY == 0:
            logger.info("%s %d/%d: dim %d %.3f", phase.name, step + 1, phase.steps, smaller[0], np.mean(recent))
            recent.clear()
    torch.save(model.state_dict(), path)


@torch.no_grad()
def _start_from_components(model: Mini, pairs: Pairs, rng: np.random.Generator) -> None:
    largest = model.projection(HEAD_DIMS[-1])
    covariance = torch.zeros(HEAD_DIMS[-1], HEAD_DIMS[-1])
    for texts, are_queries in ((pairs.queries, True), (pairs.documents, False)):
        chosen = [texts[int(i)] for i in rng.choice(len(texts), _SAMPLE, replace=False)]
        total, count = torch.zeros_like(covariance), 0
        for start in range(0, _SAMPLE, _BATCH):
            rows = chosen[start : start + _BATCH]
            if are_queries:
                tokens, mask = lay_out_queries(rows)
                states = model.hidden_expanded(tokens, mask).flatten(0, 1)
            else:
                tokens, mask = lay_out_documents(rows, HEADS_PHASE.document_tokens)
                states = model.hidden(tokens, mask)[mask & ~model.skipped[tokens]]
            vectors = F.normalize(largest(states), dim=-1)
            total += vectors.T @ vectors
            count += len(vectors)
        covariance += total / count
    _, components = torch.linalg.eigh(covariance)
    for dim in HEAD_RATES:
        model.projection(dim).weight.copy_(components[:, -dim:].T @ largest.weight)


def _scores(model: Mini, dim: int, queries: Tensor, documents: Tensor, counted: Tensor) -> Tensor:
    """Computes MaxSim of every query with every document. Shape: (n, n)."""
    projection = model.projection(dim)
    query_vectors = F.normalize(projection(queries), dim=-1)
    document_vectors = F.normalize(projection(documents), dim=-1)
    cosines = torch.einsum("bid,cjd->bicj", query_vectors, document_vectors)
    return cosines.masked_fill(~counted, BELOW_ANY_COSINE).amax(-1).sum(1)
