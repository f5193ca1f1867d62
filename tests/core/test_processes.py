"""Encoding in several processes gives the same vectors as in one, and reports errors."""

import pickle

import numpy as np
import pytest

from korag import Collection, load_encoder
from korag.errors import CheckpointError, InvalidArgumentError

pytestmark = pytest.mark.slow

TEXTS = [f"{number}번 창구에서 전입 신고를 받습니다. " * (1 + number % 5) for number in range(40)]


def rows(vectors) -> list[np.ndarray]:
    return vectors if isinstance(vectors, list) else list(vectors.toarray() if hasattr(vectors, "toarray") else vectors)


@pytest.mark.parametrize(("name", "devices"), [("mini-colbert", ["cpu", "cpu"]), ("mini-splade", ["cpu"])])
def test_the_same_vectors_in_order(name, devices):
    encoder = load_encoder(name, device="cpu", dtype="float32", batch_tokens=200)
    expected = rows(encoder.encode_documents(TEXTS))
    collection = Collection.in_memory(encoders=[encoder])
    with encoder.processes(devices) as same:
        assert same is encoder
        found = rows(encoder.encode_documents(TEXTS))
        streamed = [row for block in encoder.stream_documents(iter(TEXTS), block=15) for row in rows(block)]
        copy = pickle.loads(pickle.dumps(encoder))  # noqa: S301 (our own, just made)
        ids = collection.add(TEXTS)
    for one, two, three in zip(expected, found, streamed, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)
        np.testing.assert_allclose(three, one, atol=1e-5)
    assert copy.fingerprint == encoder.fingerprint
    np.testing.assert_allclose(rows(encoder.encode_documents(TEXTS))[3], expected[3], atol=1e-5)  # and after it
    plain = Collection.in_memory(encoders=[encoder])
    plain.add(TEXTS, ids=ids)
    for one, other in zip(plain.search("5번 창구", k=9), collection.search("5번 창구", k=9), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("devices", [[], "cpu", [0], None])
def test_devices_are_a_list_of_names(devices):
    encoder = load_encoder("mini-dense", device="cpu")
    with pytest.raises(InvalidArgumentError, match="devices="), encoder.processes(devices):
        pass


def test_a_backend_of_the_cpu_takes_no_gpu():
    pytest.importorskip("onnxruntime")
    encoder = load_encoder("mini-dense", backend="onnx")
    with pytest.raises(InvalidArgumentError, match="runs on the CPU only"), encoder.processes(["cpu", "cuda:0"]):
        pass


def test_not_twice_at_once():
    encoder = load_encoder("mini-dense", device="cpu")
    with encoder.processes(["cpu"]):
        with pytest.raises(InvalidArgumentError, match="do not nest"), encoder.processes(["cpu"]):
            pass
        assert len(encoder.encode_documents(["가"])) == 1
    with encoder.processes(["cpu"]):  # but again afterwards
        pass


def test_a_device_that_is_not_there():
    encoder = load_encoder("mini-dense", device="cpu", batch_tokens=20)
    expected = pytest.raises(CheckpointError, match=r"could not be loaded.*device=.cuda:7. on this machine")
    with encoder.processes(["cuda:7"]), expected:
        encoder.encode_documents(TEXTS[:4])
