"""Processor time from the start of Python to the first answer: the README's first example, and one query.

    python benchmarks/first_answer.py --repeats 3

Each run is a process of its own, with and without light models, alternately. Time is that of the processor (user and
system), which other work on the machine hardly changes; the files are in the system's cache after the first run, which
is not counted. "speed" is the time of sentence-transformers divided by that of the light model for the same texts, in
one process; below 1, the light model would be slower.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag import load_encoder
from korag.encoders.base import Encoder
from korag.encoders.options import Backend

_EXAMPLE = """
from langchain_core.documents import Document
from korag import load_encoder
from langchain_korag import KoColBERTRetriever
texts = ["임대차 계약이 끝나면 집주인은 보증금을 돌려주어야 한다.", "시립 도서관은 매주 월요일에 문을 닫는다."]
model = load_encoder("mini-colbert", backend={backend!r})
retriever = KoColBERTRetriever.from_documents([Document(page_content=text) for text in texts], model=model, k=1)
assert "보증금" in retriever.invoke("집주인이 전세금을 안 줘요")[0].page_content
"""
_QUERY = """
from korag import load_encoder
load_encoder("mini-colbert", backend={backend!r}).encode_queries(["집주인이 전세금을 안 줘요"])
"""
_IMPORT = "import {backend}"
RUNS: dict[str, tuple[str, tuple[str, str]]] = {
    "first example of the README": (_EXAMPLE, ("torch", "sentence-transformers")),
    "one query, without a framework": (_QUERY, ("torch", "sentence-transformers")),
    "importing it alone": (_IMPORT, ("torch", "sentence_transformers")),
}
"""Code, and what stands for the light way and for the other in it."""
MODELS = ("mini-dense", "mini-splade", "mini-colbert")


def main() -> None:
    """Prints a line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--texts", type=int, default=500, help="encoded for the speed")
    options = parser.parse_args()
    print(f"{'processor seconds':36}{'light':>9}{'s-t':>9}")
    for name, (code, backends) in RUNS.items():
        turns = [
            [processor_time(code.format(backend=backend)) for backend in backends] for _ in range(options.repeats + 1)
        ]
        light, other = (statistics.median(times) for times in zip(*turns[1:], strict=True))
        print(f"{name:36}{light:9.1f}{other:9.1f}")
    print(f"{'speed, light / sentence-transformers':36}")
    for model in MODELS:
        print(f"{model:36}{speed(model, options.texts, options.repeats):9.2f}")


def processor_time(code: str) -> float:
    """Returns the processor time of a new interpreter that runs some code, in seconds."""
    report = "\nimport json, time; print(json.dumps(time.process_time()))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def speed(model: str, count: int, repeats: int) -> float:
    """Returns how many times as fast a light model encodes documents, after comparing the vectors."""
    texts = [
        f"제{number}조(보증금의 반환) " + "임대인은 계약이 끝나면 보증금을 돌려준다. " * (number % 12)
        for number in range(count)
    ]
    backends: tuple[Backend, ...] = ("torch", "sentence-transformers")
    encoders = {backend: load_encoder(model, device="cpu", backend=backend) for backend in backends}
    exact = [load_encoder(model, device="cpu", dtype="float32", backend=backend) for backend in backends]
    found, expected = (rows(encoder.encode_documents(texts[:32])) for encoder in exact)
    if (difference := float(np.abs(found - expected).max())) > 1e-5:
        raise SystemExit(f"{model}: vectors differ by up to {difference:.1e}")
    for encoder in encoders.values():
        encoder.encode_documents(texts)
    ratios = []
    for _ in range(repeats):
        ours, theirs = (_seconds(encoder, texts) for encoder in encoders.values())
        ratios.append(theirs / ours)
    return statistics.median(ratios)


def _seconds(encoder: Encoder[Any], texts: list[str]) -> float:
    begun = time.process_time()
    encoder.encode_documents(texts)
    return time.process_time() - begun


def rows(vectors: Any) -> NDArray[np.float32]:
    """Returns vectors of any family as one array."""
    if isinstance(vectors, list):
        return np.concatenate(vectors)
    array: NDArray[np.float32] = vectors.toarray() if hasattr(vectors, "toarray") else vectors
    return array


if __name__ == "__main__":
    main()
