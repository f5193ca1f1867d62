"""Spaces and line ends around a text: each family treats them as the library that made its checkpoint does.

Other kinds of spaces are spaces first, so the library is given the text as `korag.text.normalize` spells it.
"""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from assertions import assert_same
from checkpoints import write_json
from tokenizer_kinds import KINDS
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from korag import Collection, CrossEncoderReranker, load_encoder
from korag.explain import explain_matches
from korag.text import normalize

TEXTS = [
    "보증금은 언제 돌려받나요", "  앞뒤 공백  ", "\n줄바꿈으로 시작하고 끝남\r\n\n", "\t탭\t", "\u3000전각 공백\u3000",
    "\xa0줄바꿈 없는 공백\xa0", "\x1c구분자\x85", "\u2028줄 구분\u2029", "\u200b폭 없는 공백\u200b", "   ", "",
    " \u1112\u1161\u11ab\u1100\u1173\u11af ",
]  # fmt: skip
GOLDEN = Path(__file__).parents[1] / "golden/pylate/checkpoint"
SIZE = 16


def backbone(folder: Path, kind: str, auto: type = AutoModel, **more: object) -> Path:
    words = KINDS[kind]()
    words.add_tokens(["[Q] ", "[D] "])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = AutoConfig.for_model(
            "modernbert", vocab_size=len(words), hidden_size=SIZE, intermediate_size=SIZE, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=256, initializer_range=0.3, pad_token_id=0, bos_token_id=2,
            eos_token_id=3, cls_token_id=2, sep_token_id=3, **more,
        )  # fmt: skip
        auto.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def dense(place: Path, kind: str):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    prompts = {"query": "질의: ", "document": "문서: "}
    modules = [Transformer(str(backbone(place, kind))), Pooling(SIZE, "mean")]
    return SentenceTransformer(modules=modules, device="cpu", prompts=prompts)


def sparse(place: Path, kind: str):
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    first = Transformer(str(backbone(place, kind, AutoModelForMaskedLM)), transformer_task="fill-mask")
    model = SparseEncoder(modules=[first, SpladePooling()], device="cpu")
    model.encode(["한 번 쓴 다음 저장"])  # the pooling learns its size
    return model


def multi_vector(place: Path, kind: str):
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    expansion = {"strategy": "fixed", "attend": False, "length": 32}
    first = Transformer(str(backbone(place, kind)), query_expansion=expansion, document_length=200)
    weight = torch.randn(8, SIZE, generator=torch.Generator().manual_seed(8))
    head = Dense(
        SIZE, 8, bias=False, activation_function=None, init_weight=weight, module_input_name="token_embeddings"
    )
    return MultiVectorEncoder(
        modules=[first, head, MultiVectorMask(), Normalize("token_embeddings")],
        device="cpu",
        prompts={"query": "[Q] ", "document": "[D] "},
    )


def pylate(place: Path, folder: Path, kind: str) -> None:
    """Gives a saved model the settings that PyLate writes."""
    multi_vector(place, kind).save_pretrained(str(folder), create_model_card=False)
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    for key in ("query_expansion", "query_length", "document_length"):
        settings.pop(key, None)
    write_json(folder / "sentence_bert_config.json", settings)
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "ColBERT", "prompts": {"query": "", "document": ""}, "query_prefix": "[Q] ",
            "document_prefix": "[D] ", "query_length": 32, "document_length": 200,
            "attend_to_expansion_tokens": False, "skiplist_words": [], "do_query_expansion": True,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def pylate_encoder():
    return load_encoder(GOLDEN, dtype="float32")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [dense, sparse, multi_vector])
def test_what_sentence_transformers_saved_is_encoded_as_it_does(tmp_path, make, kind):
    model = make(tmp_path / "plain", kind)
    model.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    encoder = load_encoder(tmp_path / "model", dtype="float32")
    for ours, theirs in (
        (encoder.encode_queries, model.encode_query), (encoder.encode_documents, model.encode_document)
    ):  # fmt: skip
        for text in TEXTS:
            (expected,) = theirs([normalize(text)])
            expected = expected.to_dense() if getattr(expected, "is_sparse", False) else expected
            got = ours([text])
            got = got.toarray()[0] if make is sparse else got[0]
            np.testing.assert_allclose(got, np.asarray(expected), atol=1e-5, err_msg=ascii(text))


@pytest.mark.parametrize("kind", KINDS)
def test_cross_encoders_score_as_sentence_transformers_does(tmp_path, kind):
    from sentence_transformers import CrossEncoder

    backbone(tmp_path / "model", kind, AutoModelForSequenceClassification, num_labels=1)
    model = CrossEncoder(str(tmp_path / "model"), device="cpu", local_files_only=True)
    reranker = CrossEncoderReranker(tmp_path / "model", device="cpu", dtype="float32")
    for text in filter(str.strip, TEXTS):
        for query, document in ((text, "보증금"), ("보증금", text)):
            for _, score in reranker.rerank(query, [document]):
                assert score == pytest.approx(
                    float(model.predict([(normalize(query), normalize(document))])[0]), abs=1e-5
                )


@pytest.mark.parametrize("kind", KINDS)
def test_what_pylate_saved_is_stripped_before_the_mark(tmp_path, kind):
    from sentence_transformers import MultiVectorEncoder

    pylate(tmp_path / "plain", tmp_path / "model", kind)
    model = MultiVectorEncoder(str(tmp_path / "model"), device="cpu", local_files_only=True)
    encoder = load_encoder(tmp_path / "model", dtype="float32")
    for text in TEXTS:
        stripped = normalize(text).strip()
        for got, expected in (
            (encoder.encode_queries([text]), model.encode_query([stripped])),
            (encoder.encode_documents([text]), model.encode_document([stripped])),
        ):
            np.testing.assert_allclose(got[0], np.asarray(expected[0]), atol=1e-5, err_msg=ascii(text))


def test_spaces_are_tokens_of_some_kinds_only():
    words = {kind: make() for kind, make in KINDS.items()}
    changed = [kind for kind, tokenizer in words.items() if tokenizer.tokenize("  가 ") != tokenizer.tokenize("가")]
    assert changed == ["byte-level BPE", "unigram"]


class TestPyLate:
    """On the checkpoint whose vectors PyLate itself made: see tests/golden."""

    def test_spaces_make_no_difference(self, pylate_encoder):
        text = "보증금 반환"
        spaced = [f"{space}{text}{space}" for space in (" ", "\n\n", "\r\n", "\u3000", "\x85", " \t\u2003\n")]
        for encode in (pylate_encoder.encode_queries, pylate_encoder.encode_documents):
            for rows in encode(spaced):
                np.testing.assert_allclose(rows, encode([text])[0], atol=1e-5)

    def test_prompts_of_the_caller_are_stripped_with_the_text(self, pylate_encoder):
        for prompt in ("", "[Q] ", "[Q] 질의:", "질의:"):
            encoder = load_encoder(GOLDEN, dtype="float32", query_prompt=prompt)
            assert_same(encoder.encode_queries(["보증금 \n"]), encoder.encode_queries(["보증금"]))
            assert encoder.prompts["query"] == prompt

    def test_the_fingerprint_and_the_stored_text_are_the_same(self, pylate_encoder, tmp_path):
        with Collection.open(tmp_path / "collection", encoders=[pylate_encoder]) as collection:
            collection.add(["  보증금 반환 \n"], ids=["a"])
            (hit,) = collection.search(" 보증금 반환 ", using="colbert")
            assert hit.text == "  보증금 반환 \n"
        assert pylate_encoder.fingerprint.query_prompt == "[Q] "

    def test_explanations_have_no_spaces_of_the_outside(self, pylate_encoder):
        plain = explain_matches(pylate_encoder, "보증금 반환", "보증금은 언제 돌려받나요")
        spaced = explain_matches(pylate_encoder, "\n 보증금 반환 ", "\u3000보증금은 언제 돌려받나요\n\n")
        assert [match.query_token for match in spaced] == [match.query_token for match in plain]
        assert [match.position for match in spaced] == [match.position for match in plain]

    def test_spaces_do_not_count_as_truncated_tokens(self, pylate_encoder, caplog):
        with caplog.at_level(logging.WARNING, "korag"):
            (row,) = pylate_encoder.encode_documents([" " * 1_000_000 + "보증금" + "\n" * 1_000_000])
        assert not caplog.records
        np.testing.assert_allclose(row, pylate_encoder.encode_documents(["보증금"])[0], atol=1e-5)

    def test_processes_strip_as_well(self, pylate_encoder):
        texts = ["  앞뒤 공백  ", "\n줄바꿈", "끝 \t", "가"] * 40
        encoder = load_encoder(GOLDEN, dtype="float32", batch_tokens=256, document_prompt="[D] 문서: ")
        expected = encoder.encode_documents(texts)
        with encoder.processes(["cpu"]):
            for got, row in zip(encoder.encode_documents(texts), expected, strict=True):
                np.testing.assert_allclose(got, row, atol=1e-5)
