"""Codebooks of packed token vectors: centroids, and product quantization of what is left.

A token vector is stored as its cell, and the difference to it, rotated and cut into parts, as a byte for each part: the
nearest of 256 entries. A cell is the nearest of a thousand centroids, and the nearest to the difference of 64 more.
Residuals of centroids are as in PLAID, https://arxiv.org/abs/2205.09707; product quantization is
https://hal.science/inria-00514462, with the parts balanced as in section 3.2.2 of optimized product quantization,
https://doi.org/10.1109/TPAMI.2013.240. At one bit a dimension a part has 8 dimensions. Signs of
dimensions, which take as much, lose twice as much (benchmarks/codec_quality.py).

A codebook is learned once, from the first tokens of a collection, and used for all others: codes then never change when
segments are merged, and equal documents have equal codes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.kernels.nearest import nearest_entries
from korag.kernels.tables import GAINS, RESIDUALS, VALUES
from korag.legs.arrays import check_array, require
from korag.legs.base import Arrays

Floats = NDArray[np.float32]
CodebookScores = tuple[Floats, Floats, Floats]
"""Of a query with all entries, residual centroids and centroids. Shapes: (parts, 256, query_tokens), (64,
query_tokens), (centroids, query_tokens)."""
LEARNED_FROM = 32_768
"""Tokens from which a codebook is learned; fewer are kept in float16."""
CENTROIDS = 1_024
_SAMPLE = 131_072
"""Tokens that centroids are learned from, and half of them for entries."""
_TURNS = 8
"""Of k-means. More change the error in its third digit."""
_BLOCK = 1_024
"""Tokens compared with all centroids at a time; always as many, so that no product depends on its company."""
NAMES = ("centroids", "residual_centroids", "rotation", "entries")
DIGEST = "codebook_digest"
"""Name of the array that tells codebooks from each other, so that a search reads one for many segments."""


@dataclass(frozen=True)
class Codebook:
    """A codebook for vectors of a dimension.

    Attributes:
        centroids: Shape: (centroids, dim).
        residual_centroids: Shape: (64, dim).
        rotation: From a difference to its parts, one after another. Shape: (dim, parts · size).
        entries: Shape: (parts, 256, size).
    """

    centroids: NDArray[np.float16]
    residual_centroids: NDArray[np.float16]
    rotation: Floats
    entries: NDArray[np.float16]

    @classmethod
    def learn(cls, tokens: NDArray[Any], *, size: int) -> Self:
        """Learns a codebook; the same from the same tokens.

        Args:
            tokens: At least `LEARNED_FROM`. Shape: (n, dim).
            size: Dimensions of a part.
        """
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.permutation(len(tokens))[:_SAMPLE])
        sample = tokens[chosen].astype(np.float32)
        centroids = _k_means(sample, sample[rng.permutation(len(sample))[:CENTROIDS]])
        halves = centroids.astype(np.float16)
        half = sample[rng.permutation(len(sample))[: max(LEARNED_FROM, _SAMPLE // 2)]]
        differences = half - halves[_assign(half, halves.astype(np.float32))].astype(np.float32)
        residuals = _k_means(differences, differences[np.resize(rng.permutation(len(half)), RESIDUALS)])
        residual_halves = residuals.astype(np.float16)
        differences -= residual_halves[_assign(differences, residual_halves.astype(np.float32))].astype(np.float32)
        rotation = _balance(differences, size)
        parts: Any = (differences @ rotation).reshape(len(half), -1, size)
        starts = np.resize(rng.permutation(len(parts)), VALUES)
        entries: Any = np.ascontiguousarray(parts[starts].transpose(1, 0, 2))
        for _ in range(_TURNS):
            codes = nearest_entries(parts.reshape(len(parts), -1), entries)
            for part in range(len(entries)):
                entries[part] = _means(parts[:, part], codes[:, part], entries[part])
        return cls(halves, residual_halves, rotation, entries.astype(np.float16))

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Reads it from the arrays of a segment."""
        return cls(*(arrays[name] for name in NAMES))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Reverses `of`; with the digest."""
        named: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in NAMES}
        return named | {DIGEST: np.frombuffer(self.digest, np.uint8)}

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of what it consists of."""
        content = hashlib.sha256()
        for name in NAMES:
            content.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return content.digest()

    @cached_property
    def _centroids(self) -> Floats:
        return self.centroids.astype(np.float32)

    @cached_property
    def _residual_centroids(self) -> Floats:
        return self.residual_centroids.astype(np.float32)

    @cached_property
    def _entries(self) -> Floats:
        return self.entries.astype(np.float32)

    def encode(self, tokens: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint8]]:
        """Returns what is stored of tokens, shape (n, dim).

        Returns:
            Codes, shape (n, parts); cells, shape (n,); and gains, shape (n,), which make a decoded vector as long
            as it was: what is between entries is lost, most of it in rare tokens, which would count too little.
        """
        codes = np.empty((len(tokens), len(self.entries)), np.uint8)
        cells, gains = np.empty(len(tokens), np.uint16), np.empty(len(tokens), np.uint8)
        for start in range(0, len(tokens), 16 * _BLOCK):
            own = slice(start, start + 16 * _BLOCK)
            some = tokens[own].astype(np.float32)
            nearest = _assign(some, self._centroids)
            differences = some - self._centroids[nearest]
            nearest_residual = _assign(differences, self._residual_centroids)
            differences -= self._residual_centroids[nearest_residual]
            cells[own] = nearest * RESIDUALS + nearest_residual
            codes[own] = nearest_entries(_in_blocks(differences, self.rotation), self._entries)
            found = self._decode(codes[own], cells[own])
            lengths = np.linalg.norm(some, axis=1) / np.maximum(np.linalg.norm(found, axis=1), 1e-9)
            gains[own] = np.abs(lengths[:, None] - GAINS).argmin(axis=1)
        return codes, cells, gains

    def decode(self, codes: NDArray[np.uint8], cells: NDArray[np.uint16], gains: NDArray[np.uint8]) -> Floats:
        """Returns the vectors that stand for what is stored. Shape: (n, dim)."""
        return self._decode(codes, cells) * GAINS[gains, None]

    def _decode(self, codes: NDArray[np.uint8], cells: NDArray[np.uint16]) -> Floats:
        parts = self._entries[np.arange(len(self.entries)), codes].reshape(len(codes), -1)
        rows, residuals = np.divmod(cells, RESIDUALS)
        turned = _in_blocks(parts, np.ascontiguousarray(self.rotation.T))
        nearest = self._centroids[np.minimum(rows, len(self.centroids) - 1)]
        return np.asarray(nearest + self._residual_centroids[residuals] + turned, np.float32)

    def scores(self, query: Floats) -> CodebookScores:
        """Returns what a query, shape (query_tokens, dim), scores with what vectors are put together from."""
        parts, _, size = self.entries.shape
        turned: Any = (query @ self.rotation).reshape(len(query), parts, size).transpose(1, 2, 0)
        by_entry: Any = self._entries @ turned
        by_residual: Any = self._residual_centroids @ query.T
        by_centroid: Any = self._centroids @ query.T
        return by_entry, by_residual, by_centroid


def check_codebook(arrays: Arrays, *, dim: int | None, size: int) -> int:
    """Checks the arrays of a codebook; returns how many parts it has.

    Raises:
        ValueError: With what is wrong.
    """
    check_array(arrays, "centroids", np.float16, None, dim)
    count, width = arrays["centroids"].shape
    parts: int = -(-width // size)
    require(0 < count <= CENTROIDS, f"centroids: {count}")
    check_array(arrays, "residual_centroids", np.float16, RESIDUALS, width)
    check_array(arrays, "rotation", np.float32, width, parts * size)
    require((np.abs(arrays["rotation"]) < 1.001).all(), "rotation: longer than a unit vector")  # or products overflow
    check_array(arrays, "entries", np.float16, parts, VALUES, size)
    check_array(arrays, DIGEST, np.uint8, hashlib.sha256().digest_size)
    return parts


def digest_of(arrays: Arrays) -> bytes:
    """The digest that a segment records of its codebook."""
    return arrays[DIGEST].tobytes()


def _in_blocks(vectors: Floats, matrix: Floats) -> Floats:
    """``vectors @ matrix``, in products of one shape: those of other shapes round differently."""
    import torch  # as many threads as `korag.workers` allows; numpy's products take all cores in each of its threads

    products = np.empty((len(vectors), matrix.shape[1]), np.float32)
    filled = np.zeros((_BLOCK, vectors.shape[1]), np.float32)
    right = torch.from_numpy(matrix if matrix.flags.writeable else matrix.copy())  # torch warns of what is mapped
    for start in range(0, len(vectors), _BLOCK):
        some = vectors[start : start + _BLOCK]
        filled[: len(some)] = some
        products[start : start + _BLOCK] = torch.mm(torch.from_numpy(filled), right).numpy()[: len(some)]
    return products


def _assign(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """The nearest centroid of each vector. Shape: (n,)."""
    transposed, half = np.ascontiguousarray(centroids.T), (centroids * centroids).sum(axis=1) / 2
    nearest = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        products = _in_blocks(vectors[start : start + _BLOCK], transposed)
        products -= half
        nearest[start : start + _BLOCK] = products.argmax(axis=1)
    return nearest


def _k_means(vectors: Floats, centroids: Floats) -> Floats:
    for _ in range(_TURNS):
        centroids = _means(vectors, _assign(vectors, centroids), centroids)
    return centroids


def _means(vectors: Floats, nearest: NDArray[Any], before: Floats) -> Floats:
    """Means of the vectors nearest to each; one that none is nearest to stays where it was."""
    order = np.argsort(nearest, kind="stable")
    found, starts = np.unique(nearest[order], return_index=True)
    sums = np.add.reduceat(vectors[order].astype(np.float64), starts, axis=0)
    means = before.copy()
    means[found] = sums / np.diff(np.append(starts, len(vectors)))[:, None]
    return means


def _balance(differences: Floats, size: int) -> Floats:
    """Rotates to principal components, and deals them out so that the parts' products of variances are alike."""
    variances, components = np.linalg.eigh(
        np.cov(differences.T.astype(np.float64)).reshape(2 * (differences.shape[1],))
    )
    dim, parts = len(variances), -(-len(variances) // size)
    rotation = np.zeros((dim, parts * size), np.float32)
    filled, products = np.zeros(parts, np.int64), np.zeros(parts)
    scale = max(float(variances.max()), 1e-12)
    for component in np.argsort(-variances, kind="stable").tolist():
        part = min((part for part in range(parts) if filled[part] < size), key=lambda part: products[part])
        rotation[:, part * size + filled[part]] = components[:, component]
        filled[part] += 1
        # As a positive number, so that a part that has got a component has more than one that has not.
        products[part] += np.log(max(float(variances[component]) / scale, 1e-9)) + 21
    return rotation
