"""Backends and precisions of the encoders: time and deviation beside torch in float32, in turns.

    python benchmarks/backends.py --shapes mini --json docs/performance/backends-mini.json
    python benchmarks/backends.py --shapes 149M --families late_interaction --lengths 128

Takes what is installed: torch always, ``korag[onnx]`` and ``korag[openvino]`` where they are. Larger shapes have random
weights; their deviations say nothing of trained ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import interleaved, machine_facts, matmul_gflops, publish, ratio, results
from _models import MINIS, SHAPES, Family, build, flops
from _texts import fixed_texts

PLAIN = "torch float32"
TOKENS = {"mini": 12_000, "149M": 2_048, "XLM-R-large": 1_024}
"""Of the documents of one length; a call then takes a second or two on two cores."""


def main() -> None:
    """Measures each shape, family and length, prints tables, and writes JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["mini", "149M"], choices=["mini", *SHAPES])
    parser.add_argument("--families", nargs="+", default=list(MINIS), choices=list(MINIS))
    parser.add_argument("--lengths", nargs="+", type=int, default=[32, 128, 480], help="in tokens")
    parser.add_argument("--only", nargs="+", help='of "torch bfloat16", "onnx int8" …; else all that run here')
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the work: 0.1 to see that it runs")
    parser.add_argument("--models-folder", type=Path, help="keep the shapes there; else in a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.getLogger("korag").setLevel(logging.ERROR)
    facts = machine_facts("onnx", "onnxruntime", "openvino")
    import torch

    torch.set_num_threads(options.threads)
    chosen = [way for way in ways() if way == PLAIN or not options.only or way in options.only]
    rows, loading = [], []
    limit = matmul_gflops()
    with tempfile.TemporaryDirectory() as temporary:
        for shape in options.shapes:
            for family in options.families:
                if shape == "XLM-R-large" and family != "dense":
                    continue  # no Korean model of that shape is of another family
                folder = build((options.models_folder or Path(temporary)) / f"{shape}-{family}", shape, family)
                name = MINIS[family] if shape == "mini" else f"{shape} {family.replace('_', ' ')}"
                encoders = {way: _load(folder, way, name, loading) for way in chosen}
                for length in options.lengths:
                    count = max(1, int(TOKENS[shape] * options.scale / length))
                    rows += measure(name, family, length, count, encoders, options.repeats, limit)
    found = results(
        facts | {"threads": options.threads, "matmul_gflops": round(limit)},
        {"Backends and precisions": rows, "Loading": loading},
        notes=[f"A float32 matrix product by torch in the same run: {limit:,.0f} GFLOP/s."],
    )
    publish(found, options.json)


def ways() -> list[str]:
    """The backends and precisions that run here; 16 bits only where the processor multiplies them."""
    from korag.encoders.precision import _cpu_multiplies_bfloat16

    found = [PLAIN, *(["torch bfloat16"] if _cpu_multiplies_bfloat16() else [])]
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
    name: str, family: Family, length: int, count: int, encoders: dict[str, Any], repeats: int, limit: float
) -> list[dict[str, object]]:
    """Encodes documents of one length in every way, in turns.

    Args:
        name: What to call the model.
        family: Its kind.
        length: Of each document, in tokens.
        count: How many documents.
        encoders: By way.
        repeats: Turns.
        limit: GFLOP/s of a matrix product.

    Returns:
        One row a way.
    """
    model = encoders[PLAIN].load()
    texts = fixed_texts(model.tokenizer, count, length)
    lengths = encoders[PLAIN]._count_tokens(model, texts, "document")
    work = flops(model, lengths)
    exact = _rows(encoders[PLAIN].encode_documents(texts), family)
    seconds = interleaved({way: lambda e=e: e.encode_documents(texts) for way, e in encoders.items()}, repeats)
    rows: list[dict[str, object]] = []
    for way, encoder in encoders.items():
        cosines = _cosines(exact, _rows(encoder.encode_documents(texts), family))
        median = float(np.median(seconds[way]))
        rows.append(
            {
                "model": name,
                "tokens": length,
                "way": way,
                "tokens/s": sum(lengths) / median,
                "× torch float32": ratio(seconds, PLAIN, way),
                "GFLOP/s": work / median / 1e9,
                "of a matmul": f"{work / median / 1e9 / limit:.0%}",
                "mean cosine": f"{cosines.mean():.5f}",
                "least cosine": f"{cosines.min():.5f}",
            }
        )
    return rows


def _load(folder: Path, way: str, name: str, loading: list[dict[str, object]]) -> Any:
    from korag import load_encoder

    backend, dtype = way.split()
    encoder = load_encoder(folder, backend=backend, dtype=dtype, device="cpu")  # type: ignore[arg-type]
    started = time.perf_counter()
    encoder.encode_queries(["질의"])
    loading.append({"model": name, "way": way, "seconds to the first vector": time.perf_counter() - started})
    return encoder


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
