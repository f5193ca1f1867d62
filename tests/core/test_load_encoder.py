"""`load_encoder`: every layout and every mistake, through the public API."""

import json
import pickle
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from assertions import assert_bilingual, assert_same, dense_rows
from checkpoints import (
    DIMS,
    DOCUMENT_PROMPT,
    HIDDEN,
    LAYOUTS,
    QUERY_PROMPT,
    Touch,
    edit_json,
    heads,
    hub_cache,
    lora_base,
    native,
    write_json,
)
from packaging.version import Version
from safetensors.torch import load_file, save_file
from transformers.integrations.peft import MIN_PEFT_VERSION

from korag import Collection, CrossEncoderReranker, LateInteractionEncoder, load_encoder
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    HubUnreachableError,
    InvalidArgumentError,
    MissingBaseError,
    MissingDependencyError,
    MissingHeadsError,
    UnknownDimError,
    UnknownFamilyError,
    WrongFamilyError,
)

# peft's, at every load of an adapter
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

TEXTS = ["임대차 계약이 끝나면 보증금을 돌려준다.", "도서관은 월요일에 쉰다!", "GPU 서버 3대"]
QUERY_LENGTHS = {
    "pylate": 32,
    "matryoshka": 32,
    "matryoshka_safetensors": 32,
    "residual": 64,
    "stanford": 24,
    "native": 20,
}


class TestLayouts:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_family_dims_prompts_and_lengths_are_read_from_the_files(self, built, layout):
        encoder = load_encoder(built(layout))
        kind, dim, query, document, length = LAYOUTS[layout]
        assert type(encoder) is kind
        assert (encoder.dim, encoder.max_length) == (dim, length)
        assert encoder.prompts == {"query": query, "document": document}
        assert encoder.query_length == QUERY_LENGTHS.get(layout, length)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_it_encodes(self, built, layout):
        encoder = load_encoder(built(layout))
        queries, documents = encoder.encode_queries(TEXTS), encoder.encode_documents(TEXTS)
        if isinstance(encoder, LateInteractionEncoder):
            assert [row.shape for row in queries] == [(QUERY_LENGTHS[layout], encoder.dim)] * 3
            assert all(row.shape[1] == encoder.dim for row in documents)
        else:
            assert queries.shape == documents.shape == (3, encoder.dim)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_load_arguments_make_the_same_encoder_again(self, built, layout):
        encoder = load_encoder(built(layout), max_length=40)
        again = load_encoder(**json.loads(json.dumps(encoder.load_arguments)))
        assert again.fingerprint == encoder.fingerprint
        assert_same(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))

    def test_a_bare_backbone_is_loaded_on_request_and_again(self, built):
        encoder = load_encoder(built("bare_bert"), family="dense")
        assert encoder.encode_documents(TEXTS).shape == (3, HIDDEN)
        assert load_encoder(**encoder.load_arguments).fingerprint == encoder.fingerprint

    def test_a_backbone_without_a_vocabulary_head_is_no_sparse_model(self, built):
        with pytest.raises(UnknownFamilyError) as caught:
            load_encoder(built("bare_bert"), family="sparse")
        assert_bilingual(caught.value, "ForMaskedLM")

    def test_a_bare_backbone_alone_tells_no_family(self, built):
        with pytest.raises(UnknownFamilyError) as caught:
            load_encoder(built("bare_bert"))
        assert_bilingual(caught.value, "family='dense'")

    @pytest.mark.parametrize("name", ["sentence_roberta_config.json", "sentence_xlm-roberta_config.json"])
    def test_an_older_settings_name_still_gives_the_length(self, copied, name):
        folder = copied("roberta")
        (folder / "sentence_bert_config.json").rename(folder / name)
        assert load_encoder(folder).max_length == 128

    def test_a_length_that_was_not_saved_is_the_backbone_s(self, copied):
        folder = copied("roberta")
        (folder / "sentence_bert_config.json").unlink()
        assert load_encoder(folder).max_length == 512
        edit_json(folder / "tokenizer_config.json", model_max_length=10**30)
        encoder = load_encoder(folder)
        assert encoder.max_length == 512  # 514 positions, the first two of which RoBERTa does not use
        encoder.encode_documents(["가 " * 600])

    def test_two_pooling_modes_make_twice_the_dimensions(self, copied):
        folder = copied("roberta")
        edit_json(folder / "1_Pooling/config.json", pooling_mode_max_tokens=True)
        encoder = load_encoder(folder)
        assert encoder.dim == 2 * HIDDEN
        assert encoder.encode_documents(TEXTS).shape == (3, 2 * HIDDEN)

    def test_a_bare_adapter_takes_prompts_pooling_and_normalisation_from_its_base(self, copied):
        adapter = copied("bare_lora")
        shutil.rmtree(base := lora_base(adapter))
        shutil.copytree(copied("dense"), base)
        lora_weights = load_file(adapter / "adapter_model.safetensors")
        assert any("query" in name for name in lora_weights)
        edit_json(adapter / "adapter_config.json", base_model_name_or_path=str(base))
        encoder = load_encoder(adapter)
        assert encoder.prompts == {"query": "query: ", "document": "passage: "}
        assert encoder.fingerprint.normalized
        np.testing.assert_allclose(np.linalg.norm(encoder.encode_documents(TEXTS), axis=1), 1, atol=1e-5)


class TestNativeMultiVectorLengths:
    def test_without_expansion_queries_are_as_long_as_saved(self, tmp_path):
        native(tmp_path / "model", query_length=12, document_length=50)
        encoder = load_encoder(tmp_path / "model")
        assert (encoder.query_length, encoder.max_length) == (12, 50)
        assert [len(row) for row in encoder.encode_queries(["가", "가 나 다 라 " * 30])] == [4, 12]

    def test_without_any_length_queries_are_cut_where_the_backbone_ends(self, tmp_path, caplog):
        native(tmp_path / "model", max_seq_length=100)
        encoder = load_encoder(tmp_path / "model")
        assert encoder.query_length == 100
        assert len(encoder.encode_queries(["가 나 다 라 " * 12])[0]) == 51
        assert not [record for record in caplog.records if record.name == "korag"]

    def test_a_minimal_width_is_a_floor_and_not_a_limit(self, tmp_path, caplog):
        native(tmp_path / "model", query_expansion={"strategy": "min", "attend": True, "length": 16}, query_length=40)
        encoder = load_encoder(tmp_path / "model")
        assert encoder.query_length == 40
        assert [len(row) for row in encoder.encode_queries(["가", "가 나 다 라 " * 6])] == [16, 27]
        assert not [record for record in caplog.records if record.name == "korag"]


class TestWrongFamily:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("layout", "asked", "use"),
        [
            ("pylate", "dense", "KoColBERTRetriever"),
            ("matryoshka", "dense", "KoColBERTReranker"),
            ("stanford", "dense", "KoColBERTRerank"),
            ("native", "sparse", "KoColBERTRetriever"),
            ("splade", "dense", "korag.SparseEncoder"),
            ("splade", "late_interaction", "SparseEncoder"),
            ("dense", "late_interaction", "korag.DenseEncoder"),
            ("dense", "sparse", "korag.DenseEncoder"),
            ("lora", "late_interaction", "DenseEncoder"),
        ],
    )
    def test_the_error_names_the_class_to_use(self, built, layout, asked, use):
        with pytest.raises(WrongFamilyError) as caught:
            load_encoder(built(layout), family=asked)
        assert_bilingual(caught.value, use, asked, layout)

    @pytest.mark.parametrize("layout", ["cross_encoder", "saved_cross_encoder"])
    @pytest.mark.parametrize("family", [None, "dense"])
    def test_a_cross_encoder_is_named_and_so_is_its_class(self, built, layout, family):
        with pytest.raises(WrongFamilyError) as caught:
            load_encoder(built(layout), family=family)
        for name in ("korag.CrossEncoderReranker", "KoCrossEncoderReranker", "KoCrossEncoderRerank (LlamaIndex)"):
            assert_bilingual(caught.value, name)

    def test_an_adapter_for_classification_is_a_cross_encoder(self, copied):
        folder = copied("bare_lora")
        edit_json(folder / "adapter_config.json", task_type="SEQ_CLS")
        with pytest.raises(WrongFamilyError):
            load_encoder(folder)

    def test_an_adapter_does_not_go_on_a_multi_vector_base(self, built):
        with pytest.raises(WrongFamilyError) as caught:
            load_encoder(built("pylate"), adapter=built("lora"))
        assert_bilingual(caught.value, "LateInteractionEncoder")


class TestMatryoshka:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["matryoshka", "matryoshka_safetensors"])
    @pytest.mark.parametrize("dim", DIMS)
    def test_each_dim_has_its_own_head(self, built, layout, dim):
        encoder = load_encoder(built(layout), dim=dim)
        assert encoder.dims == DIMS
        rows = encoder.encode_documents(TEXTS)
        assert {row.shape[1] for row in rows} == {dim}
        hidden = hidden_states(built(layout), TEXTS[1])
        expected = hidden @ heads()[dim].numpy().T
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(rows[1], expected, atol=1e-5)

    def test_a_stale_projection_stored_with_heads_is_not_used(self, built):
        plain, with_heads = load_encoder(built("pylate")), load_encoder(built("matryoshka"), dim=16)
        difference = dense_rows(plain.encode_documents(TEXTS)) - dense_rows(with_heads.encode_documents(TEXTS))
        assert np.abs(difference).max() > 0.1

    @pytest.mark.parametrize("dim", [3, 5, 64, 128, 0, -4, 8.0])
    def test_an_unknown_dim_names_the_dims(self, built, dim):
        with pytest.raises(UnknownDimError) as caught:
            load_encoder(built("matryoshka"), dim=dim)
        assert_bilingual(caught.value, "4, 8, 12, 16", str(dim))

    @pytest.mark.parametrize("layout", ["splade", "pylate"])
    def test_a_model_without_heads_has_one_dim(self, built, layout):
        assert load_encoder(built(layout), dim=LAYOUTS[layout][1]).dim == LAYOUTS[layout][1]
        with pytest.raises(UnknownDimError) as caught:
            load_encoder(built(layout), dim=7)
        assert_bilingual(caught.value, str(LAYOUTS[layout][1]))

    def test_a_model_known_to_have_heads_must_have_them(self, built, tmp_path):
        hub_cache(built("pylate"), tmp_path, "dragonkue/colbert-ko-0.1b")
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder("dragonkue/colbert-ko-0.1b", cache_folder=str(tmp_path), local_files_only=True)
        assert_bilingual(caught.value, "32, 64, 96, 128", "matryoshka_heads.pt")

    def test_a_multi_vector_model_must_have_a_projection(self, copied):
        folder = copied("pylate")
        shutil.rmtree(folder / "1_Dense")
        write_json(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:1])
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, "1_Dense")

    def test_heads_must_replace_exactly_one_projection(self, copied, built):
        folder = copied("residual")
        shutil.copy(built("matryoshka") / "matryoshka_heads.pt", folder)
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "1_Dense")

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"4.weight": torch.zeros(4, 31)},
            {"4.weight": torch.zeros(5, HIDDEN)},
            {"4.weight": torch.zeros(4)},
            {"four.weight": torch.zeros(4, HIDDEN)},
            {"4.weight": torch.zeros(4, HIDDEN), "4.bias": torch.zeros(4)},
            {"4.weight": [1.0, 2.0]},
            {"60000.weight": torch.zeros(1).expand(60_000, HIDDEN)},
        ],
        ids=["empty", "hidden", "dim", "flat", "name", "bias", "list", "larger than the file"],
    )
    def test_heads_of_the_wrong_shape_or_name_are_an_error_at_once(self, copied, state):
        folder = copied("matryoshka")
        torch.save({"projection_heads": state}, folder / "matryoshka_heads.pt")
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, "matryoshka_heads.pt")
        (folder / "matryoshka_heads.pt").unlink()
        if all(isinstance(tensor, torch.Tensor) and tensor.is_contiguous() for tensor in state.values()):
            save_file(state, folder / "matryoshka_heads.safetensors")
            with pytest.raises(MissingHeadsError) as caught:
                load_encoder(folder)
            assert_bilingual(caught.value, "matryoshka_heads.safetensors")

    @pytest.mark.parametrize("name", ["matryoshka_heads.pt", "matryoshka_heads.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"{}", "half"])
    def test_unreadable_heads_are_an_error_at_once(self, copied, name, content):
        folder = copied("matryoshka" if name.endswith(".pt") else "matryoshka_safetensors")
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2] if content == "half" else content)
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, name)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_a_pickle_that_runs_code_is_not_run(self, copied, tmp_path, legacy):
        folder, marker = copied("matryoshka"), tmp_path / "ran"
        payload = {"projection_heads": Touch(marker)}
        if legacy:
            (folder / "matryoshka_heads.pt").write_bytes(pickle.dumps(payload))
        else:
            torch.save(payload, folder / "matryoshka_heads.pt")
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, "matryoshka_heads.pt")
        assert not marker.exists()

    def test_the_safetensors_twin_is_used_where_both_are_there(self, copied):
        folder = copied("matryoshka_safetensors")
        (folder / "matryoshka_heads.pt").write_bytes(b"never read")
        assert load_encoder(folder).dims == DIMS


def hidden_states(folder: Path, text: str) -> np.ndarray:
    """Token states of a document from transformers alone; punctuation is skipped as configured."""
    from transformers import AutoModel, AutoTokenizer

    words, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tokens = words("[D] " + text, return_tensors="pt")
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state[0].numpy()
    skipped = set(
        words.convert_tokens_to_ids(
            json.loads((folder / "config_sentence_transformers.json").read_text())["skiplist_words"]
        )
    )
    return states[[token not in skipped for token in tokens["input_ids"][0].tolist()]]


class TestStanford:
    def test_its_markers_and_inline_projection_are_used(self, built):
        """Against transformers and numpy alone: markers as token ids, MASK expansion, the inline projection."""
        from transformers import AutoModel, AutoTokenizer

        folder = built("stanford")
        words, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        text = "가나 abc"
        inner = words(text, add_special_tokens=False)["input_ids"]
        ids = [words.cls_token_id, words.convert_tokens_to_ids("[unused0]"), *inner, words.sep_token_id]
        mask = [1] * len(ids) + [0] * (24 - len(ids))
        ids += [words.mask_token_id] * (24 - len(ids))
        with torch.inference_mode():
            states = model(torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state[0].numpy()
        expected = states @ load_file(folder / "model.safetensors")["linear.weight"].numpy().T
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(load_encoder(folder).encode_queries([text])[0], expected, atol=1e-5)

    def test_without_metadata_colbert_s_own_defaults_hold(self, copied):
        folder = copied("stanford")
        (folder / "artifact.metadata").unlink()
        weights = load_file(folder / "model.safetensors")
        wide = {"linear.weight": weights["linear.weight"].repeat(8, 1)}
        save_file(weights | wide, folder / "model.safetensors", metadata={"format": "pt"})
        encoder = load_encoder(folder)
        assert encoder.prompts == {"query": "[unused0] ", "document": "[unused1] "}
        assert (encoder.dim, encoder.query_length) == (128, 32)
        assert encoder.encode_queries(TEXTS)[0].shape == (32, 128)

    def test_settings_and_weights_of_different_dims_are_an_error(self, copied):
        folder = copied("stanford")
        edit_json(folder / "artifact.metadata", dim=24)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "24", "16")

    def test_a_projection_that_would_be_random_is_an_error(self, copied):
        folder = copied("stanford")
        edit_json(folder / "config.json", architectures=["BertModel"])
        with pytest.raises(MissingHeadsError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, "HF_ColBERT")


class TestNotFound:
    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(CheckpointNotFoundError) as caught:
            load_encoder(tmp_path)
        assert_bilingual(caught.value, "config.json")

    @pytest.mark.parametrize(
        ("layout", "weights"),
        [
            ("dense", "model.safetensors"),
            ("splade", "model.safetensors"),
            ("pylate", "model.safetensors"),  # 1_Dense still has its own
            ("matryoshka_safetensors", "model.safetensors"),  # so do the heads
            ("stanford", "model.safetensors"),
            ("lora", "adapter_model.safetensors"),
        ],
    )
    def test_settings_without_weights(self, copied, layout, weights):
        folder = copied(layout)
        (folder / weights).unlink()
        (folder / "training_args.bin").write_bytes(b"no weights")
        with pytest.raises(CheckpointNotFoundError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, "adapter_model.safetensors" if layout == "lora" else "(model.safetensors)")

    def test_a_pointer_of_git_lfs_in_the_place_of_weights(self, copied):
        folder = copied("dense")
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2271064456\n"
        (folder / "model.safetensors").write_text(pointer)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "git lfs pull")

    @pytest.mark.parametrize("layout", ["dense", "splade", "pylate"])
    def test_a_missing_tokenizer_is_named(self, copied, layout):
        folder = copied(layout)
        (file,) = folder.rglob("tokenizer.json")
        file.unlink()
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "it has no tokenizer.json")

    def test_the_missing_settings_of_a_module_are_named(self, copied):
        folder = copied("dense")
        (folder / "1_Pooling" / "config.json").unlink()
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "it has no 1_Pooling/config.json")

    @pytest.mark.parametrize("content", [b"", b"not weights"])
    def test_damaged_weights_are_not_called_settings(self, copied, content):
        folder = copied("dense")
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match="가중치 파일") as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "model.safetensors")

    def test_a_name_that_may_be_a_path(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(HubUnreachableError) as caught:
            load_encoder("models/colbret")
        assert_bilingual(caught.value, "models/colbret", "HF_HUB_OFFLINE=1")

    @pytest.mark.parametrize(
        ("layout", "name"),
        [
            ("dense", "config.json"),
            ("dense", "modules.json"),
            ("dense", "config_sentence_transformers.json"),
            ("dense", "sentence_bert_config.json"),
            ("dense", "1_Pooling/config.json"),
            ("stanford", "artifact.metadata"),
            ("lora", "adapter_config.json"),
        ],
    )
    @pytest.mark.parametrize("content", ['{"a": ', "[1]", "\udc00", '"text"'])
    def test_broken_settings_are_named(self, copied, layout, name, content):
        folder = copied(layout)
        (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder)
        assert_bilingual(caught.value, Path(name).name)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_damaged_weights_are_an_error_at_first_use(self, copied, name):
        folder = copied("dense")
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        encoder = load_encoder(folder)
        for _ in range(2):  # and at the next, too
            with pytest.raises(CheckpointError) as caught:
                encoder.encode_queries(TEXTS)
            assert_bilingual(caught.value, "dense")
            assert caught.value.__cause__ is not None


class TestAdapters:
    @pytest.mark.parametrize("loader", ["peft", "sentence-transformers"])
    def test_it_equals_their_own_loading(self, built, loader):
        from peft import PeftModel
        from sentence_transformers import SentenceTransformer

        folder = built("lora")
        if loader == "peft":
            reference = SentenceTransformer(str(lora_base(folder)), device="cpu", local_files_only=True)
            reference[0].model = PeftModel.from_pretrained(reference[0].model, str(folder)).eval()
        elif Version(version("transformers")) < Version("5.6"):
            pytest.skip("this transformers does not give an adapter's weights the effect that peft gives them")
        elif Version(version("peft")) < Version(MIN_PEFT_VERSION):
            pytest.skip(f"this transformers loads adapters with peft>={MIN_PEFT_VERSION} only")
        else:
            reference = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        encoder = load_encoder(folder)
        assert_same(encoder.encode_queries(TEXTS), reference.encode(TEXTS, prompt=QUERY_PROMPT))
        assert_same(encoder.encode_documents(TEXTS), reference.encode(TEXTS, prompt=DOCUMENT_PROMPT))
        base = load_encoder(lora_base(folder), query_prompt=QUERY_PROMPT).encode_queries(TEXTS)
        assert np.abs(base - encoder.encode_queries(TEXTS)).max() > 0.01

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["lora", "bare_lora"])
    def test_naming_the_base_equals_merged_weights(self, built, tmp_path, layout):
        from peft import PeftModel
        from transformers import AutoModel

        folder = built(layout)
        shutil.copytree(lora_base(folder), merged := tmp_path / "merged")
        backbone = AutoModel.from_pretrained(merged)
        PeftModel.from_pretrained(backbone, str(folder)).merge_and_unload().save_pretrained(merged)
        prompts = {"query_prompt": QUERY_PROMPT, "document_prompt": DOCUMENT_PROMPT}
        reference = load_encoder(merged, **prompts)
        for encoder in (load_encoder(lora_base(folder), adapter=folder, **prompts), load_encoder(folder, **prompts)):
            assert_same(encoder.encode_queries(TEXTS), reference.encode_queries(TEXTS))
            assert_same(encoder.encode_documents(TEXTS), reference.encode_documents(TEXTS))

    def test_a_missing_base_says_how_to_name_it(self, copied):
        folder = copied("lora")
        for name in ("/nowhere/base", "nobody/base", "", None):
            settings = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": name}
            write_json(folder / "adapter_config.json", settings)
            with pytest.raises(MissingBaseError) as caught:
                load_encoder(folder)
            assert_bilingual(caught.value, "adapter=", name or "lora")
        assert load_encoder(lora_base(folder), adapter=folder).encode_queries(TEXTS).shape == (3, HIDDEN)

    def test_a_base_without_weights(self, copied):
        folder = copied("lora")
        (lora_base(folder) / "model.safetensors").unlink()
        with pytest.raises(CheckpointNotFoundError) as caught:
            load_encoder(lora_base(folder), adapter=folder)
        assert_bilingual(caught.value, "lora-base")

    def test_a_folder_that_is_no_adapter(self, built):
        with pytest.raises(CheckpointNotFoundError) as caught:
            load_encoder(built("roberta"), adapter=built("dense"))
        assert_bilingual(caught.value, "adapter_config.json")

    def test_an_adapter_and_its_base_in_the_cache(self, copied, tmp_path):
        folder = copied("lora")
        expected = load_encoder(folder).encode_queries(TEXTS)
        hub_cache(lora_base(folder), tmp_path / "cache", "someone/base")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="someone/base")
        hub_cache(folder, tmp_path / "cache", "someone/adapter")
        encoder = load_encoder("someone/adapter", cache_folder=str(tmp_path / "cache"), local_files_only=True)
        assert_same(encoder.encode_queries(TEXTS), expected)


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("dtype", "int8"),  # of the other backends
            ("dtype", "fp16"),
            ("dtype", None),
            ("backend", "tensorrt"),
            ("backend", None),
            ("family", "colbert"),
            ("max_length", 0),
            ("max_length", 2),  # no room for a token between [CLS] and [SEP]
            ("max_length", -5),
            ("max_length", 12.0),
            ("max_length", True),
            ("max_length", "128"),
            ("max_length", 100_000),
            ("batch_tokens", 0),
            ("batch_tokens", 1.5),
            ("batch_tokens", False),
            ("trust_remote_code", "False"),  # would be true
            ("trust_remote_code", 1),
            ("local_files_only", "no"),
            ("query_prompt", 3),
            ("document_prompt", ["document: "]),
        ],
    )
    def test_a_bad_value_is_named(self, built, name, value):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("dense"), **{name: value})
        assert_bilingual(caught.value, f"{name}={value!r}")

    def test_numpy_s_integers_are_stored_as_numbers(self, built, tmp_path):
        lengths = {"dim": np.int64(DIMS[0]), "max_length": np.int64(30), "query_length": np.int64(20)}
        encoder = load_encoder(built("matryoshka"), **lengths)
        with Collection.open(tmp_path / "collection", encoders=[encoder]) as collection:
            collection.add(["보증금 반환"])
        reranker = CrossEncoderReranker(built("cross_encoder"), max_length=np.int64(30))
        assert json.dumps([model.load_arguments | model.fingerprint.to_dict() for model in (encoder, reranker)])

    @pytest.mark.parametrize("backend", ["onnx", "openvino"])
    def test_a_missing_backend_names_the_installation_at_once(self, built, backend, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(MissingDependencyError) as caught:
            load_encoder(built("dense"), backend=backend)
        assert_bilingual(caught.value, f"pip install 'korag[{backend}]'")

    def test_missing_peft_names_the_installation_at_once(self, built, monkeypatch):
        monkeypatch.setitem(sys.modules, "peft", None)
        with pytest.raises(MissingDependencyError) as caught:
            load_encoder(built("lora"))
        assert_bilingual(caught.value, "pip install 'korag[peft]'")

    @pytest.mark.parametrize(
        ("backend", "name", "value"),
        [
            ("torch", "dtype", "int8"),
            ("onnx", "dtype", "float16"),
            ("onnx", "dtype", "bfloat16"),
            ("openvino", "dtype", "float16"),
            ("onnx", "device", "cuda"),
            ("openvino", "device", "cuda:0"),
        ],
    )
    def test_what_a_backend_cannot_do_is_named_with_what_it_can(self, built, backend, name, value):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("dense"), backend=backend, **{name: value})
        assert_bilingual(
            caught.value, f"{name}={value!r}", f"backend={backend!r}", "float32" if name == "dtype" else "cpu"
        )

    @pytest.mark.parametrize("device", ["gpu", "cuda:one", "CPU", ""])
    def test_a_name_that_is_no_device_is_refused_at_once(self, device):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder("mini-dense", device=device)
        assert_bilingual(caught.value, f"device={device!r}", "cpu", "cuda", "mps")

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["dense", "lora", "splade", "pylate", "matryoshka"])
    @pytest.mark.parametrize(("dtype", "scale"), [("float16", 2e-3), ("bfloat16", 2e-2)])
    def test_precision_is_honoured_and_results_stay_float32(self, built, layout, dtype, scale):
        exact, rough = load_encoder(built(layout)), load_encoder(built(layout), dtype=dtype)
        left, right = dense_rows(exact.encode_queries(TEXTS)), dense_rows(rough.encode_queries(TEXTS))
        assert right.dtype == np.float32
        error = np.abs(left - right).max() / np.abs(left).max()
        assert 1e-6 < error < 10 * scale
        assert rough.fingerprint == exact.fingerprint

    def test_device_and_code_reach_the_loader(self, built, monkeypatch, tmp_path):
        from korag.encoders import releases

        folder = shutil.copytree(built("dense"), tmp_path / "model")  # another test's may still be in memory

        seen = {}

        class Spy(releases.SentenceTransformer):
            def __init__(self, *args, **options):
                seen.update(options)
                super().__init__(*args, **options)

        monkeypatch.setattr(releases, "SentenceTransformer", Spy)
        load_encoder(folder, device="cpu").encode_queries(TEXTS)
        assert (seen["device"], seen["trust_remote_code"], seen["local_files_only"]) == ("cpu", False, True)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["dense", "lora", "splade", "pylate", "stanford"])
    def test_max_length_cuts_documents(self, built, layout):
        whole, cut = load_encoder(built(layout)), load_encoder(built(layout), max_length=10)
        long = "가 나 다 라 마 바 사 " * 5
        assert cut.max_length == 10
        assert (
            np.abs(dense_rows(cut.encode_documents([long]))[:1] - dense_rows(whole.encode_documents([long]))[:1]).max()
            > 1e-3
        )
        if isinstance(cut, LateInteractionEncoder):
            assert len(cut.encode_documents([long])[0]) == 10

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["dense", "lora", "splade", "pylate", "stanford", "native"])
    def test_prompts_change_vectors_and_fingerprint(self, built, layout):
        own = load_encoder(built(layout))
        other = load_encoder(built(layout), query_prompt="질의: ", document_prompt="")
        assert other.prompts == {"query": "질의: ", "document": ""}
        for left, right in (
            (own.encode_queries(TEXTS), other.encode_queries(TEXTS)),
            (own.encode_documents(["가나다"]), other.encode_documents(["가나다"])),
        ):
            left, right = dense_rows(left), dense_rows(right)
            if layout != "splade" or left is not right:
                same = left.shape == right.shape and np.abs(left - right).max() < 1e-4
                assert same == (own.prompts["document"] == "" and left.shape[0] == 1)
        assert set(own.fingerprint.differences(other.fingerprint)) >= {"query_prompt"}


class TestSecrets:
    def test_a_token_is_in_no_repr_and_no_pickle(self, built, tmp_path):
        secret = "hf_SECRETSECRETSECRET"  # noqa: S105 (a fake)
        hub_cache(lora_base(built("lora")), tmp_path, "someone/base")
        for options in ({}, {"adapter": built("lora")}):
            encoder = load_encoder("someone/base", token=secret, cache_folder=str(tmp_path), **options)
            encoder.encode_queries(TEXTS)
            assert secret not in repr(encoder)
            assert secret not in str(vars(encoder))
            assert secret.encode() not in pickle.dumps(encoder)
            assert secret not in json.dumps([encoder.load_arguments, encoder.fingerprint.to_dict()])

    def test_a_token_is_in_no_error(self, tmp_path):
        with pytest.raises(HubUnreachableError) as caught:
            load_encoder("nobody/nothing", token="hf_SECRET", cache_folder=str(tmp_path))  # noqa: S106
        assert "hf_SECRET" not in str(caught.value)


class TestRemoteCode:
    @pytest.fixture
    def trap(self, copied, tmp_path, monkeypatch):
        """A checkpoint whose Python files leave a trace when they are imported."""
        monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
        monkeypatch.syspath_prepend(str(tmp_path / "modules"))
        folder = copied("dense")
        (folder / "trap.py").write_text(
            f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
            "from transformers import XLMRobertaConfig, XLMRobertaModel\n"
            # classes of its own: transformers marks those it loads as custom code, for the whole process
            "class Config(XLMRobertaConfig): pass\n"
            "class Model(XLMRobertaModel):\n    config_class = Config\n"
        )
        edit_json(folder / "config.json", auto_map={"AutoConfig": "trap.Config", "AutoModel": "trap.Model"})
        return folder, tmp_path / "ran"

    def test_it_does_not_run_by_default(self, trap):
        folder, marker = trap
        assert load_encoder(folder).encode_queries(TEXTS).shape == (3, HIDDEN)  # transformers' own class
        assert not marker.exists()

    def test_an_architecture_that_needs_it_is_an_error(self, trap):
        folder, marker = trap
        edit_json(folder / "config.json", model_type="unheard-of")
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "trust_remote_code")
        assert not marker.exists()

    def test_a_module_that_needs_it_is_an_error(self, trap):
        folder, marker = trap
        modules = json.loads((folder / "modules.json").read_text())
        modules[2]["type"] = "trap.Model"
        write_json(folder / "modules.json", modules)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder).encode_queries(TEXTS)
        assert_bilingual(caught.value, "trust_remote_code")
        assert not marker.exists()

    def test_it_runs_on_request(self, trap):
        folder, marker = trap
        load_encoder(folder, trust_remote_code=True).encode_queries(TEXTS)
        assert marker.exists()
