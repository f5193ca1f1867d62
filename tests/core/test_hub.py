"""Finding a model's files: a folder, a bundled name, the Hub and its cache."""

import os
import re
import subprocess
import sys

import pytest
import torch
from assertions import HANGUL, assert_bilingual, assert_same
from checkpoints import HIDDEN, Touch, dense, hub_cache
from safetensors.torch import load_file

from korag import load_encoder
from korag.checkpoints.hub import ModelFiles, has_weights, resolve_model
from korag.errors import CheckpointError, CheckpointNotFoundError, HubUnreachableError, InvalidArgumentError

TEXTS = ["임대차 계약이 끝나면 보증금을 돌려준다.", "도서관은 월요일에 쉰다!", "GPU 서버 3대"]


class TestResolve:
    """Without weights: a folder comes first, then a bundled name, then the Hub."""

    @pytest.mark.parametrize("model", [None, 3, ["mini-dense"]])
    def test_a_model_that_is_neither_a_name_nor_a_path(self, model):
        with pytest.raises(InvalidArgumentError, match="model="):
            resolve_model(model)

    def test_a_path_that_does_not_exist(self, tmp_path):
        with pytest.raises(CheckpointNotFoundError) as caught:
            resolve_model(tmp_path / "없는 모델")
        assert HANGUL.search(caught.value.args[0])
        assert isinstance(caught.value, FileNotFoundError)

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [("mini-colbret", "mini-colbert"), ("minidense", "mini-dense"), ("mini_splade", "mini-splade")],
    )
    def test_a_misspelt_shipped_name_is_suggested(self, typed, meant):
        with pytest.raises(CheckpointNotFoundError) as caught:
            resolve_model(typed)
        assert_bilingual(caught.value, f"'{meant}'", typed)

    @pytest.mark.parametrize(
        "name", ["", "a//b", "owner/name..", "owner/na--me", "owner/.name", "./none", "owner/" + "n" * 200]
    )
    def test_no_name_at_all_and_names_the_hub_cannot_have(self, name):
        with pytest.raises(CheckpointNotFoundError) as caught:
            resolve_model(name)
        assert_bilingual(caught.value, name)

    def test_a_file_is_not_a_folder(self, built):
        with pytest.raises(CheckpointNotFoundError) as caught:
            resolve_model(built("dense") / "model.safetensors")
        assert_bilingual(caught.value, "model.safetensors")

    def test_a_folder_hides_a_bundled_model_of_the_same_name(self, tmp_path, monkeypatch):
        (tmp_path / "mini-dense").mkdir()
        bundled = resolve_model("mini-dense")
        monkeypatch.chdir(tmp_path)
        found = resolve_model("mini-dense")
        assert found.folder == (tmp_path / "mini-dense").resolve() != bundled.folder
        assert found.revision is bundled.revision is None

    def test_the_portable_name_finds_it_from_anywhere(self, built, tmp_path, monkeypatch):
        commit = hub_cache(built("dense"), tmp_path, "someone/model")
        cached = resolve_model("someone/model", cache_folder=str(tmp_path), local_files_only=True)
        assert (cached.portable_name, cached.revision) == ("someone/model", commit)
        assert resolve_model("mini-dense").portable_name == "mini-dense"
        monkeypatch.chdir(built("dense").parent)
        assert resolve_model("dense").portable_name == str(built("dense").resolve())

    def test_weights_of_a_projection_are_not_a_backbone_s(self, tmp_path):
        for name in ("1_Dense/model.safetensors", "matryoshka_heads.safetensors", "training_args.bin"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert not has_weights(tmp_path)
        with pytest.raises(CheckpointNotFoundError):
            ModelFiles("it", tmp_path).check_weights()
        (tmp_path / "model.safetensors").touch()
        assert has_weights(tmp_path)


class TestHub:
    def test_a_repository_not_in_the_cache(self, tmp_path):
        for options in ({"local_files_only": True}, {}):  # the second: HF_HUB_OFFLINE, as all tests run
            with pytest.raises(HubUnreachableError) as caught:
                load_encoder("nobody/nothing", cache_folder=str(tmp_path), **options)
            assert_bilingual(caught.value, "nobody/nothing", "mini-colbert")
            assert isinstance(caught.value, ConnectionError)

    def test_an_unreachable_hub(self, tmp_path):
        code = (
            "from korag import load_encoder\n"
            "from korag.errors import HubUnreachableError\n"
            "try:\n    load_encoder('nobody/nothing')\n"
            "except HubUnreachableError as error:\n    assert 'nobody/nothing' in error.args[1]\n"
            "else:\n    raise SystemExit('no error')"
        )
        here = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        subprocess.run([sys.executable, "-c", code], env=os.environ | here, check=True, timeout=120)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["dense", "splade", "matryoshka", "residual", "native"])
    def test_a_cached_snapshot_works_offline(self, built, tmp_path, layout):
        commit = hub_cache(built(layout), tmp_path, "someone/model")
        encoder = load_encoder("someone/model", cache_folder=str(tmp_path), local_files_only=True)
        assert_same(encoder.encode_documents(TEXTS), load_encoder(built(layout)).encode_documents(TEXTS))
        assert encoder.model_name == encoder.fingerprint.model == "someone/model"
        assert encoder.fingerprint.revision == encoder.load_arguments["revision"] == commit

    @pytest.mark.parametrize("revision", ["main", "commit"])
    def test_a_revision_can_be_named(self, built, tmp_path, revision):
        commit = hub_cache(built("dense"), tmp_path, "someone/model")
        asked = commit if revision == "commit" else revision
        encoder = load_encoder("someone/model", revision=asked, cache_folder=str(tmp_path), local_files_only=True)
        assert encoder.fingerprint.revision == commit
        with pytest.raises(HubUnreachableError):
            load_encoder("someone/model", revision="v9", cache_folder=str(tmp_path), local_files_only=True)

    def test_the_cache_named_in_the_environment_is_used(self, built, tmp_path, monkeypatch):
        hub_cache(built("dense"), tmp_path, "someone/model")
        monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
        assert load_encoder("someone/model").dim == HIDDEN

    @pytest.mark.parametrize("layout", ["dense", "pylate", "matryoshka_safetensors"])
    def test_settings_in_the_cache_and_no_weights(self, built, tmp_path, layout):
        hub_cache(
            built(layout),
            tmp_path,
            "someone/model",
            only=lambda path: path.name != "model.safetensors" or "1_" in str(path),
        )
        with pytest.raises(HubUnreachableError) as caught:
            load_encoder("someone/model", cache_folder=str(tmp_path), local_files_only=True)
        assert_bilingual(caught.value, "someone/model")
        encoder = load_encoder("someone/model", cache_folder=str(tmp_path))  # might still be downloaded
        for use in (lambda: encoder.encode_queries(TEXTS), lambda: encoder.fingerprint):
            with pytest.raises(HubUnreachableError) as caught:
                use()
            assert_bilingual(caught.value, "someone/model")

    def test_a_known_model_without_prompts_gets_its_card_s(self, built, tmp_path):
        hub_cache(built("roberta"), tmp_path, "nlpai-lab/KoE5")
        encoder = load_encoder("nlpai-lab/KoE5", cache_folder=str(tmp_path), local_files_only=True)
        assert encoder.prompts == {"query": "query: ", "document": "passage: "}

    def test_pickled_weights_are_read_where_there_are_no_others(self, copied, tmp_path):
        folder = copied("dense")
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        expected = load_encoder(folder).encode_queries(TEXTS)
        (folder / "model.safetensors").unlink()
        hub_cache(folder, tmp_path / "cache", "someone/model")
        encoder = load_encoder("someone/model", cache_folder=str(tmp_path / "cache"), local_files_only=True)
        assert_same(encoder.encode_queries(TEXTS), expected)

    def test_pickled_weights_that_run_code_are_not_run(self, copied, tmp_path):
        folder, marker = copied("dense"), tmp_path / "ran"
        (folder / "model.safetensors").unlink()
        torch.save({"embeddings": Touch(marker)}, folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError):
            load_encoder(folder).encode_queries(TEXTS)
        assert not marker.exists()


@pytest.mark.parametrize("revision", ["v1", 3])
def test_a_model_on_this_machine_has_no_revision(revision, tmp_path):
    """It was dropped: vectors of another version than the one asked for, and no error."""
    dense(tmp_path / "모델")
    for model in ("mini-dense", tmp_path / "모델"):
        with pytest.raises(InvalidArgumentError, match=re.escape(f"revision={revision!r}")):
            load_encoder(model, revision=revision)
