"""`query_length=`: equal to a model saved with that length, kept wherever a model is stored, and named when it cuts."""

import json
import logging
import pickle

import numpy as np
import pytest
from assertions import assert_bilingual, assert_same
from checkpoints import edit_json, native
from layouts.bge_m3 import bge_m3

from korag import Collection, Reranker, load_encoder
from korag.encoders.load import as_encoder
from korag.errors import FingerprintError, InvalidArgumentError

SHORT = "보증금은 언제 돌려받나요"
LONG = (
    "전세 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 하는데, 새 세입자를 구할 때까지 기다리라고만 합니다. "
    "이럴 때 내용증명을 보내고 임차권등기명령을 신청하면 되는지, 그리고 그다음에 할 일이 무엇인지 궁금합니다"
)
QUERIES = [SHORT, LONG, "가", ""]
FIXED = {"query_expansion": {"strategy": "fixed", "attend": False, "length": 24}, "document_length": 100}
MINIMUM = {"query_expansion": {"strategy": "min", "attend": True, "length": 16}, "query_length": 40}
PLAIN = {"query_length": 12, "document_length": 100}


def multi_vector(folder):
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)


def assert_encodes_like(encoder, model):
    for ours, theirs in (
        (encoder.encode_queries, model.encode_query),
        (encoder.encode_documents, model.encode_document),
    ):
        for text in QUERIES:
            (expected,) = theirs([text])
            expected = expected.to_dense() if getattr(expected, "is_sparse", False) else expected
            got = ours([text])
            got = got.toarray() if encoder.family == "sparse" else got
            np.testing.assert_allclose(got[0], np.asarray(expected), atol=1e-5, err_msg=text)


class TestVectors:
    @pytest.mark.parametrize("length", [8, 31, 64])
    def test_pylate(self, built, copied, length):
        folder = copied("pylate")
        edit_json(folder / "config_sentence_transformers.json", query_length=length)
        encoder = load_encoder(built("pylate"), query_length=length, dtype="float32")
        assert encoder.query_length == length
        assert [len(row) for row in encoder.encode_queries(QUERIES)] == [length] * 4
        assert_encodes_like(encoder, multi_vector(folder))

    def test_stanford(self, built, copied):
        folder = copied("stanford")
        edit_json(folder / "artifact.metadata", query_maxlen=60)
        encoder = load_encoder(built("stanford"), query_length=60, dtype="float32")
        assert_encodes_like(encoder, multi_vector(folder))

    @pytest.mark.parametrize(
        ("saved", "wanted", "length"),
        [
            (FIXED, FIXED | {"query_expansion": FIXED["query_expansion"] | {"length": 60}}, 60),
            (FIXED, FIXED | {"query_expansion": FIXED["query_expansion"] | {"length": 6}}, 6),
            (FIXED | {"query_length": 30}, FIXED | {"query_expansion": FIXED["query_expansion"] | {"length": 60}}, 60),
            (MINIMUM, MINIMUM | {"query_length": 70}, 70),
            (MINIMUM, MINIMUM | {"query_length": 16}, 16),
            (PLAIN, PLAIN | {"query_length": 30}, 30),
        ],
        ids=["fixed", "fixed, shorter", "fixed, with a cap", "minimum", "minimum, shorter", "no expansion"],
    )
    def test_native(self, tmp_path, saved, wanted, length):
        native(tmp_path / "saved", **saved)
        native(tmp_path / "wanted", **wanted)
        encoder = load_encoder(tmp_path / "saved", query_length=length, dtype="float32")
        assert encoder.query_length == length
        assert_encodes_like(encoder, multi_vector(tmp_path / "wanted"))

    @pytest.mark.parametrize("length", [7, 300])
    @pytest.mark.parametrize("layout", ["dense", "splade"])
    def test_dense_and_sparse_queries_have_a_length_of_their_own(self, built, layout, length):
        from sentence_transformers import SentenceTransformer, SparseEncoder

        kind = SentenceTransformer if layout == "dense" else SparseEncoder
        prompts = load_encoder(built(layout)).prompts
        model = kind(str(built(layout)), device="cpu", local_files_only=True, prompts=prompts)
        model.max_seq_length = 20
        model[0].query_length = length
        encoder = load_encoder(built(layout), query_length=length, max_length=20, dtype="float32")
        assert (encoder.query_length, encoder.max_length) == (length, 20)
        assert_encodes_like(encoder, model)

    def test_an_adapter_has_one_too(self, built):
        encoder = load_encoder(built("lora"), query_length=16)
        plain = load_encoder(built("lora"))
        assert_same(encoder.encode_documents([LONG]), plain.encode_documents([LONG]))
        assert not np.allclose(encoder.encode_queries([LONG]), plain.encode_queries([LONG]), atol=1e-3)

    @pytest.mark.parametrize("family", ["dense", "sparse", "late_interaction"])
    def test_the_families_of_bge_m3(self, tmp_path, family):
        bge_m3(tmp_path / "model")
        encoder = load_encoder(tmp_path / "model", family=family, query_length=9)
        same_start = [f"{LONG} {end}" for end in ("김치찌개", "도서관")]
        first, second = (encoder.encode_queries([text]) for text in same_start)
        assert_same(first, second)
        plain = load_encoder(tmp_path / "model", family=family)
        assert_same(encoder.encode_documents([LONG]), plain.encode_documents([LONG]))

    def test_a_length_saved_with_a_dense_model_is_read(self, copied):
        folder = copied("dense")
        edit_json(folder / "sentence_bert_config.json", query_length=9, document_length=30)
        encoder = load_encoder(folder)
        assert (encoder.query_length, encoder.max_length) == (9, 30)
        assert load_encoder(folder, max_length=50).query_length == 9

    @pytest.mark.parametrize("saved", [{"query_length": 30, "document_length": 30}, {"document_length": 10}])
    @pytest.mark.parametrize("length", [None, 20, 40])
    def test_lengths_saved_with_a_dense_model_are_those_that_it_reads(self, copied, saved, length):
        from sentence_transformers import SentenceTransformer

        folder = copied("dense")
        edit_json(folder / "sentence_bert_config.json", max_seq_length=30, **saved)
        encoder = load_encoder(folder, max_length=length, dtype="float32")
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, prompts=encoder.prompts)
        model[0].query_length, model[0].document_length = encoder.query_length, encoder.max_length
        assert_encodes_like(encoder, model)
        if length is None:
            assert_encodes_like(encoder, SentenceTransformer(str(folder), device="cpu", prompts=encoder.prompts))


class TestLimits:
    @pytest.mark.parametrize("layout", ["pylate", "dense", "splade"])
    @pytest.mark.parametrize("length", [0, -1, 2, True, 12.0, "64", 10**9])
    def test_what_is_no_length_is_refused_before_weights_are_read(self, copied, layout, length):
        folder = copied(layout)
        (folder / "model.safetensors").write_bytes(b"none")
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(folder, query_length=length)
        assert_bilingual(caught.value, "query_length")

    def test_a_prompt_takes_a_token_of_it(self, built):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("pylate"), query_length=3)
        assert_bilingual(caught.value, "4")
        assert load_encoder(built("pylate"), query_length=3, query_prompt="").query_length == 3

    def test_a_minimal_width_is_the_least(self, tmp_path):
        native(tmp_path / "model", **MINIMUM)
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(tmp_path / "model", query_length=15)
        assert_bilingual(caught.value, "16")


class TestIdentity:
    @pytest.mark.parametrize("layout", ["pylate", "dense", "splade", "lora"])
    def test_it_is_in_the_fingerprint_and_the_load_arguments(self, built, layout):
        plain, longer = load_encoder(built(layout)), load_encoder(built(layout), query_length=40)
        assert "query_length" not in plain.load_arguments
        assert longer.fingerprint != plain.fingerprint
        assert longer.fingerprint.query_length == 40
        assert longer.fingerprint.document_length == plain.fingerprint.document_length
        again = load_encoder(**json.loads(json.dumps(longer.load_arguments)))
        assert again.fingerprint == longer.fingerprint
        assert_same(again.encode_queries(QUERIES), longer.encode_queries(QUERIES))
        assert load_encoder(built(layout), query_length=plain.query_length).fingerprint == plain.fingerprint

    def test_pickles_and_saved_copies_keep_it(self, built, tmp_path):
        encoder = load_encoder(built("pylate"), query_length=40)
        assert pickle.loads(pickle.dumps(encoder)).query_length == 40  # noqa: S301
        encoder.save(tmp_path / "copy")
        copy = load_encoder(tmp_path / "copy", query_length=40)
        assert copy.fingerprint == encoder.fingerprint

    def test_encoders_of_other_lengths_share_no_model(self, built):
        first, same = (load_encoder(built("pylate"), query_length=40) for _ in range(2))
        own, explicit = load_encoder(built("pylate")), load_encoder(built("pylate"), query_length=32)
        assert first.load() is same.load()
        assert own.load() is explicit.load() is not first.load()

    def test_a_loaded_encoder_of_another_length_is_refused(self, built):
        encoder = load_encoder(built("pylate"))
        assert as_encoder(encoder, query_length=32) is encoder
        with pytest.raises(InvalidArgumentError) as caught:
            as_encoder(encoder, query_length=64)
        assert_bilingual(caught.value, "query_length=64")

    def test_a_collection_keeps_it(self, tmp_path):
        with Collection.open(tmp_path / "c", encoders=[load_encoder("mini-colbert", query_length=96)]) as collection:
            collection.add([SHORT], ids=["a"])
        with Collection.open(tmp_path / "c") as collection:
            assert collection.search(LONG, k=1)[0].id == "a"
            (leg,) = collection.legs
            assert leg == "colbert"
        with Collection.open(tmp_path / "c", encoders=["mini-colbert"]) as collection:
            assert collection.search(SHORT, k=1)[0].id == "a"

    @pytest.mark.parametrize(("first", "then"), [(None, 40), (40, None)])
    @pytest.mark.parametrize("layout", ["dense", "splade", "mini-colbert", "plain", "minimum"])
    def test_a_collection_opens_with_another_where_queries_are_not_filled(self, built, tmp_path, layout, first, then):
        """Only queries longer than it have other vectors: what is stored does not depend on it."""
        model = layout
        if layout in ("plain", "minimum"):
            native(tmp_path / "model", **(PLAIN if layout == "plain" else MINIMUM | {"query_length": 30}))
            model = tmp_path / "model"
        elif layout != "mini-colbert":
            model = built(layout)
        one, other = (load_encoder(model, query_length=length, dtype="float32") for length in (first, then))
        short, texts = ["보증금"], [SHORT, LONG]
        assert_same(one.encode_queries(short), other.encode_queries(short))
        assert_same(one.encode_documents(texts), other.encode_documents(texts))
        with Collection.open(tmp_path / "c", encoders=[one]) as collection:
            collection.add(texts)
            expected = [(hit.id, hit.score) for hit in collection.search(short[0])]
        with Collection.open(tmp_path / "c", encoders=[other]) as collection:
            assert [(hit.id, hit.score) for hit in collection.search(short[0])] == expected
            (leg,) = collection.legs
            vectors, fingerprints = {leg: one.encode_documents(["셋"])}, {leg: one.fingerprint}
            assert collection.add_encoded([("셋", "셋")], vectors, fingerprints=fingerprints) == ["셋"]

    @pytest.mark.parametrize(("first", "then"), [(None, 40), (40, None)])
    @pytest.mark.parametrize("layout", ["pylate", "stanford", "fixed"])
    def test_a_collection_needs_the_same_where_queries_are_filled(self, built, tmp_path, layout, first, then):
        model = tmp_path / "model"
        if layout == "fixed":
            native(model, **FIXED)
        else:
            model = built(layout)
        one, other = (load_encoder(model, query_length=length) for length in (first, then))
        with Collection.open(tmp_path / "c", encoders=[one]) as collection:
            collection.add([SHORT, LONG])
        with pytest.raises(FingerprintError) as caught:
            Collection.open(tmp_path / "c", encoders=[other])
        assert_bilingual(caught.value, "query_length", "40")


class TestReports:
    def test_a_question_that_is_cut_says_what_and_how_to_read_it(self, colbert, caplog):
        ends = [f"{LONG} {end}" for end in ("김치찌개", "도서관")]
        shorter = load_encoder("mini-colbert", query_length=32, dtype="float32")
        same = shorter.encode_queries(ends)
        np.testing.assert_array_equal(same[0], same[1])
        (record,) = [record for record in caplog.records if record.name == "korag"]
        longest = max(len(colbert.token_ids(text)) for text in ends) + 3  # [CLS], the mark, [SEP]
        assert f"2 of 2 queries truncated (longest {longest} tokens, limit 32)" in record.message
        assert f"뒤의 {longest - 32}토큰" in record.message or f"{longest - 32}토큰은 읽지 않았습니다" in record.message
        (start,) = {part.split("'")[0] for part in record.message.split("from '")[1:]}
        assert start.rstrip("…") in LONG
        assert not LONG.startswith(start.rstrip("…"))
        assert record.message.count("query_length=") == 2
        longer = load_encoder("mini-colbert", query_length=96).encode_queries(ends)
        assert len(longer[0]) != len(longer[1])
        assert len([record for record in caplog.records if record.name == "korag"]) == 1

    @pytest.mark.parametrize("name", ["mini-dense", "mini-splade"])
    def test_dense_and_sparse_queries_name_it_too(self, name, caplog):
        load_encoder(name, query_length=10).encode_queries([LONG])
        assert "query_length=" in caplog.records[-1].message

    def test_documents_name_max_length(self, caplog):
        load_encoder("mini-colbert", max_length=20).encode_documents([LONG, SHORT])
        (record,) = [record for record in caplog.records if record.name == "korag"]
        assert record.message.count("max_length=") == 2
        assert "query_length" not in record.message
        assert "2,048" in record.message  # the model's positions

    def test_nothing_is_advised_that_cannot_be_done(self, built, caplog):
        encoder = load_encoder(built("dense"), query_length=512, max_length=512)
        encoder.encode_queries([LONG * 20])
        assert "truncated" in caplog.records[-1].message
        assert "query_length=" not in caplog.records[-1].message

    def test_what_is_cut_of_a_very_long_query_is_said_to_be_more(self, colbert, caplog):
        colbert.encode_queries([LONG * 500])
        assert "or more were not read" in caplog.records[-1].message

    def test_a_reranker_says_it(self, colbert, caplog):
        with caplog.at_level(logging.WARNING, "korag"):
            Reranker(colbert).rerank(f"{LONG} {LONG}", [SHORT])
        assert any("query_length=" in record.message for record in caplog.records)
