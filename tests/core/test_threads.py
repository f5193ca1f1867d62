"""One encoder, many threads. Without its lock some documents are silently truncated to query length:
``python benchmarks/tokenizer_race.py`` counts them.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from korag import CrossEncoderReranker, load_encoder
from korag.encoders.pipeline import Pipeline

pytestmark = pytest.mark.slow

THREADS = 8


def test_queries_and_documents_at_once(built):
    encoder = load_encoder(built("pylate"))
    queries = ["짧은 질의", "조금 더 긴 질의 하나"]
    documents = [" ".join(["가나다"] * count) for count in (3, 20, 45)]  # the last two are longer than any query
    expected = {text: len(row) for text, row in zip(documents, encoder.encode_documents(documents), strict=True)}
    assert max(expected.values()) > encoder.query_length
    start = threading.Barrier(THREADS)

    def work(number: int) -> list[tuple[int, ...]]:
        start.wait()
        wrong = []
        for call in range(260):
            if (call + number) % 2:
                rows = encoder.encode_queries([queries[call % 2]])
                wrong += [row.shape for row in rows if row.shape != (32, 16)]
            else:
                text = documents[call % 3]
                wrong += [row.shape for row in encoder.encode_documents([text]) if row.shape != (expected[text], 16)]
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert [shape for shapes in pool.map(work, range(THREADS)) for shape in shapes] == []


def test_vectors_are_the_same_from_any_thread(built, documents):
    for layout in ("dense", "splade"):
        encoder = load_encoder(built(layout))
        expected = encoder.encode_documents(documents)
        with ThreadPoolExecutor(THREADS) as pool:
            for vectors in pool.map(lambda _, encoder=encoder: encoder.encode_documents(documents), range(40)):
                assert abs(vectors - expected).max() < 1e-5


def test_the_weights_are_loaded_once(copied, monkeypatch):
    encoder = load_encoder(copied("dense"))
    loads = []
    load = type(encoder)._load
    monkeypatch.setattr(type(encoder), "_load", lambda self, folder: loads.append(folder) or load(self, folder))
    start = threading.Barrier(THREADS)

    def first(_: int) -> np.ndarray:
        start.wait()
        return encoder.encode_queries(["질의"])

    with ThreadPoolExecutor(THREADS) as pool:
        assert len({row.tobytes() for row in pool.map(first, range(THREADS))}) == 1
    assert len(loads) == 1


@pytest.mark.parametrize(("kind", "layout"), [(load_encoder, "dense"), (CrossEncoderReranker, "cross_encoder")])
def test_a_fingerprint_whatever_unload_does_meanwhile(built, kind, layout):
    model = kind(built(layout))
    expected = model.fingerprint
    within = type(model).fingerprint.fget.__code__

    def unload(frame, event, _):
        if frame.f_code is not within:
            return None
        if event == "line":  # as another thread might, before any line
            model.load()
            model.unload()
        return unload

    sys.settrace(unload)
    try:
        found = model.fingerprint
    finally:
        sys.settrace(None)
    assert found == expected


def test_a_failed_load_is_tried_again(copied):
    folder = copied("dense")
    encoder = load_encoder(folder)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    try:
        encoder.encode_queries(["질의"])
    except Exception:
        weights.write_bytes(whole)
    assert encoder.encode_queries(["질의"]).shape == (1, encoder.dim)


def test_no_batch_is_begun_after_one_has_failed(monkeypatch):
    encoder = load_encoder("mini-dense", device="cpu", batch_tokens=16)
    encoder.encode_documents(["가"])
    begun = []

    def fail(self, features, task):
        begun.append(1)
        raise MemoryError

    monkeypatch.setattr(Pipeline, "compute", fail)
    with pytest.raises(MemoryError):
        encoder.encode_documents([f"{number}번 민원 창구 안내" for number in range(200)])
    assert len(begun) < 20
