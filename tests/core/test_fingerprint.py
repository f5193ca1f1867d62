"""Fingerprints: the form they are stored in, what they compare, and which files a digest covers."""

import dataclasses
import json

import pytest
from checkpoints import write_json

from korag import load_encoder
from korag.checkpoints.fingerprint import Fingerprint, digest_folders

BUNDLED = {"mini-colbert": "93cab76e4b49c57f", "mini-splade": "dfb233fb6be133c5", "mini-dense": "4514e947c17a9707"}
FINGERPRINT = Fingerprint(
    model="someone/model", revision="c0ffee", family="dense", weights="0" * 64, dim=8, query_prompt="[Q] ",
    document_prompt="", query_length=32, document_length=None, normalized=True,
)  # fmt: skip


def test_the_stored_form_does_not_change():
    """Collections on disk contain it."""
    assert FINGERPRINT.to_dict() == {
        "model": "someone/model", "revision": "c0ffee", "family": "dense", "weights": "0" * 64, "dim": 8,
        "query_prompt": "[Q] ", "document_prompt": "", "query_length": 32, "document_length": None, "normalized": True,
    }  # fmt: skip
    assert str(FINGERPRINT) == "bd77f0e97e4dfeae"
    assert Fingerprint.from_dict(json.loads(json.dumps(FINGERPRINT.to_dict()))) == FINGERPRINT


@pytest.mark.parametrize(("name", "digest"), BUNDLED.items())
def test_bundled_models_keep_their_fingerprints(name, digest):
    """Collections made with them would not open otherwise."""
    assert str(load_encoder(name).fingerprint) == digest


@pytest.mark.parametrize("field", dataclasses.fields(Fingerprint), ids=lambda field: field.name)
def test_names_and_revisions_do_not_count_and_all_else_does(field):
    value = getattr(FINGERPRINT, field.name)
    changed = dataclasses.replace(FINGERPRINT, **{field.name: not value if isinstance(value, bool) else "other"})
    ignored = field.name in ("model", "revision")
    assert (changed == FINGERPRINT) == (str(changed) == str(FINGERPRINT)) == ignored
    assert set(FINGERPRINT.differences(changed)) == (set() if ignored else {field.name})


class TestDigest:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "model"
        (folder / "1_Pooling").mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "tokenizer.json").write_bytes(b"{}")
        write_json(folder / "config.json", {"hidden_size": 8, "transformers_version": "5.0"})
        write_json(folder / "1_Pooling/config.json", {"pooling_mode": "mean"})
        return folder

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("model.safetensors", b"others"),
            ("tokenizer.json", b'{"a": 1}'),
            ("config.json", b'{"hidden_size": 9}'),
            ("1_Pooling/config.json", b'{"pooling_mode": "cls"}'),
            ("vocab.txt", b"a"),
            ("2_Dense/model.safetensors", b"more"),
        ],
    )
    def test_weights_settings_and_tokenizer_count(self, folder, name, content):
        before = digest_folders(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        assert digest_folders(folder) != before

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("README.md", b"a card"),
            ("config.json", b'{"hidden_size": 8,    "transformers_version": "5.9"}'),
            ("adapter_config.json", b'{"revision": "main"}'),
            ("pytorch_model.bin", b"the same weights again"),
            ("training_args.bin", b"of a trainer"),
            ("onnx/model.safetensors", b"another copy"),
            ("checkpoint-5/model.safetensors", b"of an earlier step"),
            (".cache/model.safetensors", b"of a download"),
        ],
    )
    def test_what_changes_no_vector_does_not(self, folder, name, content):
        before = digest_folders(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        assert digest_folders(folder) == before

    def test_the_folder_s_own_path_does_not_count_and_names_in_it_do(self, folder):
        before = digest_folders(folder)
        moved = folder.rename(folder.with_name("elsewhere"))
        assert digest_folders(moved) == before
        (moved / "1_Pooling").rename(moved / "2_Pooling")
        assert digest_folders(moved) != before

    def test_a_base_inside_its_adapter_s_folder_is_digested_once(self, folder):
        inner = folder / "base"
        inner.mkdir()
        (inner / "model.safetensors").write_bytes(b"base")
        assert digest_folders(folder, inner) != digest_folders(folder)
        assert digest_folders(folder, inner) != digest_folders(inner, folder)  # their order counts
