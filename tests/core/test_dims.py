"""Shorter vectors: ``dim=`` of dense models, a saved ``truncate_dim``, and the ``max_active_dims`` of sparse ones."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assertions import assert_bilingual, assert_same
from checkpoints import HIDDEN, edit_json

from korag import Collection, load_encoder
from korag.errors import CheckpointError, FingerprintError, UnknownDimError

# peft's, where an adapter is made
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

TEXTS = ["전세 보증금 반환 절차", "도서관은 월요일에 쉰다.", "GPU 서버 3대를 새벽에 점검한다."]
SETTINGS = "config_sentence_transformers.json"


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def dense_reference(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def resaved(folder: Path, **settings: object) -> Path:
    """sentence-transformers' own save of a dense folder, with further settings."""
    from sentence_transformers import SentenceTransformer

    target = folder.with_name(folder.name + "-saved")
    SentenceTransformer(str(folder), device="cpu", local_files_only=True, **settings).save_pretrained(
        str(target), create_model_card=False
    )
    return target


class TestDimOfDenseModels:
    @pytest.mark.parametrize("dim", [1, 8, HIDDEN - 1])
    @pytest.mark.parametrize("layout", ["dense", "roberta", "lora"])
    def test_it_is_the_first_numbers_at_unit_length_if_the_model_s_are(self, built, layout, dim):
        whole, cut = (load_encoder(built(layout), dim=size, dtype="float32") for size in (None, dim))
        expected = whole.encode_documents(TEXTS)[:, :dim]
        expected = unit(expected) if whole.fingerprint.normalized else expected
        assert cut.dim == dim
        assert cut.encode_documents(TEXTS).shape == (3, dim)
        np.testing.assert_allclose(cut.encode_documents(TEXTS), expected, atol=1e-6)
        assert cut.encode_documents([]).shape == (0, dim)

    def test_it_equals_the_reference_s_truncated_and_normalised_vectors(self, built):
        encoder = load_encoder(built("dense"), dim=8, dtype="float32")
        reference = dense_reference(built("dense"))
        expected = reference.encode(TEXTS, prompt="query: ", truncate_dim=8, normalize_embeddings=True)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)

    def test_it_is_part_of_the_fingerprint_and_of_the_load_arguments(self, built, tmp_path):
        whole, cut = load_encoder(built("dense")), load_encoder(built("dense"), dim=8)
        assert cut.fingerprint.differences(whole.fingerprint) == {"dim": (8, HIDDEN)}
        assert load_encoder(built("dense"), dim=HIDDEN).fingerprint == whole.fingerprint
        assert load_encoder(**json.loads(json.dumps(cut.load_arguments))).fingerprint == cut.fingerprint
        unpickled = pickle.loads(pickle.dumps(cut))  # noqa: S301 (its own)
        assert_same(unpickled.encode_queries(TEXTS), cut.encode_queries(TEXTS))
        cut.save(tmp_path / "copy")
        assert load_encoder(tmp_path / "copy", dim=8).fingerprint == cut.fingerprint

    def test_models_of_several_dims_share_their_weights(self, built):
        whole, cut = (load_encoder(built("dense"), dim=size, dtype="float32") for size in (None, 8))
        assert cut.load() is whole.load()

    def test_a_collection_takes_it_and_refuses_another(self, built, tmp_path):
        with Collection.open(tmp_path / "c", encoders=[load_encoder(built("dense"), dim=8)]) as collection:
            collection.add(TEXTS)
            assert collection.search("보증금", k=1)
        with pytest.raises(FingerprintError) as caught:
            Collection.open(tmp_path / "c", encoders=[load_encoder(built("dense"), dim=16)])
        assert_bilingual(caught.value, "dim", "8", "16")
        with Collection.open(tmp_path / "c", load_stored_models=True) as collection:
            assert collection.search("보증금", k=1)

    @pytest.mark.parametrize("dim", [0, -8, HIDDEN + 1, 10**9, 8.0, "8", True, [8]])
    def test_a_dim_that_is_none_is_an_error_with_the_model_s_size(self, copied, dim):
        folder = copied("dense")
        (folder / "model.safetensors").write_bytes(b"never read")
        with pytest.raises(UnknownDimError) as caught:
            load_encoder(folder, dim=dim)
        assert_bilingual(caught.value, f"dim={dim!r}", str(HIDDEN))

    def test_numpy_s_integers_count(self, built):
        encoder = load_encoder(built("dense"), dim=np.int64(8))
        assert json.dumps(encoder.load_arguments)
        assert encoder.dim == 8


class TestSavedTruncateDim:
    @pytest.mark.parametrize("layout", ["dense", "roberta"])
    def test_it_equals_the_reference(self, copied, layout):
        folder = resaved(copied(layout), truncate_dim=8)
        encoder, reference = load_encoder(folder, dtype="float32"), dense_reference(folder)
        expected = reference.encode_document(TEXTS)
        assert encoder.dim == expected.shape[1] == 8
        np.testing.assert_allclose(
            encoder.encode_documents(TEXTS), reference.encode(TEXTS, prompt=encoder.prompts["document"]), atol=1e-5
        )
        assert not encoder.fingerprint.normalized  # cut after Normalize, in sentence-transformers too

    def test_another_dim_can_be_chosen(self, copied):
        folder = copied("dense")
        whole = load_encoder(folder, dtype="float32").encode_documents(TEXTS)
        edit_json(folder / SETTINGS, truncate_dim=8)
        for dim in (4, 16, HIDDEN):
            encoder = load_encoder(folder, dim=dim, dtype="float32")
            np.testing.assert_allclose(encoder.encode_documents(TEXTS), unit(whole[:, :dim]), atol=1e-6)
            assert encoder.fingerprint.normalized
        with pytest.raises(UnknownDimError) as caught:
            load_encoder(folder, dim=HIDDEN + 1)
        assert_bilingual(caught.value, str(HIDDEN))

    def test_load_arguments_and_a_saved_copy_keep_it(self, copied, tmp_path):
        encoder = load_encoder(resaved(copied("dense"), truncate_dim=8))
        again = load_encoder(**encoder.load_arguments)
        assert again.fingerprint == encoder.fingerprint
        assert_same(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
        encoder.save(tmp_path / "copy")
        assert load_encoder(tmp_path / "copy").fingerprint == encoder.fingerprint

    @pytest.mark.parametrize("saved", [HIDDEN, 10**6])
    def test_one_that_cuts_nothing_changes_nothing(self, copied, saved):
        folder = copied("dense")
        whole = load_encoder(folder)
        edit_json(folder / SETTINGS, truncate_dim=saved)
        encoder = load_encoder(folder)
        assert (encoder.dim, encoder.fingerprint.normalized) == (HIDDEN, True)
        assert_same(encoder.encode_documents(TEXTS), whole.encode_documents(TEXTS))

    @pytest.mark.parametrize("saved", [0, -1, 8.5, "8", [8]])
    @pytest.mark.parametrize("trusted", [False, True])
    def test_one_that_is_no_number_of_dimensions_is_an_error(self, copied, saved, trusted):
        folder = copied("dense")
        edit_json(folder / SETTINGS, truncate_dim=saved)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder, trust_remote_code=trusted)
        assert_bilingual(caught.value, "truncate_dim", str(saved))


class TestMaxActiveDims:
    @pytest.mark.parametrize(("layout", "saved"), [("splade", 5), ("sparse_autoencoder", 3)])
    def test_it_equals_the_reference(self, copied, layout, saved):
        from sentence_transformers import SparseEncoder

        folder = copied(layout)
        whole = load_encoder(folder)
        edit_json(folder / SETTINGS, max_active_dims=saved)
        reference = SparseEncoder(str(folder), device="cpu", local_files_only=True)
        assert reference.max_active_dims == saved
        encoder = load_encoder(folder, dtype="float32")
        for found, expected in (
            (encoder.encode_queries(TEXTS), reference.encode_query(TEXTS)),
            (encoder.encode_documents(TEXTS), reference.encode_document(TEXTS)),
        ):
            np.testing.assert_allclose(found.toarray(), expected.to_dense().numpy(), atol=1e-5)
            assert np.diff(found.indptr).max() <= saved
        assert encoder.fingerprint != whole.fingerprint
        assert load_encoder(**encoder.load_arguments).fingerprint == encoder.fingerprint

    def test_the_number_that_an_autoencoder_keeps_anyway_leaves_the_fingerprint(self, copied):
        from korag.checkpoints.fingerprint import digest_folders

        folder = copied("sparse_autoencoder")
        assert json.loads((folder / SETTINGS).read_text())["max_active_dims"] == 8
        assert load_encoder(folder).fingerprint.weights == digest_folders(folder)
