"""Token pooling of documents: vectors of similar tokens become one, their mean (Clavié, Chaffin & Adams 2024).

https://arxiv.org/abs/2409.14683: the token vectors of a document are clustered hierarchically by Ward's criterion, and
each cluster is replaced by its mean. No model and no training is involved, and queries stay as they are. As in PyLate
and Sentence Transformers, the criterion is applied to 1 − cosine, and the first vector, of a token that stands for the
whole text, is left alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pool(tokens: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Merges the token vectors of one document.

    A mean of vectors is shorter than they are, and MaxSim would prefer a token that was merged with none. So it is
    scaled to the mean length of its cluster, which is 1 where the vectors have unit length.

    Args:
        tokens: Shape: (tokens, dim).
        factor: Of all but the first, one is left for so many, rounded up; 1 leaves all.

    Returns:
        The first, and the means of the clusters, in the order of their first tokens. Shape: (vectors, dim).
    """
    first, others = tokens[:1], tokens[1:]
    count = -(-len(others) // factor)
    if count == len(others):
        return tokens
    clusters, members = _cluster(others, count)
    order, begins = np.argsort(clusters, kind="stable"), np.cumsum(members) - members
    means = np.add.reduceat(others[order], begins, axis=0, dtype=np.float64) / members[:, None]
    wanted = np.bincount(clusters, np.linalg.norm(others, axis=1)) / members
    lengths = np.linalg.norm(means, axis=1)
    # Opposite vectors may cancel out. Nothing is similar to what is left of them, so it may as well stay.
    scale = np.divide(wanted, lengths, out=np.ones(count), where=lengths > 1e-6 * wanted)
    return np.concatenate([first, (means * scale[:, None]).astype(np.float32)])


def pooled(tokens: NDArray[np.float32], factor: int) -> list[list[int]]:
    """Returns the tokens that each vector of `pool` is made of, by their indices; arguments as there."""
    others = tokens[1:]
    count = -(-len(others) // factor)
    if count == len(others):
        return [[index] for index in range(len(tokens))]
    clusters, _ = _cluster(others, count)
    return [[0], *((np.flatnonzero(clusters == cluster) + 1).tolist() for cluster in range(count))]


def _cluster(tokens: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clusters vectors by Ward's criterion, applied to half their squared distances: for unit vectors, 1 − cosine.

    Returns:
        The cluster of each token, numbered by first tokens, and the size of each cluster. Shapes: (tokens,), (count,).
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    nearest_first = linkage(pdist(tokens, "sqeuclidean"), "ward")[: len(tokens) - count, :2]
    merges = nearest_first.astype(np.int64).tolist()
    leaders = list(range(len(tokens)))  # of tokens, and after them of merged clusters: the first token in each
    for one, other in merges:
        leaders.append(min(leaders[one], leaders[other]))
    for merged in reversed(range(len(tokens), len(leaders))):
        for part in merges[merged - len(tokens)]:
            leaders[part] = leaders[merged]
    _, clusters, members = np.unique(leaders[: len(tokens)], return_inverse=True, return_counts=True)
    return clusters, members
