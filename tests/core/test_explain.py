"""Explanations: the terms of a sparse vector, what query tokens match, where a hit came from; and shared settings."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertTokenizer, PreTrainedTokenizerFast

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder, maxsim
from korag.encoders.load import as_encoder
from korag.encoders.sparse import index_weight_lists
from korag.encoders.vocabulary import readable
from korag.errors import InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.explain import explain_hit, explain_matches, explain_terms

QUERY = "보증금은 언제 돌려받나요?"


class TestTerms:
    @pytest.mark.parametrize("task", ["query", "document"])
    def test_they_are_the_vector_heaviest_first(self, splade: SparseEncoder, task: Any) -> None:
        row = (splade.encode_queries if task == "query" else splade.encode_documents)([QUERY])
        terms = explain_terms(splade, QUERY, task=task, top=10_000)
        assert [term.weight for term in terms] == sorted(row.data.tolist(), reverse=True)
        weights = {text: weight for text, weight in terms}  # noqa: C416 (that it unpacks is what is tested)
        assert weights == dict(zip(splade.token_texts(row.indices), row.data.tolist(), strict=True))
        assert "보증금" in weights

    def test_the_two_tasks_are_not_the_same(self, splade: SparseEncoder) -> None:
        assert explain_terms(splade, QUERY) == explain_terms(splade, QUERY, task="query")
        assert explain_terms(splade, QUERY) != explain_terms(splade, QUERY, task="document")

    @pytest.mark.slow
    def test_own_terms_and_added_ones(self, splade: SparseEncoder, documents: list[str]) -> None:
        added = 0
        for text in documents:
            own = set(splade.token_texts(splade.token_ids(text)))
            terms = explain_terms(splade, text, task="document", top=10_000)
            assert {term.term for term in terms if term.in_text} <= own
            assert any(term.in_text for term in terms)
            assert not own & {term.term for term in terms if not term.in_text}
            added += sum(not term.in_text for term in terms)
        assert added  # the model is one that expands

    @pytest.mark.slow
    @pytest.mark.parametrize(("top", "count"), [(0, 0), (1, 1), (5, 5)])
    def test_top(self, splade: SparseEncoder, top: int, count: int) -> None:
        terms = explain_terms(splade, QUERY, top=top)
        assert len(terms) == count
        assert terms == explain_terms(splade, QUERY)[:count]

    def test_nfd_reads_as_nfc(self, splade: SparseEncoder) -> None:
        assert explain_terms(splade, unicodedata.normalize("NFD", QUERY)) == explain_terms(splade, QUERY)

    def test_bytes_of_a_rare_character(self, splade: SparseEncoder) -> None:
        bytes_ = [f"<0x{byte:02X}>" for byte in "𠮷".encode()]
        assert splade.token_texts(splade.token_ids("𠮷")) == bytes_
        own = {term.term for term in explain_terms(splade, "𠮷", top=10_000) if term.in_text}
        assert own <= set(bytes_)

    def test_bad_arguments(self, splade: SparseEncoder) -> None:
        for wrong in ({"top": -1}, {"top": 2.5}, {"top": True}, {"task": "corpus"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                explain_terms(splade, QUERY, **wrong)  # type: ignore[arg-type]
        for text in (None, "\ud800", [QUERY]):
            with pytest.raises(InvalidTextError, match="text"):
                explain_terms(splade, text)  # type: ignore[arg-type]


class TestReadable:
    """Entries of other kinds of vocabularies as text."""

    def test_byte_level(self) -> None:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {character: index for index, character in enumerate(alphabet)}
        words = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        words.add_tokens([])
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
        ids = tokenizer("금 a")["input_ids"]
        bytes_ = [f"<0x{byte:02X}>" for byte in "금".encode()]
        assert [readable(tokenizer, token) for token in ids] == [*bytes_, "Ġ", "a"]

    def test_word_pieces_and_special_tokens(self, tmp_path: Path) -> None:
        entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "보증", "##금"]
        (tmp_path / "vocab.txt").write_text("\n".join(entries), encoding="utf-8")
        tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
        assert [readable(tokenizer, token) for token in range(len(entries))] == entries

    def test_the_shipped_vocabulary(self, splade: SparseEncoder) -> None:
        texts = splade.token_texts(range(splade.dim))
        assert texts[:7] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[Q]", "[D]"]
        assert texts[7 : 7 + 256] == [f"<0x{byte:02X}>" for byte in range(256)]
        assert all(texts)
        assert not any("\ufffd" in text for text in texts)


class TestMatches:
    @pytest.mark.slow
    def test_they_add_up_to_the_score(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        for document in documents[:3]:
            matches = explain_matches(colbert, QUERY, document)
            (score,) = maxsim(colbert.encode_queries([QUERY])[0], colbert.encode_documents([document]))
            assert sum(match.similarity for match in matches) == pytest.approx(float(score), abs=1e-3)
            assert len(matches) == len(colbert.encode_queries([QUERY])[0])

    def test_each_is_the_best_of_all_document_tokens(self, colbert: LateInteractionEncoder) -> None:
        document = "보증금을 돌려준다."
        queries, query_vectors = colbert.encode_tokens(QUERY, "query")
        ids, vectors = colbert.encode_tokens(document, "document")
        np.testing.assert_allclose(vectors, colbert.encode_documents([document])[0], atol=1e-5)
        np.testing.assert_allclose(query_vectors, colbert.encode_queries([QUERY])[0], atol=1e-5)
        texts, cosines = colbert.token_texts(ids), query_vectors @ vectors.T
        assert "보증금" in texts
        assert "." not in texts  # not scored, so nothing can match it
        matches = explain_matches(colbert, QUERY, document)
        assert [match.query_token for match in matches] == colbert.token_texts(queries)
        assert [match.document_token for match in matches] == [texts[match.position] for match in matches]
        assert [match.similarity for match in matches] == pytest.approx(cosines.max(axis=1), abs=1e-5)

    def test_bad_texts(self, colbert: LateInteractionEncoder) -> None:
        with pytest.raises(InvalidTextError, match="query"):
            explain_matches(colbert, None, "글")  # type: ignore[arg-type]
        with pytest.raises(InvalidTextError, match="document"):
            explain_matches(colbert, "글", "\udfff")


def test_a_hit_of_a_hybrid_search(splade: SparseEncoder, documents: list[str]) -> None:
    collection = Collection.in_memory(encoders=[splade], bm25=True)
    collection.add(documents, ids=[f"문서-{index}" for index in range(len(documents))])
    hit = collection.search("보증금", k=1, using="hybrid")[0]
    first, *legs = explain_hit(hit).splitlines()
    assert first == f"{hit.id}: {hit.score:.4f}"
    assert len(legs) == len(hit.legs) == 2
    for line, leg in zip(legs, ["bm25", "sparse"], strict=True):
        assert line.split() == [leg, f"#{hit.legs[leg][0]}", f"{hit.legs[leg][1]:.4f}"]
    assert legs[0].index("#") == legs[1].index("#")


def test_index_weight_lists(splade: SparseEncoder, documents: list[str]) -> None:
    rows = splade.encode_documents(documents)
    for (indices, weights), dense_row in zip(index_weight_lists(rows), rows.toarray(), strict=True):
        assert {type(index) for index in indices} == {int}
        assert {type(weight) for weight in weights} == {float}
        assert indices == np.flatnonzero(dense_row).tolist()
        assert weights == dense_row[indices].tolist()
    assert index_weight_lists(splade.encode_documents([])) == []


class TestAsEncoder:
    def test_settings_of_a_name(self) -> None:
        encoder = as_encoder("mini-dense", family="dense", query_prompt="", device="cpu", max_length=None)
        assert isinstance(encoder, DenseEncoder)
        assert (encoder.prompts["query"], encoder.options.device) == ("", "cpu")
        assert encoder.max_length == load_encoder("mini-dense").max_length

    def test_a_loaded_encoder_must_agree(self, dense: DenseEncoder) -> None:
        own = {"query_prompt": "[Q] ", "max_length": 512, "dtype": "auto", "revision": None, "adapter": None}
        assert as_encoder(dense, family="dense", **own) is dense
        for wrong in ({"query_prompt": ""}, {"max_length": 9}, {"device": "cuda"}, {"revision": "a"}, {"adapter": "b"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                as_encoder(dense, **wrong)
        for late in ("cache_folder", "token"):
            with pytest.raises(InvalidArgumentError, match=f"^{late}=.*[가-힣](?s:.)*already loaded") as caught:
                as_encoder(dense, **{late: "hf_SECRET"})
            assert "SECRET" not in str(caught.value)

    def test_another_family(self, dense: DenseEncoder) -> None:
        for model in (dense, "mini-dense"):
            with pytest.raises(WrongFamilyError, match="KoEmbeddings"):
                as_encoder(model, family="sparse")
