"""CrossEncoderReranker: scores equal to sentence-transformers and transformers, every mistake, threads, copies."""

import copy
import json
import logging
import pickle
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import edit_json, hub_cache
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from korag import CrossEncoderReranker, KoragError, load_encoder
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    HubUnreachableError,
    InvalidArgumentError,
    InvalidTextError,
    MissingDependencyError,
    UnknownFamilyError,
    WrongFamilyError,
)

QUERY = "보증금은 언제 돌려받나요?"
Build = Callable[[str], Path]


def assert_bilingual(error: KoragError, *words: str) -> None:
    korean, english = str(error).split("\n")
    assert re.search("[가-힣]", korean)
    for word in words:
        assert word in korean, word
        assert word in english, word


def scores_of(reranker: CrossEncoderReranker, texts: list[str], query: str = QUERY) -> list[float]:
    found = dict(reranker.rerank(query, texts))
    return [found[index] for index in range(len(texts))]


class TestScores:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["cross_encoder", "saved_cross_encoder"])
    def test_are_the_sigmoid_of_the_logit(self, built: Build, documents: list[str], layout: str) -> None:
        """Compared with transformers alone, one pair at a time, without padding or batches."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = built(layout)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.inference_mode():
            logits = [model(**tokenizer(QUERY, text, return_tensors="pt")).logits.item() for text in documents]
        expected = 1 / (1 + np.exp(-np.array(logits)))
        found = scores_of(CrossEncoderReranker(folder), documents)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert len(set(found)) == len(documents)
        assert all(0 < score < 1 for score in found)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["cross_encoder", "saved_cross_encoder", "identity_cross_encoder"])
    def test_are_those_of_sentence_transformers(self, built: Build, documents: list[str], layout: str) -> None:
        from sentence_transformers import CrossEncoder

        expected = CrossEncoder(str(built(layout)), device="cpu").predict([(QUERY, text) for text in documents])
        np.testing.assert_allclose(scores_of(CrossEncoderReranker(built(layout)), documents), expected, atol=1e-5)

    @pytest.mark.slow
    def test_a_saved_activation_is_respected(self, built: Build, copied: Build, documents: list[str]) -> None:
        sigmoid = CrossEncoderReranker(built("cross_encoder"))
        identity = CrossEncoderReranker(built("identity_cross_encoder"))
        logits = np.array(scores_of(identity, documents))
        np.testing.assert_allclose(scores_of(sigmoid, documents), 1 / (1 + np.exp(-logits)), atol=1e-5)
        assert (sigmoid.normalized, identity.normalized) == (True, False)
        folder = copied("saved_cross_encoder")
        edit_json(folder / "config_sentence_transformers.json", activation_fn="torch.nn.modules.activation.Tanh")
        tanh = CrossEncoderReranker(folder)
        assert tanh.activation == "torch.nn.modules.activation.Tanh"
        assert not tanh.normalized
        np.testing.assert_allclose(scores_of(tanh, documents), np.tanh(logits), atol=1e-5)

    def test_the_newer_place_of_the_activation(self, copied: Build) -> None:
        folder = copied("cross_encoder")
        edit_json(folder / "config.json", sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"})
        assert CrossEncoderReranker(folder).activation == "torch.nn.modules.linear.Identity"

    @pytest.mark.slow
    def test_a_saved_default_prompt_is_put_before_the_query(
        self, copied: Build, built: Build, documents: list[str]
    ) -> None:
        from sentence_transformers import CrossEncoder

        folder = copied("saved_cross_encoder")
        edit_json(folder / "config_sentence_transformers.json", prompts={"검색": "찾기: "}, default_prompt_name="검색")
        expected = CrossEncoder(str(folder), device="cpu").predict([(QUERY, text) for text in documents])
        found = scores_of(CrossEncoderReranker(folder), documents)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found != scores_of(CrossEncoderReranker(built("saved_cross_encoder")), documents)

    def test_batches_change_no_score(self, cross_encoder_folder: Path, documents: list[str]) -> None:
        texts = [*documents, " ".join(documents), documents[0] * 9]
        alone = scores_of(CrossEncoderReranker(cross_encoder_folder, batch_tokens=1), texts)
        together = scores_of(CrossEncoderReranker(cross_encoder_folder, batch_tokens=100_000), texts)
        np.testing.assert_allclose(alone, together, atol=1e-5)

    @pytest.mark.slow
    @given(data=st.data())
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_permuted_and_repeated_texts(
        self, cross_encoder: CrossEncoderReranker, documents: list[str], data: st.DataObject
    ) -> None:
        expected = dict(zip(documents, scores_of(cross_encoder, documents), strict=True))
        extra = data.draw(st.lists(st.sampled_from(documents), max_size=5))
        texts = data.draw(st.permutations([*documents, *extra]))
        found = cross_encoder.rerank(QUERY, texts)
        assert sorted(index for index, _ in found) == list(range(len(texts)))
        assert all(score == expected[texts[index]] for index, score in found)
        assert [index for index, _ in found] == sorted(
            range(len(texts)), key=lambda index: (-expected[texts[index]], index)
        )

    def test_normalization_forms_score_alike(self, cross_encoder: CrossEncoderReranker, documents: list[str]) -> None:
        decomposed = [unicodedata.normalize("NFD", text) for text in documents]
        expected = cross_encoder.rerank(QUERY, documents)
        assert cross_encoder.rerank(unicodedata.normalize("NFD", QUERY), decomposed) == expected

    def test_empty_texts_are_left_out(
        self, cross_encoder: CrossEncoderReranker, documents: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        found = cross_encoder.rerank(QUERY, ["", documents[1], " \n\u200b", documents[0]])
        assert {index for index, _ in found} == {1, 3}
        assert "2 of 4 documents skipped" in caplog.text
        assert cross_encoder.rerank(QUERY, []) == cross_encoder.rerank(" ", documents) == []
        assert cross_encoder.rerank(QUERY, documents, top_n=0) == []

    @pytest.mark.slow
    def test_top_n(self, cross_encoder: CrossEncoderReranker, documents: list[str]) -> None:
        found = cross_encoder.rerank(QUERY, iter(documents))
        for top_n in (1, 3, 8, 100):
            assert cross_encoder.rerank(QUERY, documents, top_n=top_n) == found[:top_n]
        for wrong in (-1, 1.5, "3", True):
            with pytest.raises(InvalidArgumentError, match="top_n="):
                cross_encoder.rerank(QUERY, documents, top_n=wrong)  # type: ignore[arg-type]

    def test_what_is_no_text(self, cross_encoder: CrossEncoderReranker, documents: list[str]) -> None:
        for query, texts in (
            (None, documents),
            (QUERY, ["a", None]),
            (QUERY, ["\ud800"]),
            ("\udfff", []),
            (QUERY, "a"),
        ):
            with pytest.raises(InvalidTextError):
                cross_encoder.rerank(query, texts)  # type: ignore[arg-type]


class TestThreshold:
    @pytest.mark.slow
    def test_keeps_those_that_reach_it(self, cross_encoder: CrossEncoderReranker, documents: list[str]) -> None:
        found = cross_encoder.rerank(QUERY, documents)
        for _, score in found:
            kept = cross_encoder.rerank(QUERY, documents, score_threshold=score)
            assert kept == [pair for pair in found if pair[1] >= score]
        assert cross_encoder.rerank(QUERY, documents, score_threshold=0) == found
        assert cross_encoder.rerank(QUERY, documents, score_threshold=1.0) == []
        assert cross_encoder.rerank(QUERY, documents, score_threshold=found[3][1], top_n=2) == found[:2]

    @pytest.mark.parametrize("wrong", [-0.1, 1.1, "0.5", True, float("nan"), float("inf")])
    def test_outside_its_range(self, cross_encoder: CrossEncoderReranker, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="score_threshold="):
            cross_encoder.rerank(QUERY, [], score_threshold=wrong)

    def test_without_a_sigmoid_is_an_error_that_says_why(self, built: Build, documents: list[str]) -> None:
        reranker = CrossEncoderReranker(built("identity_cross_encoder"))
        with pytest.raises(InvalidArgumentError) as caught:
            reranker.rerank(QUERY, documents, score_threshold=0.5)
        assert_bilingual(caught.value, "score_threshold=0.5", "torch.nn.modules.linear.Identity", "top_n")
        assert reranker._model is None  # said before the model was loaded


class TestLengths:
    def test_the_limit_is_the_checkpoints_own(self, built: Build, copied: Build) -> None:
        assert CrossEncoderReranker(built("cross_encoder")).max_length == 512
        folder = copied("cross_encoder")
        edit_json(folder / "tokenizer_config.json", model_max_length=10**30)
        reranker = CrossEncoderReranker(folder)
        assert reranker.max_length == 512  # the positions', two of which RoBERTa does not use
        assert len(reranker.rerank(QUERY, ["문서 " * 2_000])) == 1

    def test_truncation_is_reported_once_and_changes_scores(
        self, cross_encoder_folder: Path, documents: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        short = CrossEncoderReranker(cross_encoder_folder, max_length=20)
        long = [" ".join(documents), *documents[:1], "짧은 글"]
        tokenizer = short.load().tokenizer
        longest = max(len(tokenizer(QUERY, text)["input_ids"]) for text in long)
        cut = sum(len(tokenizer(QUERY, text)["input_ids"]) > 20 for text in long)
        caplog.clear()
        short.rerank(QUERY, long)
        (record,) = caplog.records
        assert f"{cut} of 3 query-document pairs truncated (longest {longest} tokens, limit 20)" in record.message
        assert "max_length=" in record.message
        assert scores_of(short, long)[0] != scores_of(CrossEncoderReranker(cross_encoder_folder), long)[0]

    def test_a_query_longer_than_the_limit_leaves_room_for_the_text(
        self, cross_encoder_folder: Path, documents: list[str]
    ) -> None:
        reranker = CrossEncoderReranker(cross_encoder_folder, max_length=24)
        assert len({score for _, score in reranker.rerank(QUERY * 30, documents)}) > 1

    @pytest.mark.slow
    def test_a_document_of_a_megabyte(self, cross_encoder: CrossEncoderReranker, documents: list[str]) -> None:
        huge = "보증금 반환 " * 65_000
        assert len(huge.encode()) > 10**6
        assert {index for index, _ in cross_encoder.rerank(QUERY, [documents[0], huge])} == {0, 1}

    @pytest.mark.parametrize("wrong", [0, -1, 7, 513, 1.5, "20", True])
    def test_wrong_lengths(self, cross_encoder_folder: Path, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="max_length="):
            CrossEncoderReranker(cross_encoder_folder, max_length=wrong)

    def test_progress(
        self, cross_encoder: CrossEncoderReranker, documents: list[str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        cross_encoder.rerank(QUERY, documents)
        assert "Scoring" not in capfd.readouterr().err
        cross_encoder.rerank(QUERY, documents, show_progress=True)
        assert "Scoring" in capfd.readouterr().err


class TestMistakes:
    @pytest.mark.parametrize(
        ("layout", "use"),
        [
            ("dense", "korag.DenseEncoder"),
            ("lora", "KoEmbeddings (LangChain)"),
            ("splade", "korag.SparseEncoder"),
            ("pylate", "KoColBERTReranker"),
            ("native", "KoColBERTRerank (LlamaIndex)"),
            ("stanford", "korag.LateInteractionEncoder"),
        ],
    )
    def test_a_model_that_makes_vectors(self, built: Build, layout: str, use: str) -> None:
        with pytest.raises(WrongFamilyError) as caught:
            CrossEncoderReranker(built(layout))
        assert_bilingual(caught.value, use, "cross_encoder")

    @pytest.mark.parametrize("name", ["mini-dense", "mini-splade", "mini-colbert"])
    def test_a_shipped_name_and_a_loaded_encoder(self, name: str) -> None:
        for model in (name, load_encoder(name)):
            with pytest.raises(WrongFamilyError, match="korag"):
                CrossEncoderReranker(model)  # type: ignore[arg-type]

    @pytest.mark.parametrize("layout", ["cross_encoder", "saved_cross_encoder", "identity_cross_encoder"])
    def test_a_cross_encoder_where_vectors_are_needed(self, built: Build, layout: str) -> None:
        from korag import Collection, Reranker

        for use in (load_encoder, Reranker, lambda model: Collection.in_memory(encoders=[model])):
            with pytest.raises(WrongFamilyError) as caught:
                use(built(layout))  # type: ignore[operator]
            assert_bilingual(
                caught.value, "korag.CrossEncoderReranker", "KoCrossEncoderReranker", "KoCrossEncoderRerank "
            )

    def test_a_loaded_cross_encoder_where_vectors_are_needed(self, cross_encoder: CrossEncoderReranker) -> None:
        from korag import Collection, Reranker

        for use in (load_encoder, Reranker, lambda model: Collection.in_memory(encoders=[model])):
            with pytest.raises(WrongFamilyError, match="KoCrossEncoderReranker"):
                use(cross_encoder)  # type: ignore[operator]

    def test_a_backbone_without_a_head(self, built: Build) -> None:
        with pytest.raises(UnknownFamilyError) as caught:
            CrossEncoderReranker(built("bare_bert"))
        assert_bilingual(caught.value, "ForSequenceClassification")

    def test_more_labels_than_one(self, built: Build, copied: Build) -> None:
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(built("two_label_cross_encoder"))
        assert_bilingual(caught.value, "num_labels=2", "num_labels=1")
        folder = copied("cross_encoder")
        edit_json(folder / "config.json", id2label=None, label2id=None)  # transformers takes two then
        with pytest.raises(CheckpointError, match="num_labels=2"):
            CrossEncoderReranker(folder)
        edit_json(folder / "config.json", num_labels=1)
        assert CrossEncoderReranker(folder).normalized

    def test_weights_of_more_labels_than_the_settings_say(self, copied: Build, documents: list[str]) -> None:
        folder = copied("cross_encoder")
        weights = load_file(folder / "model.safetensors")
        weights["classifier.out_proj.weight"] = torch.zeros(3, weights["classifier.out_proj.weight"].shape[1])
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="could not be loaded"):
            CrossEncoderReranker(folder).rerank(QUERY, documents)

    def test_weights_without_the_head(self, copied: Build, documents: list[str]) -> None:
        """transformers initializes a missing head randomly and only logs it."""
        folder = copied("cross_encoder")
        weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("classifier")}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        reranker = CrossEncoderReranker(folder)
        for _ in range(2):
            with pytest.raises(CheckpointError) as caught:
                reranker.rerank(QUERY, documents)
            assert_bilingual(caught.value, "classifier.dense.weight")

    def test_an_activation_that_is_not_torchs(self, copied: Build) -> None:
        """sentence-transformers would take a sigmoid instead, and log it."""
        folder = copied("saved_cross_encoder")
        edit_json(folder / "config_sentence_transformers.json", activation_fn="my_package.Scale")
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "my_package.Scale", "trust_remote_code=True")

    def test_an_adapter(self, copied: Build) -> None:
        folder = copied("bare_lora")
        edit_json(folder / "adapter_config.json", task_type="SEQ_CLS")
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "merge_and_unload")

    def test_a_generative_model_without_its_answers(self, copied: Build) -> None:
        folder = copied("bare_bert")
        edit_json(folder / "config.json", architectures=["GemmaForCausalLM"])
        with pytest.raises(UnknownFamilyError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "LogitScore", "chat_template", "save_pretrained")

    def test_code_of_its_own(self, copied: Build, documents: list[str]) -> None:
        """The layout of Alibaba-NLP/gte-multilingual-reranker-base."""
        folder = copied("cross_encoder")
        own = "Alibaba-NLP/new-impl--modeling.NewForSequenceClassification"
        edit_json(
            folder / "config.json", model_type="new", architectures=["NewForSequenceClassification"],
            auto_map={"AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
                      "AutoModelForSequenceClassification": own},
        )  # fmt: skip
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder).rerank(QUERY, documents)
        assert_bilingual(caught.value, "trust_remote_code=True")

    def test_missing_paths_names_and_files(self, copied: Build, tmp_path: Path) -> None:
        (tmp_path / "비어 있음").mkdir()
        for wrong in (tmp_path / "없는 폴더", tmp_path / "비어 있음", "없는 모델", ""):
            with pytest.raises(CheckpointNotFoundError):
                CrossEncoderReranker(wrong)
        with pytest.raises(HubUnreachableError):
            CrossEncoderReranker("dragonkue/bge-reranker-v2-m3-ko", cache_folder=str(tmp_path))
        folder = copied("cross_encoder")
        (folder / "model.safetensors").unlink()
        with pytest.raises(CheckpointNotFoundError, match="weights"):
            CrossEncoderReranker(folder)
        (folder / "config.json").write_text("{")
        with pytest.raises(CheckpointError, match=r"config\.json"):
            CrossEncoderReranker(folder)

    def test_damaged_weights_are_an_error_each_time(self, copied: Build, documents: list[str]) -> None:
        folder = copied("cross_encoder")
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:1_000])
        reranker = CrossEncoderReranker(folder)
        for _ in range(2):
            with pytest.raises(CheckpointError) as caught:
                reranker.rerank(QUERY, documents)
            assert_bilingual(caught.value, str(folder))
        (folder / "model.safetensors").write_bytes(whole)
        assert len(reranker.rerank(QUERY, documents)) == len(documents)

    def test_scores_that_are_no_numbers(self, copied: Build, documents: list[str]) -> None:
        folder = copied("cross_encoder")
        weights = load_file(folder / "model.safetensors")
        weights["classifier.out_proj.bias"].fill_(float("nan"))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder).rerank(QUERY, documents)
        assert_bilingual(caught.value, "NaN")

    def test_other_arguments(self, cross_encoder_folder: Path) -> None:
        wrongs = {"dtype": "int8"}, {"backend": "tensorrt"}, {"batch_tokens": 0}, {"device": "없는 장치"}
        for wrong in wrongs:
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                CrossEncoderReranker(cross_encoder_folder, **wrong)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="could not be loaded"):
            CrossEncoderReranker(cross_encoder_folder, device="ipu").rerank(QUERY, ["글"])

    @pytest.mark.parametrize("backend", ["onnx", "openvino"])
    def test_a_missing_backend_names_the_installation_at_once(
        self, cross_encoder_folder: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(MissingDependencyError, match=rf"korag\[{backend}\]"):
            CrossEncoderReranker(cross_encoder_folder, backend=backend)


class TestLoading:
    def test_weights_are_loaded_at_the_first_use_and_once(
        self, cross_encoder_folder: Path, tmp_path: Path, documents: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = shutil.copytree(cross_encoder_folder, tmp_path / "model")  # which nothing else has loaded
        loads: list[Path] = []
        original = CrossEncoderReranker._load
        monkeypatch.setattr(
            CrossEncoderReranker, "_load", lambda self, folder: (loads.append(folder), original(self, folder))[1]
        )
        reranker = CrossEncoderReranker(folder)
        assert repr(reranker)
        assert reranker.fingerprint
        assert reranker.rerank(QUERY, [""]) == []
        assert loads == []
        with ThreadPoolExecutor(8) as pool:
            assert len(set(map(str, pool.map(lambda _: reranker.rerank(QUERY, documents), range(16))))) == 1
        assert len(loads) == 1

    @pytest.mark.slow
    def test_many_threads_score_as_one(self, cross_encoder: CrossEncoderReranker, documents: list[str]) -> None:
        """Concurrent queries of different lengths: shared tokenizer state would truncate or pad them wrongly."""
        queries = [f"{text[:6]} {'안내 ' * (number % 7)}" for number, text in enumerate(documents * 4)]
        expected = [cross_encoder.rerank(query, documents) for query in queries]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda query: cross_encoder.rerank(query, documents), queries)) == expected

    @pytest.mark.slow
    def test_copies_share_the_model_and_pickles_are_small(
        self, cross_encoder_folder: Path, documents: list[str]
    ) -> None:
        reranker = CrossEncoderReranker(cross_encoder_folder, token="hf_SECRET", max_length=64, dtype="bfloat16")  # noqa: S106
        expected = reranker.rerank(QUERY, documents)
        assert copy.copy(reranker) is copy.deepcopy(reranker) is reranker
        pickled = pickle.dumps(reranker)
        assert len(pickled) < 2_000
        assert b"SECRET" not in pickled
        again = pickle.loads(pickled)  # noqa: S301
        assert again._model is None
        assert again.rerank(QUERY, documents) == expected
        assert (again.max_length, again.options) == (64, reranker.options)
        assert again.fingerprint == reranker.fingerprint

    def test_repr_shows_no_secret(self, cross_encoder_folder: Path) -> None:
        shown = repr(CrossEncoderReranker(cross_encoder_folder, token="hf_SECRET", device="cpu"))  # noqa: S106
        assert shown == (
            f"CrossEncoderReranker({str(cross_encoder_folder)!r}, max_length=512, activation='Sigmoid', device='cpu', "
            "dtype='auto', backend='torch')"
        )

    def test_fingerprint_is_of_the_content(self, built: Build, copied: Build) -> None:
        folder = copied("cross_encoder")
        original, moved = CrossEncoderReranker(built("cross_encoder")), CrossEncoderReranker(folder)
        assert moved.fingerprint == original.fingerprint
        assert str(moved.fingerprint) == str(original.fingerprint)
        assert CrossEncoderReranker(folder, batch_tokens=9, dtype="bfloat16").fingerprint == original.fingerprint
        for other in (
            CrossEncoderReranker(folder, max_length=64),
            CrossEncoderReranker(built("identity_cross_encoder")),
            CrossEncoderReranker(built("saved_cross_encoder")),
        ):
            assert other.fingerprint != original.fingerprint

    def test_load_arguments_make_it_again(
        self, copied: Build, documents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = copied("saved_cross_encoder")
        monkeypatch.chdir(folder.parent)
        reranker = CrossEncoderReranker(folder.name, max_length=32)
        arguments = json.loads(json.dumps(reranker.load_arguments))
        assert arguments == {"model": str(folder), "revision": None, "max_length": 32}
        monkeypatch.chdir("/")
        assert CrossEncoderReranker(**arguments).rerank(QUERY, documents) == reranker.rerank(QUERY, documents)

    def test_from_the_hub_cache_without_a_connection(
        self, built: Build, documents: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        name = "dragonkue/bge-reranker-v2-m3-ko"
        commit = hub_cache(built("cross_encoder"), tmp_path, name)
        reranker = CrossEncoderReranker(name, cache_folder=str(tmp_path), local_files_only=True)
        assert reranker.model_name == name
        assert reranker.load_arguments == {"model": name, "revision": commit, "max_length": 512}
        expected = CrossEncoderReranker(built("cross_encoder"))
        assert reranker.rerank(QUERY, documents) == expected.rerank(QUERY, documents)
        assert reranker.fingerprint == expected.fingerprint
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_python_files_of_a_checkpoint_are_not_run(
        self, copied: Build, documents: list[str], tmp_path: Path
    ) -> None:
        folder = copied("cross_encoder")
        ran = tmp_path / "ran"
        (folder / "modeling_own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
        edit_json(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "modeling_own.Own"})
        CrossEncoderReranker(folder).rerank(QUERY, documents)
        assert not ran.exists()

    def test_a_folder_that_is_gone_at_first_use(self, copied: Build) -> None:
        folder = copied("cross_encoder")
        reranker = CrossEncoderReranker(folder)
        shutil.rmtree(folder)
        with pytest.raises(CheckpointNotFoundError):
            reranker.rerank(QUERY, ["글"])
