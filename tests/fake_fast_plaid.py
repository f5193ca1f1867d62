"""The work of fast-plaid, by brute force and without Rust: the calls that KoRAG makes, and the traps in them.

`test_fast_plaid.py` holds both to the same. Exact vectors in place of codes; a list for each of a few directions.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

LISTS = 4
LEAST_TOKENS = 10


class PanicException(BaseException):
    """As of pyo3: no `Exception`."""


class FastPlaid:
    """An index in a folder."""

    def __init__(self, index: str, device: str | None = None) -> None:
        self.index, self.device = index, device
        Path(index).mkdir(exist_ok=True)

    def close(self) -> None:
        """Releases nothing."""

    def create(
        self, documents_embeddings: Any, *, nbits: int = 4, start_from_scratch: int = 1_000, **_: object
    ) -> "FastPlaid":
        documents = [np.asarray(one, np.float16) for one in documents_embeddings]
        if sum(map(len, documents)) < LEAST_TOKENS:
            raise RuntimeError("Cannot train codec: no heldout samples were generated.")
        centroids = np.random.default_rng(0).normal(size=(LISTS, documents[0].shape[1]))
        np.save(f"{self.index}/centroids.npy", centroids.astype(np.float16))
        if len(documents) <= start_from_scratch:
            self._pickle("embeddings.npy", documents)
        self._write(documents)
        return self

    def update(
        self, documents_embeddings: Any, *, start_from_scratch: int = 999, buffer_size: int = 100, **_: object
    ) -> "FastPlaid":
        documents = [np.asarray(one, np.float16) for one in documents_embeddings]
        for name in ("embeddings.npy", "buffer.npy"):
            if Path(self.index, name).exists():
                np.load(f"{self.index}/{name}", allow_pickle=True)
        if len(documents) < buffer_size:
            self._pickle("buffer.npy", documents)
        self._write([*self._read(), *documents])
        return self

    def delete(self, subset: list[int]) -> "FastPlaid":
        gone = set(subset)
        self._write([one for number, one in enumerate(self._read()) if number not in gone])
        return self

    def search(
        self,
        queries_embeddings: Any,
        *,
        top_k: int = 10,
        n_full_scores: int = 4_096,
        n_ivf_probe: int = 8,
        show_progress: bool = True,
        subset: list[list[int]] | None = None,
    ) -> list[list[tuple[int, float]]]:
        if n_full_scores >= 1 << 63:
            raise PanicException("capacity overflow")
        documents, centroids = self._read(), np.load(f"{self.index}/centroids.npy").astype(np.float32)
        query = np.asarray(queries_embeddings, np.float32)[0]
        if n_ivf_probe > len(centroids) and subset is None:
            raise RuntimeError("selected index k out of range")
        allowed = range(len(documents)) if subset is None else sorted(set(subset[0]))
        near = set(np.argsort(-(query @ centroids.T), axis=1)[:, :n_ivf_probe].ravel().tolist())
        found = []
        for number in allowed:
            tokens = documents[number].astype(np.float32)
            if near & set(np.argmax(tokens @ centroids.T, axis=1).tolist()):
                found.append((number, float((query @ tokens.T).max(axis=1).sum())))
        found.sort(key=lambda one: (-one[1], -one[0]))  # equal scores in no useful order
        return [found[: min(top_k, max(1, n_full_scores // 4))]]

    def _pickle(self, name: str, documents: list[Any]) -> None:
        array = np.empty(len(documents), object)
        array[:] = documents
        np.save(f"{self.index}/{name}", array, allow_pickle=True)

    def _write(self, documents: list[Any]) -> None:
        Path(self.index, "metadata.json").unlink(missing_ok=True)
        np.save(f"{self.index}/tokens.npy", np.concatenate([np.zeros((0, 1), np.float16), *documents], axis=None))
        lengths = [len(one) for one in documents]
        Path(self.index, "doclens.0.json").write_text(json.dumps(lengths))
        Path(self.index, "metadata.json").write_text(json.dumps({"num_documents": len(lengths)}))

    def _read(self) -> list[Any]:
        lengths = json.loads(Path(self.index, "doclens.0.json").read_bytes())
        dim = np.load(f"{self.index}/centroids.npy").shape[1]
        if not Path(self.index, "tokens.npy").exists():  # without its codes, fast-plaid finds other documents
            return list(np.ones((len(lengths), 1, dim), np.float16))
        tokens = np.load(f"{self.index}/tokens.npy").reshape(-1, dim)
        return np.split(tokens, np.cumsum(lengths)[:-1]) if lengths else []
