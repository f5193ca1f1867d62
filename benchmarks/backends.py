"""Backends and precisions of the encoders: speed, and deviation from torch in float32.

    python benchmarks/backends.py --shapes mini --json docs/performance/backends-mini.json
    python benchmarks/backends.py --shapes 149M --families late_interaction --lengths 128
    python benchmarks/backends.py --shapes 149M --only auto sentence-transformers --lengths mixed

``auto`` is what ``backend="auto"`` takes here, and ``sentence-transformers`` that library with its defaults. Measures
torch, and ``korag[onnx]`` and ``korag[openvino]`` if they are installed. Larger shapes have random weights; their
deviations do not apply to trained ones.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from _common import interleaved, machine_facts, matmul_gflops, model_parser, publish, ratio, results
from _models import MINIS, SHAPES, Family, build_all, flops
from _texts import fixed_texts, mixed_texts

PLAIN, AUTO, PEER = "torch float32", "auto", "sentence-transformers"
TOKENS = {"mini": 12_000, "149M": 2_048, "XLM-R-large": 1_024}
"""Total tokens of the documents of a length; a call then takes a second or two on two cores."""


def main() -> None:
    """Measures every shape, family and length."""
    parser = model_parser(__doc__, ["mini", *SHAPES], ["mini", "149M"])
    parser.add_argument("--families", nargs="+", default=list(MINIS), choices=list(MINIS))
    parser.add_argument("--lengths", nargs="+", default=["32", "128", "480"], help="in tokens, or mixed")
    parser.add_argument("--only", nargs="+", help='such as "torch bfloat16" and "onnx int8"; default: all available')
    parser.add_argument("--scale", type=float, default=1.0, help="scale of the work; 0.1 for a quick check")
    options = parser.parse_args()
    logging.getLogger("korag").setLevel(logging.ERROR)
    facts = machine_facts("onnx", "onnxruntime", "openvino")
    import torch

    torch.set_num_threads(options.threads)
    chosen = [runtime for runtime in runtimes() if runtime == PLAIN or not options.only or runtime in options.only]
    rows: list[dict[str, object]] = []
    loading: list[dict[str, object]] = []
    limit = matmul_gflops()
    with tempfile.TemporaryDirectory() as temporary:
        models = build_all(options.shapes, options.families, options.models_folder or Path(temporary))
        for name, shape, family, folder in models:
            encoders = {runtime: _load(folder, runtime, name, family, loading) for runtime in chosen}
            for length in options.lengths:
                total = int(TOKENS[shape] * options.scale)
                rows += measure(name, family, length, total, encoders, options.repeats, limit)
    found = results(
        facts | {"threads": options.threads, "matmul_gflops": round(limit)},
        {"Backends and precisions": rows, "Loading": loading},
        notes=[f"Float32 matrix product in torch, same run: {limit:,.0f} GFLOP/s."],
    )
    publish(found, options.json)


def runtimes() -> list[str]:
    """Returns the backends and precisions that run here; 16 bits only with hardware support."""
    from korag.encoders.precision import cpu_has_bfloat16

    found = [PEER, PLAIN, AUTO, *(["torch bfloat16"] if cpu_has_bfloat16() else [])]
    if importlib.util.find_spec("onnx") is None:
        return found
    if importlib.util.find_spec("onnxruntime") is not None:
        found += ["onnx float32", "onnx int8"]
    if importlib.util.find_spec("openvino") is not None:
        import openvino

        half = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        found += ["openvino float32", *(["openvino bfloat16"] if half else []), "openvino int8"]
    return found


def measure(
    name: str, family: Family, length: str, total: int, encoders: dict[str, Any], repeats: int, limit: float
) -> list[dict[str, object]]:
    """Encodes documents on all backends and precisions, in turns.

    Args:
        name: Name of the model.
        family: Its family.
        length: Length of each document in tokens, or ``"mixed"``.
        total: Tokens of all documents; about as many where lengths are mixed.
        encoders: Encoders by backend and precision.
        repeats: Number of turns.
        limit: GFLOP/s of a matrix product.

    Returns:
        Rows per backend and precision.
    """
    model = encoders[PLAIN].load()
    if length == "mixed":
        texts = mixed_texts(model.tokenizer, max(4, total // 150), None)
    else:
        texts = fixed_texts(model.tokenizer, max(1, total // int(length)), int(length))
    prompt = encoders[PLAIN].prompts["document"]
    lengths = [len(ids) for ids in model.tokenizer([prompt + text for text in texts], verbose=False)["input_ids"]]
    work = flops(model, lengths)
    exact = _rows(encoders[PLAIN].encode_documents(texts), family)
    candidates = {runtime: partial(encoder.encode_documents, texts) for runtime, encoder in encoders.items()}
    seconds = interleaved(candidates, repeats)
    rows: list[dict[str, object]] = []
    for runtime, encoder in encoders.items():
        cosines = _cosines(exact, _rows(encoder.encode_documents(texts), family))
        median = float(np.median(seconds[runtime]))
        rows.append(
            {
                "model": name,
                "tokens": length,
                "way": _way(runtime, encoder),
                "tokens/s": sum(lengths) / median,
                "× torch float32": ratio(seconds, PLAIN, runtime),
                **({"× sentence-transformers": ratio(seconds, PEER, runtime)} if PEER in encoders else {}),
                "GFLOP/s": work / median / 1e9,
                "of a matmul": f"{work / median / 1e9 / limit:.0%}",
                "mean cosine": f"{cosines.mean():.5f}",
                "least cosine": f"{cosines.min():.5f}",
            }
        )
    return rows


class _Peer:
    """A model of sentence-transformers, with its defaults and under our names of methods."""

    def __init__(self, folder: Path, family: Family) -> None:
        self._folder, self._family = folder, family
        self._model: Any = None

    def encode_queries(self, texts: list[str]) -> Any:
        import sentence_transformers

        kinds = {"dense": "SentenceTransformer", "sparse": "SparseEncoder", "late_interaction": "MultiVectorEncoder"}
        self._model = getattr(sentence_transformers, kinds[self._family])(str(self._folder), device="cpu")
        return self._model.encode_query(texts, show_progress_bar=False)

    def encode_documents(self, texts: list[str]) -> Any:
        found = self._model.encode_document(texts, show_progress_bar=False)
        if self._family != "sparse":
            return found
        return scipy.sparse.csr_array(found.to_dense().numpy())


def _load(folder: Path, runtime: str, name: str, family: Family, loading: list[dict[str, object]]) -> Any:
    from korag import load_encoder

    if runtime == PEER:
        encoder: Any = _Peer(folder, family)
    else:
        backend, _, dtype = runtime.partition(" ")
        encoder = load_encoder(folder, backend=backend, dtype=dtype or "auto", device="cpu")  # type: ignore[arg-type]
    started = time.perf_counter()
    encoder.encode_queries(["질의"])
    seconds = time.perf_counter() - started
    loading.append({"model": name, "way": _way(runtime, encoder), "seconds to the first vector": seconds})
    return encoder


def _way(runtime: str, encoder: Any) -> str:
    return runtime if runtime != AUTO else f"{AUTO} ({encoder.runtime.backend} {encoder.runtime.dtype})"


def _rows(vectors: Any, family: Family) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = vectors.toarray() if family == "sparse" else np.concatenate(vectors) if family != "dense" else vectors
    return np.asarray(rows, np.float64)


def _cosines(
    left: np.ndarray[Any, np.dtype[np.float64]], right: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines: np.ndarray[Any, np.dtype[np.float64]] = (left * right).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosines


if __name__ == "__main__":
    main()
