"""``backend="auto"``: what it takes, what it says of that, and that nothing but the speed depends on it."""

import logging
import pickle

import numpy as np
import pytest
import torch
from assertions import assert_bilingual, cosines, dense_rows
from chat_checkpoints import chat_cross_encoder
from layouts.bge_m3 import bge_m3
from sentences import DOCUMENTS

from korag import Collection, CrossEncoderReranker, load_encoder
from korag.encoders import automatic, linear_heads, precision
from korag.errors import InvalidArgumentError

pytestmark = pytest.mark.slow
QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture
def vnni(monkeypatch):
    """A processor that is fast with bytes, but not with 16 bits. Small random models lose more by rounding."""
    for module in (automatic, precision):
        monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(automatic, "cpu_has_vnni", lambda: True)
    monkeypatch.setattr(automatic, "MIN_COSINE", 0.9)


@pytest.fixture(params=["onnx", "openvino"])
def engine(request, vnni, monkeypatch):
    """The engine that is taken; ONNX Runtime stands in for OpenVINO, so that this is tested where only it is."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime" if request.param == "onnx" else "openvino")
    monkeypatch.setattr(automatic, "ENGINE", request.param)
    monkeypatch.setattr(automatic, "SMALL", 0)  # some of the small models are light ones
    return request.param


class TestTaken:
    @pytest.mark.parametrize("layout", ["dense", "splade", "pylate"])
    def test_int8_where_it_is_faster(self, built, engine, layout, caplog):
        exact, encoder = load_encoder(built(layout), device="cpu"), load_encoder(built(layout), backend="auto")
        assert encoder.runtime is None
        assert "backend='auto')" in repr(encoder)
        with caplog.at_level(logging.INFO, logger="korag"):
            found = encoder.encode_documents(DOCUMENTS)
        assert cosines(exact.encode_documents(DOCUMENTS), found).mean() > 0.9
        assert (encoder.runtime.backend, encoder.runtime.dtype, encoder.runtime.reason) == (engine, "int8", None)
        assert 0.9 <= encoder.deviation.least < 1
        assert f"backend='auto': {engine}, int8, {encoder.deviation}" in caplog.text
        assert f"dtype='auto (int8)', backend='auto ({engine})')" in repr(encoder)
        assert encoder.is_light is False

    def test_a_cross_encoder(self, cross_encoder_folder, engine):
        exact, reranker = (
            CrossEncoderReranker(cross_encoder_folder, device="cpu", backend=name) for name in ("torch", "auto")
        )
        assert dict(reranker.rerank(QUERY, DOCUMENTS)) == pytest.approx(dict(exact.rerank(QUERY, DOCUMENTS)), abs=0.05)
        assert reranker.runtime.backend == engine
        assert repr(reranker).endswith(f"backend='auto ({engine})')")

    def test_a_large_light_model(self, engine):
        encoder = load_encoder("mini-dense", backend="auto", device="cpu")
        encoder.encode_queries([QUERY])
        assert (encoder.runtime.backend, encoder.is_light) == (engine, False)

    @pytest.mark.parametrize("family", ["dense", "sparse", "late_interaction"])
    def test_the_families_of_bge_m3(self, engine, tmp_path, family):
        bge_m3(tmp_path / "m3")
        encoder = load_encoder(tmp_path / "m3", family=family, backend="auto", device="cpu")
        encoder.encode_queries([QUERY])
        if family != "dense" and encoder.runtime.backend == "torch":  # a head of a random model may be too sensitive
            assert_bilingual_reason(encoder.runtime.reason, "cosine")
        else:
            assert (encoder.runtime.backend, encoder.runtime.dtype) == (engine, "int8")

    def test_torch_is_torch_when_it_is_asked_for(self, built, engine):
        encoder = load_encoder(built("dense"), device="cpu", backend="torch")
        encoder.encode_queries([QUERY])
        assert (encoder.runtime.backend, encoder.runtime.dtype, encoder.runtime.reason) == ("torch", "float32", None)


class TestRefused:
    def test_vectors_that_are_too_far(self, built, engine, monkeypatch, caplog):
        monkeypatch.setattr(automatic, "MIN_COSINE", 1.1)
        exact, encoder = load_encoder(built("dense"), device="cpu"), load_encoder(built("dense"), backend="auto")
        with caplog.at_level(logging.INFO, logger="korag"):
            found = encoder.encode_documents(DOCUMENTS)
        np.testing.assert_array_equal(found, exact.encode_documents(DOCUMENTS))
        assert (encoder.runtime.backend, encoder.runtime.dtype, encoder.deviation) == ("torch", "float32", None)
        assert_bilingual_reason(encoder.runtime.reason, "cosine", "limit 1.1")
        assert encoder.runtime.reason in caplog.text
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    def test_vectors_of_a_head_that_are_too_far(self, engine, tmp_path, monkeypatch):
        monkeypatch.setattr(linear_heads, "MIN_COSINE", 1.1)
        bge_m3(tmp_path / "m3")
        exact, encoder = (
            load_encoder(tmp_path / "m3", family="late_interaction", backend=name, device="cpu")
            for name in ("torch", "auto")
        )
        np.testing.assert_array_equal(*(dense_rows(each.encode_documents(DOCUMENTS)) for each in (exact, encoder)))
        assert (encoder.runtime.backend, encoder.runtime.dtype) == ("torch", "float32")
        assert_bilingual_reason(encoder.runtime.reason, "cosine")

    def test_an_export_that_fails_is_a_warning_and_a_reason(self, built, engine, monkeypatch, caplog):
        def fails(*_, **__):
            raise RuntimeError("no such operator")

        monkeypatch.setattr(torch.onnx, "export", fails)
        exact, encoder = load_encoder(built("pylate"), device="cpu"), load_encoder(built("pylate"), backend="auto")
        for _ in range(2):
            found = encoder.encode_queries([QUERY])
        np.testing.assert_array_equal(dense_rows(found), dense_rows(exact.encode_queries([QUERY])))
        warned = [record.getMessage() for record in caplog.records if "no such operator" in record.getMessage()]
        assert len(warned) == 1
        assert "does not run on OpenVINO" in warned[0]
        assert_bilingual_reason(encoder.runtime.reason, "no such operator")

    def test_an_installation_that_is_broken(self, built, engine, monkeypatch, caplog):
        def fails(*_, **__):
            raise ImportError("libgomp.so.1: cannot open shared object file")

        monkeypatch.setattr("korag.encoders.engines.require", fails)
        encoder = load_encoder(built("dense"), backend="auto", device="cpu")
        encoder.encode_queries([QUERY])
        assert (encoder.runtime.backend, "libgomp" in encoder.runtime.reason) == ("torch", True)
        assert "libgomp" in caplog.text

    def test_a_small_light_model_stays_one(self, vnni):
        encoder = load_encoder("mini-dense", backend="auto", device="cpu")
        encoder.encode_queries([QUERY])
        assert encoder.is_light
        assert "backend='auto (torch, light)'" in repr(encoder)
        assert_bilingual_reason(encoder.runtime.reason, "parameters")

    @pytest.mark.parametrize(
        ("changed", "settings", "said"),
        [
            ({"cpu_has_bfloat16": lambda: True}, {}, "bfloat16"),
            ({"cpu_has_vnni": lambda: False}, {}, "AVX512-VNNI"),
            ({"is_pylates": lambda: True}, {}, "PyLate"),
            ({"PACKAGES": {"openvino": ("no_such_package",)}}, {}, "pip install 'korag[openvino]'"),
            ({}, {"dtype": "float32"}, "dtype='float32'"),
            ({"find_device": lambda _: "cuda:0"}, {}, "cuda:0"),
        ],
    )
    def test_reasons(self, built, vnni, monkeypatch, changed, settings, said):
        monkeypatch.setattr(automatic, "PACKAGES", {"openvino": ("json",)})
        for name, value in changed.items():
            monkeypatch.setattr(automatic, name, value)
        encoder = load_encoder(built("dense"), device="cpu", backend="auto", **settings)
        encoder.encode_queries([QUERY])
        assert (encoder.runtime.backend, encoder.runtime.dtype) == ("torch", "float32")
        assert_bilingual_reason(encoder.runtime.reason, said)

    @pytest.mark.parametrize(
        ("changed", "said"),
        [({"cpu_has_bfloat16": lambda: True}, "bfloat16"), ({"cpu_has_vnni": lambda: False}, "AVX512-VNNI")],
    )
    def test_a_package_that_would_change_nothing_is_not_asked_for(self, built, vnni, monkeypatch, changed, said):
        monkeypatch.setattr(automatic, "PACKAGES", {"openvino": ("no_such_package",)})
        for name, value in changed.items():
            monkeypatch.setattr(automatic, name, value)
        encoder = load_encoder(built("dense"), device="cpu", backend="auto")
        encoder.encode_queries([QUERY])
        assert_bilingual_reason(encoder.runtime.reason, said)

    def test_a_generative_reranker(self, tmp_path, vnni, monkeypatch):
        chat_cross_encoder(tmp_path / "chat")
        reranker = CrossEncoderReranker(tmp_path / "chat", backend="auto", device="cpu")
        reranker.rerank(QUERY, DOCUMENTS[:2])
        assert_bilingual_reason(reranker.runtime.reason, "generative")


class TestNothingElseChanges:
    def test_collections_open_with_either(self, built, engine, tmp_path):
        encoders = [load_encoder(built("dense"), backend=name, device="cpu") for name in ("torch", "auto")]
        assert encoders[0].fingerprint == encoders[1].fingerprint
        for number, (maker, reader) in enumerate((encoders, encoders[::-1])):
            path = tmp_path / f"collection-{number}"
            with Collection.open(path, encoders=[maker]) as collection:
                collection.add(DOCUMENTS)
            with Collection.open(path, encoders=[reader]) as collection:
                assert len(collection.search(QUERY, k=3)) == 3
        assert [encoder.runtime.backend for encoder in encoders] == ["torch", engine]

    def test_nothing_is_written_beside_the_model(self, copied, engine):
        folder = copied("dense")
        before = sorted(folder.rglob("*"))
        folder.chmod(0o555)
        encoder = load_encoder(folder, backend="auto", device="cpu")
        encoder.encode_queries([QUERY])
        folder.chmod(0o755)
        assert (encoder.runtime.backend, sorted(folder.rglob("*"))) == (engine, before)

    def test_pickles_and_unloading(self, built, engine):
        encoder = load_encoder(built("dense"), backend="auto", device="cpu")
        expected = encoder.encode_queries([QUERY])
        again = pickle.loads(pickle.dumps(encoder))  # noqa: S301
        assert again.runtime is None
        np.testing.assert_allclose(again.encode_queries([QUERY]), expected, atol=1e-6)
        encoder.unload()
        assert encoder.runtime is None


class TestMistakes:
    @pytest.mark.parametrize("value", ["automatic", "AUTO", "", None, True])
    def test_no_such_backend(self, built, value):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("dense"), backend=value)
        assert_bilingual(caught.value, f"backend={value!r}", "'auto'", "'openvino'")

    def test_a_precision_of_openvino_needs_openvino(self, built):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("dense"), backend="auto", dtype="int8")
        assert_bilingual(caught.value, "dtype='int8'", "backend='auto'", "'float32'")


def assert_bilingual_reason(reason: str, *parts: str) -> None:
    korean, _, english = reason.partition(" / ")
    assert any("가" <= letter <= "힣" for letter in korean)
    assert not any("가" <= letter <= "힣" for letter in english)
    for part in parts:
        assert part in english
