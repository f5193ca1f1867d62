"""ONNX Runtime and OpenVINO give the same vectors as torch, for every layout."""

import copy
import logging
import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from assertions import assert_bilingual, cosines, dense_rows
from checkpoints import LAYOUTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentences import DOCUMENTS, LONG

from korag import CrossEncoderReranker, LateInteractionEncoder, load_encoder
from korag.encoders import engines
from korag.errors import CheckpointError, InvalidArgumentError

# peft's, at every load of an adapter
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]
TEXTS = [*DOCUMENTS, "", " ", "가", "a", "1", LONG, LONG * 20, "보증금 " * 30]
MINIS = ("mini-colbert", "mini-dense", "mini-splade")
_load = cache(load_encoder)


@pytest.fixture(params=["onnx", "openvino"])
def backend(request):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime" if request.param == "onnx" else "openvino")
    return request.param


def assert_same_vectors(exact, found) -> None:
    if isinstance(exact, list):
        assert [row.shape for row in exact] == [row.shape for row in found]
    left, right = dense_rows(exact), dense_rows(found)
    assert right.dtype == np.float32
    assert cosines(left, right).min(initial=1) >= 0.9999
    np.testing.assert_array_equal((left != 0).any(axis=1), (right != 0).any(axis=1))


class TestSameVectors:
    @pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"bare_lora", "matryoshka_safetensors"}))
    def test_every_layout(self, built, backend, layout):
        plain, encoder = load_encoder(built(layout), device="cpu"), load_encoder(built(layout), backend=backend)
        for texts in (TEXTS, ["가"], [""]):
            assert_same_vectors(plain.encode_queries(texts), encoder.encode_queries(texts))
            assert_same_vectors(plain.encode_documents(texts), encoder.encode_documents(texts))
        assert encoder.fingerprint == plain.fingerprint
        assert encoder.deviation.least >= 0.9999
        assert "dtype='auto (float32)'" in repr(encoder) or encoder.dtype == "bfloat16"

    @pytest.mark.parametrize("name", MINIS)
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(texts=st.lists(st.text("가나다라마바사 abc123.,!", max_size=200), min_size=1, max_size=9))
    def test_the_shipped_models_with_any_texts(self, backend, name, texts):
        plain, encoder = _load(name, dtype="float32"), _load(name, backend=backend, dtype="float32")
        assert_same_vectors(plain.encode_documents(texts), encoder.encode_documents(texts))
        assert_same_vectors(plain.encode_queries(texts), encoder.encode_queries(texts))

    @pytest.mark.parametrize("dim", [32, 96, 128])
    def test_a_matryoshka_dimension(self, backend, dim):
        plain, encoder = _load("mini-colbert", dim=dim), _load("mini-colbert", dim=dim, backend=backend)
        assert_same_vectors(plain.encode_documents(TEXTS), encoder.encode_documents(TEXTS))

    def test_a_cross_encoder(self, cross_encoder_folder, backend):
        plain, reranker = (
            CrossEncoderReranker(cross_encoder_folder, device="cpu", backend=name, dtype="float32")
            for name in ("torch", backend)
        )
        for query in ("보증금은 언제 돌려받나요?", "가"):
            expected = dict(plain.rerank(query, TEXTS))
            assert dict(reranker.rerank(query, TEXTS)) == pytest.approx(expected, abs=1e-4)
        assert repr(reranker).endswith(f"backend={backend!r})")

    def test_many_threads(self, backend):
        encoder = _load("mini-colbert", backend=backend)
        texts = [[f"{text} " * (1 + number % 5)] for number, text in enumerate(DOCUMENTS * 3)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(encoder.encode_documents, texts))
        for each, rows in zip(texts, found, strict=True):
            assert_same_vectors(encoder.encode_documents(each), rows)


class TestInt8:
    @pytest.mark.parametrize("name", MINIS)
    def test_it_says_how_far_vectors_are_from_float32(self, backend, name, caplog):
        plain, encoder = _load(name), load_encoder(name, backend=backend, dtype="int8")
        assert encoder.deviation is None
        with caplog.at_level(logging.INFO, logger="korag"):
            found = encoder.encode_documents(DOCUMENTS)
        assert str(encoder.deviation) in caplog.text
        assert 0.99 < encoder.deviation.mean < 1
        similar = cosines(plain.encode_documents(DOCUMENTS), found)
        assert similar.mean() == pytest.approx(encoder.deviation.mean, abs=0.01)
        assert (encoder.dtype, "dtype='int8'" in repr(encoder)) == ("int8", True)
        if isinstance(encoder, LateInteractionEncoder):
            np.testing.assert_allclose(np.linalg.norm(dense_rows(found), axis=1), 1, atol=1e-6)


class TestFiles:
    def test_nothing_is_written_to_the_model_folder_or_left_anywhere(self, copied, backend, tmp_path, monkeypatch):
        folder, temporary = copied("matryoshka"), tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        before = sorted(folder.rglob("*"))
        folder.chmod(0o555)
        load_encoder(folder, backend=backend).encode_queries(["가"])
        folder.chmod(0o755)
        assert sorted(folder.rglob("*")) == before
        assert list(temporary.iterdir()) == []

    def test_pickles_hold_no_weights(self, backend):
        encoder = _load("mini-dense", backend=backend)
        expected = encoder.encode_queries(DOCUMENTS)
        pickled = pickle.dumps(encoder)
        assert len(pickled) < 5_000
        assert copy.deepcopy(encoder) is encoder
        again = pickle.loads(pickled)  # noqa: S301
        np.testing.assert_array_equal(again.encode_queries(DOCUMENTS), expected)

    def test_weights_of_another_backend_alone_are_not_enough(self, copied):
        folder = copied("dense")
        (folder / "model.safetensors").rename(folder / "model.onnx")
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, "model.safetensors")


class TestMistakes:
    def test_an_export_that_computes_something_else(self, built, backend, monkeypatch):
        forward = engines.EngineBackbone.forward
        monkeypatch.setattr(
            engines.EngineBackbone,
            "forward",
            lambda self, **inputs: {name: out.roll(1, -1) for name, out in forward(self, **inputs).items()},
        )
        with pytest.raises(CheckpointError) as caught:
            load_encoder(built("dense"), backend=backend).encode_queries(["가"])
        assert_bilingual(caught.value, f"backend={backend!r}", "backend='torch'", "cosine")

    def test_an_architecture_that_cannot_be_exported(self, built, backend, monkeypatch):
        def fails(*_, **__):
            raise RuntimeError("no such operator")

        monkeypatch.setattr(torch.onnx, "export", fails)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(built("pylate"), backend=backend).encode_queries(["가"])
        assert_bilingual(caught.value, "no such operator", f"backend={backend!r}", "backend='torch'")

    def test_bfloat16_that_the_processor_lacks(self, built):
        openvino = pytest.importorskip("openvino")
        pytest.importorskip("onnx")
        encoder = load_encoder(built("dense"), backend="openvino", dtype="bfloat16")
        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            encoder.encode_queries(["가"])
            assert encoder.dtype == "bfloat16"
        else:
            with pytest.raises(InvalidArgumentError) as caught:
                encoder.encode_queries(["가"])
            assert_bilingual(caught.value, "dtype='bfloat16'", "backend='openvino'")

    def test_a_model_without_a_transformer(self, tmp_path, backend):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Dense
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
        from tokenizers import Tokenizer

        from korag.checkpoints.bundled import shipped_models

        words = Tokenizer.from_file(str(Path(shipped_models()["mini-dense"]) / "tokenizer.json"))
        folder = tmp_path / "static"
        modules = [StaticEmbedding(words, embedding_dim=16), Dense(16, 8)]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(folder, backend=backend).encode_queries(["가"])
        assert_bilingual(caught.value, f"backend={backend!r}")
