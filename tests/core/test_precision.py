"""`dtype`: the choice of "auto", the deviation from float32, and how it is reported."""

import copy
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from assertions import assert_bilingual, cosines, dense_rows
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sentences import DOCUMENTS, LONG

from korag import CrossEncoderReranker, LateInteractionEncoder, load_encoder
from korag.encoders import backends, precision
from korag.encoders.precision import Deviation
from korag.errors import InvalidArgumentError

# peft's, at every load of an adapter
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

LAYOUTS = ["dense", "roberta", "lora", "splade", "sparse_autoencoder", "pylate", "matryoshka", "residual", "stanford"]


@pytest.fixture
def fast_bfloat16(monkeypatch):
    """Pretends to be a processor with AMX; torch computes bfloat16 on every processor."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)


@pytest.fixture
def slow_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)


class TestAuto:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_16_bits_where_the_processor_has_them_and_vectors_stay(self, built, layout, fast_bfloat16):
        exact, encoder = (load_encoder(built(layout), device="cpu", dtype=dtype) for dtype in ("float32", "auto"))
        texts = [*DOCUMENTS, "", "가", LONG]
        found = encoder.encode_documents(texts)
        if encoder.dtype == "bfloat16":
            assert cosines(exact.encode_documents(texts), found).mean() >= 0.999
            assert 0.999 <= encoder.deviation.least <= encoder.deviation.mean <= 1 + 1e-9
            assert encoder.deviation.least < 1
        else:  # random weights can be too sensitive for it; then it must be float32 to the last bit
            assert encoder.dtype == "float32"
            assert encoder.deviation is None
            np.testing.assert_array_equal(dense_rows(found), dense_rows(exact.encode_documents(texts)))
        assert dense_rows(found).dtype == np.float32

    @pytest.mark.parametrize("name", ["mini-colbert", "mini-dense", "mini-splade"])
    def test_the_shipped_models_are_run_in_16_bits(self, name, fast_bfloat16):
        exact, encoder = (load_encoder(name, device="cpu", dtype=dtype) for dtype in ("float32", "auto"))
        assert cosines(exact.encode_queries(DOCUMENTS), encoder.encode_queries(DOCUMENTS)).min() > 0.999
        assert encoder.dtype == "bfloat16"

    def test_float32_where_it_has_not(self, built, slow_bfloat16):
        exact, encoder = (load_encoder(built("dense"), device="cpu", dtype=dtype) for dtype in ("float32", "auto"))
        np.testing.assert_array_equal(encoder.encode_queries(DOCUMENTS), exact.encode_queries(DOCUMENTS))
        assert (encoder.dtype, encoder.deviation) == ("float32", None)

    @pytest.mark.parametrize("layout", ["dense", "splade", "matryoshka"])
    def test_float32_untouched_where_16_bits_move_vectors_too_far(self, built, layout, fast_bfloat16, monkeypatch):
        monkeypatch.setattr(backends, "MIN_COSINE", 1.1)
        exact, encoder = (load_encoder(built(layout), device="cpu", dtype=dtype) for dtype in ("float32", "auto"))
        assert encoder.dtype is None
        np.testing.assert_array_equal(
            dense_rows(encoder.encode_documents(DOCUMENTS)), dense_rows(exact.encode_documents(DOCUMENTS))
        )
        assert (encoder.dtype, encoder.deviation) == ("float32", None)

    def test_a_torch_that_says_nothing_of_the_processor(self, monkeypatch):
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            monkeypatch.delattr(torch.cpu, name, raising=False)
        assert precision.cpu_has_bfloat16() is False

    @pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
    def test_either_instruction_will_do(self, name, monkeypatch):
        for each in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            monkeypatch.setattr(torch.cpu, each, lambda each=each: each == name, raising=False)
        assert precision.cpu_has_bfloat16() is True

    def test_a_cross_encoder(self, cross_encoder_folder, fast_bfloat16):
        exact, found = (
            dict(CrossEncoderReranker(cross_encoder_folder, dtype=dtype).rerank("보증금", DOCUMENTS))
            for dtype in ("float32", "auto")
        )
        assert found == pytest.approx(exact, abs=0.02)


class TestShown:
    def test_repr_says_which_was_picked_once_it_is(self, built, fast_bfloat16, monkeypatch):
        encoder = load_encoder(built("dense"), device="cpu")
        assert "dtype='auto'" in repr(encoder)
        encoder.encode_queries(["글"])
        assert f"dtype='auto ({encoder.dtype})'" in repr(encoder)

    def test_repr_of_what_was_asked_for(self, built):
        encoder = load_encoder(built("dense"), dtype="bfloat16")
        assert encoder.dtype == "bfloat16"
        assert "dtype='bfloat16'" in repr(encoder)
        encoder.encode_queries(["글"])
        assert "dtype='bfloat16'" in repr(encoder)

    def test_repr_imports_no_torch(self):
        code = (
            "import sys; from korag import load_encoder; e = load_encoder('mini-dense'); repr(e), e.dtype, e.deviation;"
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_the_deviation_is_logged_and_kept(self, built, caplog):
        encoder = load_encoder(built("dense"), dtype="bfloat16")
        assert encoder.deviation is None
        with caplog.at_level(logging.INFO, logger="korag"):
            encoder.encode_queries(["글"])
        assert str(encoder.deviation) in caplog.text
        assert "bfloat16" in caplog.text

    def test_pickles_and_copies(self, built, fast_bfloat16):
        encoder = load_encoder(built("dense"), device="cpu")
        expected = encoder.encode_queries(DOCUMENTS)
        assert copy.deepcopy(encoder) is encoder
        again = pickle.loads(pickle.dumps(encoder))  # noqa: S301
        assert (again.dtype, again.deviation) == (None, None)
        np.testing.assert_array_equal(again.encode_queries(DOCUMENTS), expected)
        assert (again.dtype, again.fingerprint) == (encoder.dtype, encoder.fingerprint)


class TestChosen:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    @pytest.mark.parametrize("layout", ["dense", "lora", "matryoshka", "residual", "stanford", "native"])
    def test_rows_have_unit_length_in_every_precision(self, built, layout, dtype):
        encoder = load_encoder(built(layout), dtype=dtype)
        if encoder.fingerprint.normalized or isinstance(encoder, LateInteractionEncoder):
            lengths = np.linalg.norm(dense_rows(encoder.encode_documents([*DOCUMENTS, LONG])), axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-6)

    @pytest.mark.parametrize("name", ["mini-colbert", "mini-dense", "mini-splade"])
    def test_long_texts_too(self, name):
        """Rotary positions rounded to 16 bits hardly affect short texts but change long ones a lot."""
        exact, rough = (load_encoder(name, dtype=dtype).encode_documents([LONG]) for dtype in ("float32", "bfloat16"))
        assert cosines(exact, rough).min() > 0.999

    def test_a_precision_that_the_device_lacks_is_an_error_before_weights_are_read(self, built, monkeypatch):
        encoder = load_encoder(built("dense"), device="cpu", dtype="float16")
        monkeypatch.setattr(precision, "_can_multiply", lambda device, dtype: dtype == "float32")
        monkeypatch.setattr(type(encoder), "_load", None)
        with pytest.raises(InvalidArgumentError) as caught:
            encoder.encode_queries(["글"])
        assert_bilingual(caught.value, "'cpu'", "dtype='float16'", "dtype='auto'")

    def test_training_is_in_float32(self, built):
        folder = built("matryoshka")
        model = load_encoder(folder, dtype="bfloat16")._load(folder)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}


class TestDeviation:
    FLOATS = arrays(np.float32, (4, 6), elements=st.floats(-100, 100, width=32))

    @given(FLOATS)
    def test_equal_vectors(self, rows):
        assert Deviation.between(rows, rows.copy()) == Deviation(1.0, 1.0)

    @given(FLOATS, FLOATS)
    def test_it_is_the_cosine(self, left, right):
        found = Deviation.between(left, right)
        assert -1 - 1e-9 <= found.least <= found.mean + 1e-12 <= 1 + 1e-9

    def test_what_is_not_finite_is_far(self):
        exact = np.ones((2, 3), np.float32)
        found = exact.copy()
        found[0] = np.nan
        assert Deviation.between(exact, found) == Deviation(0.5, 0.0)
        found[0] = np.inf
        assert Deviation.between(exact, found).least == 0
        assert Deviation.between(np.zeros_like(exact), exact).least == 0
