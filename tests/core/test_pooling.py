"""Bare backbones: the pooling that none of their files says, and ``pooling=``."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assertions import assert_bilingual, assert_same
from checkpoints import DOCUMENT_PROMPT, HIDDEN, QUERY_PROMPT, backbone, bare_bert, lora_base

from korag import Collection, load_encoder
from korag.encoders.load import as_encoder
from korag.errors import CheckpointError, InvalidArgumentError

# peft's, where an adapter is made
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

TEXTS = ["세입자는 두 달 전까지 알려야 한다.", "짧은 글", "GPU 서버는 새벽 두 시에 점검하고, 그동안 접속할 수 없다."]
MODES = ["cls", "mean", "max", "lasttoken"]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "korag")
    return caplog


def messages(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "korag"]


def reference(folder: Path, mode: str, prompt: str = "") -> np.ndarray:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(HIDDEN, mode)], device="cpu")
    return model.encode([prompt + text for text in TEXTS])


class TestPooling:
    @pytest.mark.parametrize("mode", MODES)
    def test_it_equals_the_reference_s_pooling(self, built, mode, log):
        encoder = load_encoder(built("bare_bert"), family="dense", pooling=mode, dtype="float32")
        np.testing.assert_allclose(encoder.encode_documents(TEXTS), reference(built("bare_bert"), mode), atol=1e-5)
        assert messages(log) == []

    def test_the_modes_differ(self, built):
        made = [
            load_encoder(built("bare_bert"), family="dense", pooling=mode).encode_documents(TEXTS) for mode in MODES
        ]
        for one, left in enumerate(made):
            assert all(np.abs(left - right).max() > 1e-3 for right in made[:one])

    @pytest.mark.parametrize(("kind", "default"), [("bert", "mean"), ("qwen3", "lasttoken")])
    def test_without_it_a_warning_names_the_reference_s_choice(self, tmp_path, kind, default, log):
        from transformers import AutoModel, AutoModelForCausalLM

        auto = AutoModelForCausalLM if kind == "qwen3" else AutoModel
        backbone(tmp_path / "model", kind, auto=auto, num_key_value_heads=2, head_dim=16)
        encoder = load_encoder(tmp_path / "model", family="dense", dtype="float32")
        (message,) = messages(log)
        for word in (default, "pooling='cls'", "'lasttoken'", "풀링 방식", "No file of"):
            assert word in message
        np.testing.assert_allclose(encoder.encode_documents(TEXTS), reference(tmp_path / "model", default), atol=1e-5)

    def test_the_default_has_the_fingerprint_that_it_always_had(self, built):
        from korag.checkpoints.fingerprint import digest_folders

        prints = {mode: load_encoder(built("bare_bert"), family="dense", pooling=mode).fingerprint for mode in MODES}
        plain = load_encoder(built("bare_bert"), family="dense").fingerprint
        assert plain.weights == digest_folders(built("bare_bert"))
        assert prints["mean"] == plain
        assert len({str(fingerprint) for fingerprint in prints.values()}) == len(MODES)
        assert {*prints["cls"].differences(plain)} == {"weights"}

    def test_models_of_other_poolings_share_no_weights(self, built):
        settings: dict[str, Any] = {"family": "dense", "dtype": "float32"}
        plain = load_encoder(built("bare_bert"), **settings)
        mean = load_encoder(built("bare_bert"), pooling="mean", **settings)
        largest = load_encoder(built("bare_bert"), pooling="max", **settings)
        assert plain.load() is mean.load()
        assert plain.load() is not largest.load()

    @pytest.mark.parametrize("mode", [None, "cls"])
    def test_load_arguments_and_a_saved_copy_keep_it(self, built, tmp_path, mode):
        encoder = load_encoder(built("bare_bert"), family="dense", pooling=mode)
        arguments = json.loads(json.dumps(encoder.load_arguments))
        assert ("pooling" in arguments) == (mode is not None)
        assert load_encoder(**arguments).fingerprint == encoder.fingerprint
        encoder.save(tmp_path / "copy")
        again = load_encoder(tmp_path / "copy", family="dense", pooling=mode)
        assert again.fingerprint == encoder.fingerprint
        assert_same(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS))

    def test_a_collection_remembers_it(self, built, tmp_path):
        encoder = load_encoder(built("bare_bert"), family="dense", pooling="cls")
        with Collection.open(tmp_path / "collection", encoders=[encoder]) as collection:
            collection.add(TEXTS)
        with Collection.open(tmp_path / "collection", load_stored_models=True) as collection:
            hit = collection.search(TEXTS[0], k=1)[0]
        assert (hit.text, round(hit.score, 3)) == (TEXTS[0], 1)

    def test_a_loaded_encoder_must_have_been_loaded_with_it(self, built):
        encoder = load_encoder(built("bare_bert"), family="dense", pooling="cls")
        assert as_encoder(encoder, pooling="cls") is encoder
        default = load_encoder(built("bare_bert"), family="dense")
        assert as_encoder(default, pooling="mean") is default
        for other in (encoder, load_encoder(built("dense"))):
            with pytest.raises(InvalidArgumentError) as caught:
                as_encoder(other, pooling="max")
            assert_bilingual(caught.value, "pooling='max'")


class TestWhereItIsInvalid:
    @pytest.mark.parametrize(
        "layout", ["dense", "lora", "splade", "sparse_autoencoder", "pylate", "stanford", "native"]
    )
    def test_a_model_that_says_how_its_vectors_are_made_refuses_it(self, built, layout):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built(layout), pooling="mean")
        assert_bilingual(caught.value, "pooling='mean'", layout, "modules.json")

    @pytest.mark.parametrize("value", ["avg", "weightedmean", ["cls"], True, 1, ""])
    def test_an_unknown_mode_lists_the_modes(self, built, value):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("bare_bert"), family="dense", pooling=value)
        assert_bilingual(caught.value, "pooling=", "'cls', 'mean', 'max', 'lasttoken'")


class TestAdapterOfABareBase:
    @pytest.fixture
    def adapter(self, tmp_path) -> Path:
        """A PEFT folder alone, on a backbone without ``modules.json``."""
        from checkpoints import bare_lora

        folder = tmp_path / "lora"
        bare_lora(folder)
        base = lora_base(folder)
        for extra in ("modules.json", "1_Pooling", "sentence_bert_config.json", "config_sentence_transformers.json"):
            shutil.rmtree(base / extra) if (base / extra).is_dir() else (base / extra).unlink(missing_ok=True)
        return folder

    def test_without_pooling_the_error_comes_at_once_and_names_it(self, adapter):
        with pytest.raises(CheckpointError) as caught:
            load_encoder(adapter)
        assert_bilingual(caught.value, "pooling=", "'lasttoken'", "modules.json", "lora-base")

    @pytest.mark.parametrize("mode", MODES)
    def test_with_it_the_vectors_are_those_of_the_merged_model(self, adapter, tmp_path, mode):
        from peft import PeftModel
        from transformers import AutoModel

        base = lora_base(adapter)
        shutil.copytree(base, merged := tmp_path / "merged")
        PeftModel.from_pretrained(AutoModel.from_pretrained(base), str(adapter)).merge_and_unload().save_pretrained(
            merged
        )
        encoder = load_encoder(base, adapter=adapter, pooling=mode, query_prompt=QUERY_PROMPT, dtype="float32")
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), reference(merged, mode, QUERY_PROMPT), atol=1e-5)
        assert load_encoder(**encoder.load_arguments).fingerprint == encoder.fingerprint
        other = load_encoder(adapter, pooling="cls" if mode != "cls" else "max", query_prompt=QUERY_PROMPT)
        assert other.fingerprint != encoder.fingerprint

    def test_a_saved_copy_loads_in_the_same_way(self, adapter, tmp_path):
        encoder = load_encoder(adapter, pooling="max", document_prompt=DOCUMENT_PROMPT)
        encoder.save(tmp_path / "copy")
        again = load_encoder(tmp_path / "copy", pooling="max")
        assert_same(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))


def test_bare_folders_are_dense_models_only_on_request(tmp_path):
    bare_bert(tmp_path / "model")
    with pytest.raises(CheckpointError) as caught:
        load_encoder(tmp_path / "model", pooling="cls")
    assert_bilingual(caught.value, "family='dense'")
