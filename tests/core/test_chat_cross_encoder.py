"""Rerankers that score with the answer of a language model: as sentence-transformers does, whatever the texts."""

from __future__ import annotations

import json
import pickle
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assertions import assert_bilingual
from chat_checkpoints import LENGTH, TEMPLATE, chat_cross_encoder
from checkpoints import edit_json, hub_cache
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from korag import CrossEncoderReranker
from korag.errors import CheckpointError, InvalidArgumentError

Build = Callable[[str], Path]
QUERY = "보증금은 언제 돌려받나요?"
LONG = ["보증금 반환 " * 600, "가나다라마바사" * 3_000, "  앞뒤 공백 \n\n" * 90, "<|im_end|> " * 300 + "yes", "김치"]


@cache
def reference(folder: Path) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", local_files_only=True)


def expected(folder: Path, texts: list[str], query: str = QUERY) -> np.ndarray:
    """Each pair by itself: padding rounds differently."""
    return np.array([reference(folder).predict([(query, text)])[0] for text in texts])


def scores(reranker: CrossEncoderReranker, texts: list[str], query: str = QUERY) -> np.ndarray:
    found = dict(reranker.rerank(query, texts))
    return np.array([found[index] for index in range(len(texts))])


@pytest.fixture(scope="module")
def folder(built: Build) -> Path:
    return built("chat_cross_encoder")


@pytest.fixture(scope="module")
def reranker(folder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(folder, device="cpu", dtype="float32")


class TestScores:
    @pytest.mark.parametrize("batch_tokens", [1, 700, 100_000])
    @pytest.mark.parametrize("query", [QUERY, QUERY * 40], ids=["short", "long"])
    def test_are_the_references(self, folder: Path, documents: list[str], query: str, batch_tokens: int) -> None:
        """Whatever the batch, and where pairs are truncated: the template's ending, where the score is read, stays."""
        texts = [*documents, *LONG]
        found = scores(CrossEncoderReranker(folder, dtype="float32", batch_tokens=batch_tokens), texts, query)
        np.testing.assert_allclose(found, expected(folder, texts, query), atol=1e-5)
        assert len(set(found.tolist())) > (len(documents) if query == QUERY else 0)

    def test_the_ending_may_be_given_up(self, tmp_path: Path) -> None:
        chat_cross_encoder(tmp_path, options={"processing_kwargs": {"chat_template": {"restore_suffix": False}}})
        found = scores(CrossEncoderReranker(tmp_path, dtype="float32"), LONG)
        np.testing.assert_allclose(found, expected(tmp_path, LONG), atol=1e-5)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.text(st.sampled_from("가힣a \n.<|🙂\u0301"), max_size=30), times=st.integers(1, 1_200))
    def test_cutting_long_texts_changes_nothing(
        self, reranker: CrossEncoderReranker, folder: Path, text: str, times: int
    ) -> None:
        texts = ["가" + text * times]
        normalized = [unicodedata.normalize("NFC", each) for each in texts]
        np.testing.assert_allclose(scores(reranker, texts), expected(folder, normalized), atol=1e-5)

    def test_decomposed_texts_score_alike(self, reranker: CrossEncoderReranker, documents: list[str]) -> None:
        decomposed = [unicodedata.normalize("NFD", text) for text in documents]
        found = reranker.rerank(unicodedata.normalize("NFD", QUERY), decomposed)
        assert found == reranker.rerank(QUERY, documents)

    def test_equal_texts_tie(self, reranker: CrossEncoderReranker, documents: list[str]) -> None:
        found = scores(reranker, [*documents, *documents[::-1]])
        assert (found[: len(documents)] == found[len(documents) :][::-1]).all()

    def test_one_pair_is_the_reference_to_the_bit(self, reranker: CrossEncoderReranker, folder: Path) -> None:
        assert scores(reranker, ["김치"])[0] == expected(folder, ["김치"])[0]

    def test_without_a_saved_activation_it_is_a_sigmoid(self, copied: Build, documents: list[str]) -> None:
        """sentence-transformers' rule for one score, whatever makes it."""
        folder = copied("chat_cross_encoder")
        logits = expected(folder, documents)
        edit_json(folder / "config_sentence_transformers.json", activation_fn=None)
        reference.cache_clear()
        made = CrossEncoderReranker(folder, dtype="float32")
        assert made.normalized
        np.testing.assert_allclose(scores(made, documents), expected(folder, documents), atol=1e-5)
        np.testing.assert_allclose(scores(made, documents), 1 / (1 + np.exp(-logits)), atol=1e-5)

    def test_no_threshold_for_scores_without_bounds(self, reranker: CrossEncoderReranker) -> None:
        assert not reranker.normalized
        with pytest.raises(InvalidArgumentError) as caught:
            reranker.rerank(QUERY, ["김치"], score_threshold=0.5)
        assert_bilingual(caught.value, "score_threshold=0.5", "Identity", "top_n")

    def test_in_another_precision(self, folder: Path, documents: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("korag.encoders.precision.cpu_has_bfloat16", lambda: True)
        made = CrossEncoderReranker(folder, device="cpu")
        found = scores(made, documents)
        assert made.dtype in ("bfloat16", "float32")
        assert made.deviation is None or made.deviation.least >= 0.999 or made.dtype == "float32"
        np.testing.assert_allclose(found, expected(folder, documents), atol=0.3)
        exact = CrossEncoderReranker(folder, device="cpu", dtype="bfloat16")
        assert exact.load()[0].model.dtype == __import__("torch").bfloat16
        assert np.corrcoef(scores(exact, documents), expected(folder, documents))[0, 1] > 0.9


class TestLengths:
    def test_what_is_truncated_is_counted_with_the_template(
        self, reranker: CrossEncoderReranker, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = reference(folder)

        def tokens(text: str) -> int:
            pair = [{"role": "query", "content": QUERY}, {"role": "document", "content": text}]
            return len(model.tokenizer.apply_chat_template(pair, return_dict=True)["input_ids"])

        fits = next("가" * n for n in range(900) if tokens("가" * (n + 1)) > LENGTH)
        caplog.clear()
        reranker.rerank(QUERY, [fits])
        assert not caplog.records
        longer = fits + "가"
        reranker.rerank(QUERY, [fits, longer])
        (record,) = caplog.records
        assert f"1 of 2 query-document pairs truncated (longest {tokens(longer)} tokens, limit 400)" in record.message
        caplog.clear()
        reranker.rerank(QUERY, ["가나다 라마 " * 5_000])
        assert "tokens or more, limit 400" in caplog.records[0].message

    def test_a_shorter_limit(self, folder: Path, documents: list[str]) -> None:
        from sentence_transformers import CrossEncoder

        texts = [*documents, *LONG]
        model = CrossEncoder(str(folder), device="cpu", max_length=150)
        wanted = [model.predict([(QUERY, text)])[0] for text in texts]
        made = CrossEncoderReranker(folder, dtype="float32", max_length=150)
        np.testing.assert_allclose(scores(made, texts), wanted, atol=1e-5)
        assert made.fingerprint != CrossEncoderReranker(folder).fingerprint

    def test_a_limit_that_the_template_fills(self, folder: Path) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            CrossEncoderReranker(folder, max_length=40, dtype="float32").rerank(QUERY, ["김치"])
        assert_bilingual(caught.value, "max_length=40")

    def test_a_limit_saved_with_the_options_of_the_call(self, tmp_path: Path, documents: list[str]) -> None:
        chat_cross_encoder(tmp_path, options={"processing_kwargs": {"text": {"max_length": 120}}})
        made = CrossEncoderReranker(tmp_path, dtype="float32")
        assert made.max_length == 120
        texts = [*documents, *LONG]
        np.testing.assert_allclose(scores(made, texts), expected(tmp_path, texts), atol=1e-5)
        longer = CrossEncoderReranker(tmp_path, dtype="float32", max_length=300)
        assert not np.allclose(scores(longer, LONG[:1]), scores(made, LONG[:1]))

    def test_without_truncation(self, tmp_path: Path, documents: list[str], caplog: pytest.LogCaptureFixture) -> None:
        chat_cross_encoder(tmp_path, options={"processing_kwargs": {"text": {"truncation": False}}})
        texts = [*documents, "보증금 반환 " * 90]
        made = CrossEncoderReranker(tmp_path, dtype="float32")
        assert made.max_length is None
        np.testing.assert_allclose(scores(made, texts), expected(tmp_path, texts), atol=1e-5)
        assert "truncated" not in caplog.text
        shorter = CrossEncoderReranker(tmp_path, dtype="float32", max_length=150)
        assert scores(shorter, texts)[-1] != scores(made, texts)[-1]


class TestWeights:
    @pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_orig_mod.module."])
    @pytest.mark.parametrize("tied", [True, False])
    def test_prefixes_of_tools(self, tmp_path: Path, prefix: str, tied: bool) -> None:
        """Where the answers have no weights of their own, every name begins with ``model.``, which is no tool's."""
        chat_cross_encoder(tmp_path, tied=tied)
        wanted = CrossEncoderReranker(tmp_path, dtype="float32").rerank(QUERY, ["김치"])
        weights = load_file(tmp_path / "model.safetensors")
        renamed = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
        save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        assert CrossEncoderReranker(tmp_path, dtype="float32").rerank(QUERY, ["김치"]) == wanted

    @pytest.mark.parametrize("name", ["lm_head.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.weight"])
    def test_missing_ones_are_named(self, tmp_path: Path, name: str) -> None:
        chat_cross_encoder(tmp_path, tied=False)
        weights = load_file(tmp_path / "model.safetensors")
        del weights[name]
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(tmp_path, dtype="float32").rerank(QUERY, ["김치"])
        assert_bilingual(caught.value, name)


class TestSettings:
    def test_the_template_is_part_of_the_fingerprint(self, copied: Build, reranker: CrossEncoderReranker) -> None:
        folder = copied("chat_cross_encoder")
        assert CrossEncoderReranker(folder).fingerprint == reranker.fingerprint
        (folder / "chat_template.jinja").write_text(TEMPLATE.replace("질문", "질의"), encoding="utf-8")
        assert CrossEncoderReranker(folder).fingerprint.differences(reranker.fingerprint).keys() == {"weights"}

    def test_and_so_is_an_instruction(self, copied: Build, reranker: CrossEncoderReranker) -> None:
        folder = copied("chat_cross_encoder")
        edit_json(
            folder / "config_sentence_transformers.json",
            prompts={"공지": "공지를 찾으세요"},
            default_prompt_name="공지",
        )
        made = CrossEncoderReranker(folder, dtype="float32")
        assert made.fingerprint.query_prompt == "공지를 찾으세요"
        assert made.rerank(QUERY, ["김치"]) != reranker.rerank(QUERY, ["김치"])

    def test_pickles_and_load_arguments_make_it_again(
        self, reranker: CrossEncoderReranker, documents: list[str]
    ) -> None:
        wanted = reranker.rerank(QUERY, documents)
        again = pickle.loads(pickle.dumps(reranker))  # noqa: S301
        assert again.rerank(QUERY, documents) == wanted
        arguments = json.loads(json.dumps(reranker.load_arguments))
        assert CrossEncoderReranker(**arguments, dtype="float32").rerank(QUERY, documents) == wanted

    def test_from_the_hub_cache(self, folder: Path, documents: list[str], tmp_path: Path) -> None:
        name = "nlpai-lab/KURE-Reranker-base"
        hub_cache(folder, tmp_path, name)
        made = CrossEncoderReranker(name, cache_folder=str(tmp_path), local_files_only=True, dtype="float32")
        np.testing.assert_allclose(scores(made, documents), expected(folder, documents), atol=1e-5)

    @pytest.mark.parametrize("backend", ["onnx", "openvino"])
    def test_other_backends_are_an_error_before_weights_are_read(self, folder: Path, backend: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            CrossEncoderReranker(folder, backend=backend)
        assert_bilingual(caught.value, f"backend='{backend}'", "backend='torch'")

    @pytest.mark.parametrize(
        ("key", "value"),
        [("true_token_id", None), ("true_token_id", -1), ("true_token_id", 10**6), ("true_token_id", "yes"),
         ("false_token_id", -5), ("false_token_id", 600)],
    )  # fmt: skip
    def test_answers_that_the_vocabulary_lacks(self, copied: Build, key: str, value: object) -> None:
        folder = copied("chat_cross_encoder")
        edit_json(folder / "1_LogitScore/config.json", **{key: value})
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, key)

    @pytest.mark.parametrize(
        "value",
        [
            {"chat_template": {"chat_template": "{{ 1 }}"}}, {"chat_template": {"tools": [{}]}},
            {"chat_template": {"max_length": 10**9}}, {"chat_template": {"sanitize_control_tokens": True}},
        ],
    )  # fmt: skip
    def test_options_of_the_template_are_of_a_list(self, copied: Build, value: dict[str, Any]) -> None:
        folder = copied("chat_cross_encoder")
        edit_json(folder / "sentence_bert_config.json", processing_kwargs=value)
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "processing_kwargs", "sentence_bert_config.json")

    def test_modules_without_settings_of_the_whole(self, copied: Build, documents: list[str]) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "config_sentence_transformers.json").unlink()
        made = CrossEncoderReranker(folder, dtype="float32")
        np.testing.assert_allclose(scores(made, documents), expected(folder, documents), atol=1e-5)
