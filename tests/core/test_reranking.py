"""Reranker and TokenCache: order, skipped texts, and a bounded cache."""

import copy
import pickle
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from korag import Collection, LateInteractionEncoder, Reranker, load_encoder, maxsim
from korag.errors import InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.reranking.colbert import TokenCache

QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents encoded so far in a test."""
    seen: list[str] = []
    original = LateInteractionEncoder.encode_documents

    def encode_documents(encoder: LateInteractionEncoder, texts: list[str], **options: Any) -> Any:
        seen.extend(texts)
        return original(encoder, texts, **options)

    monkeypatch.setattr(LateInteractionEncoder, "encode_documents", encode_documents)
    return seen


class TestReranker:
    def test_order_and_scores_are_those_of_maxsim(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        ranked = Reranker(colbert).rerank(QUERY, documents)
        vectors = [tokens.astype(np.float16) for tokens in colbert.encode_documents(documents)]
        expected = maxsim(colbert.encode_queries([QUERY])[0], vectors)
        assert [index for index, _ in ranked] == list(np.argsort(-expected, kind="stable"))
        assert [score for _, score in ranked] == sorted(map(float, expected), reverse=True)
        assert ranked[0][0] == 0
        assert all(type(index) is int and type(score) is float for index, score in ranked)

    def test_scores_equal_those_of_a_collection(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        collection = Collection.in_memory(encoders=[colbert])
        collection.add(documents, ids=[str(index) for index in range(len(documents))])
        hits = collection.search(QUERY, k=len(documents))
        assert Reranker(colbert).rerank(QUERY, documents) == [(int(hit.id), hit.score) for hit in hits]

    def test_scores_are_close_to_float32(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        exact = maxsim(colbert.encode_queries([QUERY])[0], colbert.encode_documents(documents))
        for index, score in Reranker(colbert).rerank(QUERY, documents):
            assert score == pytest.approx(float(exact[index]), abs=5e-3)

    @pytest.mark.parametrize(("top_n", "expected"), [(None, 8), (0, 0), (1, 1), (3, 3), (8, 8), (10**9, 8)])
    def test_top_n_is_the_head_of_all(
        self, colbert: LateInteractionEncoder, documents: list[str], top_n: int | None, expected: int
    ) -> None:
        reranker = Reranker(colbert)
        ranked = reranker.rerank(QUERY, documents, top_n=top_n)
        assert ranked == reranker.rerank(QUERY, documents)[:expected]
        assert len(ranked) == expected

    def test_equal_scores_keep_their_order(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        mixed = [text for other in documents for text in (other, documents[0])]
        ranked = Reranker(colbert).rerank(QUERY, mixed)
        same = [index for index, _ in ranked if mixed[index] == documents[0]]
        assert same == sorted(same)
        assert len({score for index, score in ranked if index in same}) == 1
        assert [index for index, _ in Reranker(colbert).rerank(QUERY, mixed, top_n=3)] == same[:3]

    def test_empty_texts_are_left_out_and_indices_stay(
        self, colbert: LateInteractionEncoder, documents: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        ranked = Reranker(colbert).rerank(QUERY, ["", documents[1], " \n\u200b", documents[0], "\u3000"])
        assert [index for index, _ in ranked] == [3, 1]
        assert "3 of 5 documents skipped" in caplog.text

    def test_nothing_in_nothing_out(
        self, colbert: LateInteractionEncoder, documents: list[str], counted: list[str]
    ) -> None:
        reranker = Reranker(colbert)
        assert reranker.rerank(QUERY, []) == []
        assert reranker.rerank(QUERY, ["", " "]) == []
        assert reranker.rerank(" ", documents) == []
        assert reranker.rerank(QUERY, documents, top_n=0) == []
        assert counted == []

    def test_any_iterable(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        reranker = Reranker(colbert)
        assert reranker.rerank(QUERY, iter(documents)) == reranker.rerank(QUERY, tuple(documents))

    @pytest.mark.parametrize("top_n", [-1, 1.5, "3", True])
    def test_a_wrong_top_n(self, colbert: LateInteractionEncoder, documents: list[str], top_n: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="top_n="):
            Reranker(colbert).rerank(QUERY, documents, top_n=top_n)

    @pytest.mark.parametrize(
        ("query", "texts", "place"),
        [(None, ["a"], "query"), (3, [], "query"), ("a", "문자열", "texts"), ("a", ["b", None], r"texts\[1\]")],
    )
    def test_what_is_not_a_string(self, colbert: LateInteractionEncoder, query: Any, texts: Any, place: str) -> None:
        with pytest.raises(InvalidTextError, match=place):
            Reranker(colbert).rerank(query, texts)

    def test_models_by_name_and_of_another_family(self, dense: Any, documents: list[str]) -> None:
        assert Reranker("mini-colbert").rerank(QUERY, documents, top_n=1)[0][0] == 0
        for model in ("mini-dense", dense):
            with pytest.raises(WrongFamilyError, match="late_interaction"):
                Reranker(model)

    def test_normalization_forms_score_alike(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        decomposed = [unicodedata.normalize("NFD", text) for text in documents]
        expected = Reranker(colbert).rerank(QUERY, documents)
        assert Reranker(colbert).rerank(unicodedata.normalize("NFD", QUERY), decomposed) == expected

    @pytest.mark.slow
    def test_many_threads_score_as_one(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        queries = [f"{text[:6]} {index}" for index, text in enumerate(documents * 3)]
        expected = [Reranker(colbert).rerank(query, documents) for query in queries]
        reranker = Reranker(colbert, cache=TokenCache(20_000))  # too small for all: entries come and go meanwhile
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda query: reranker.rerank(query, documents), queries))
        for result, wanted in zip(results, expected, strict=True):
            assert dict(result) == pytest.approx(dict(wanted), abs=1e-2)  # batches differ, and so do last bits

    @pytest.mark.slow
    def test_the_threshold_goes_by_the_mean_over_query_tokens(
        self, colbert: LateInteractionEncoder, documents: list[str]
    ) -> None:
        reranker = Reranker(colbert)
        found = reranker.rerank(QUERY, documents)
        tokens = len(colbert.encode_queries([QUERY])[0])
        for _, score in found:
            share = float(np.float32(score) / np.float32(tokens))
            assert 0 < share < 1
            kept = reranker.rerank(QUERY, documents, score_threshold=share)
            assert kept == [pair for pair in found if pair[1] >= score]
        assert reranker.rerank(QUERY, documents, score_threshold=0) == found
        assert reranker.rerank(QUERY, documents, score_threshold=1) == []
        assert reranker.rerank(QUERY, documents, score_threshold=0.0, top_n=2) == found[:2]

    def test_one_threshold_for_queries_of_any_length(
        self, colbert: LateInteractionEncoder, documents: list[str]
    ) -> None:
        """MaxSim grows with the query; a text's relevance for itself does not."""
        scores = []
        for text in (documents[0], " ".join(documents[:3])):
            ((index, score),) = Reranker(colbert).rerank(text, ["", text], score_threshold=0.3)
            assert index == 1
            scores.append(score)
        assert scores[1] > 1 or scores[0] > 1  # the scores themselves are far above any threshold

    @pytest.mark.parametrize("wrong", [-0.1, 1.1, 30, "0.5", True, float("nan")])
    def test_a_threshold_outside_its_range(self, colbert: LateInteractionEncoder, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="score_threshold="):
            Reranker(colbert).rerank(QUERY, [], score_threshold=wrong)

    def test_documents_unlike_the_query_stay_at_a_threshold_of_zero(self) -> None:
        """Negative MaxSim counts as a relevance of 0, not as less."""

        class Opposite:
            family = "late_interaction"
            fingerprint = "opposite"

            def encode_documents(self, texts: list[str], **_: Any) -> list[Any]:
                return [np.array([[-1.0, 0.0]], np.float32) for _ in texts]

            def encode_queries(self, texts: list[str]) -> list[Any]:
                return [np.array([[1.0, 0.0]] * 2, np.float32) for _ in texts]

        reranker = object.__new__(Reranker)
        reranker.encoder, reranker.cache = Opposite(), TokenCache()  # type: ignore[assignment]
        assert reranker.rerank("a", ["b", "c"], score_threshold=0) == [(0, -2.0), (1, -2.0)]
        assert reranker.rerank("a", ["b", "c"], score_threshold=0.01) == []

    def test_a_second_query_costs_its_own_encoding_only(
        self, colbert: LateInteractionEncoder, counted: list[str]
    ) -> None:
        """A hundred passages, two queries: every passage is encoded once."""
        passages = [f"제{number}조 {'보증금 반환 ' * (number % 5)}기간은 {number}일로 한다." for number in range(100)]
        reranker = Reranker(colbert)
        assert len(reranker.rerank(QUERY, passages)) == 100
        assert len(counted) == 100
        assert len(reranker.rerank("도서관은 언제 쉬나요?", passages, top_n=3)) == 3
        assert len(counted) == 100

    def test_copies(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        reranker = Reranker(colbert, cache=TokenCache(1_000_000))
        expected = reranker.rerank(QUERY, documents)
        pickled = pickle.dumps(reranker)
        assert len(pickled) < 2_000
        for copied in (pickle.loads(pickled), copy.deepcopy(reranker)):  # noqa: S301
            assert copied.cache.max_bytes == 1_000_000
            assert len(copied.cache) == 0
            assert copied.rerank(QUERY, documents) == expected


class TestTokenCache:
    def test_encodes_each_document_once(
        self, colbert: LateInteractionEncoder, documents: list[str], counted: list[str]
    ) -> None:
        reranker = Reranker(colbert)
        first = reranker.rerank(QUERY, documents)
        assert sorted(counted) == sorted(documents)
        assert reranker.rerank(QUERY, documents) == first
        reranker.rerank("도서관 휴관일", [*documents[::-1], *documents])
        assert len(counted) == len(documents)
        reranker.rerank(QUERY, [documents[0], "새로 온 글"])
        assert counted[len(documents) :] == ["새로 온 글"]

    def test_a_text_twice_in_one_call_is_encoded_once(
        self, colbert: LateInteractionEncoder, counted: list[str]
    ) -> None:
        decomposed = unicodedata.normalize("NFD", "보증금")
        a, b, c = TokenCache().encode(colbert, ["보증금", "보증금", decomposed])
        assert len(counted) == 1
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)

    def test_entries_are_the_encoders_vectors_in_float16(
        self, colbert: LateInteractionEncoder, documents: list[str]
    ) -> None:
        cache = TokenCache()
        for entries in (cache.encode(colbert, documents), cache.encode(colbert, documents)):
            for entry, vectors in zip(entries, colbert.encode_documents(documents), strict=True):
                assert entry.dtype == np.float16
                np.testing.assert_array_equal(entry, vectors.astype(np.float16))

    def test_no_documents(self, colbert: LateInteractionEncoder) -> None:
        assert TokenCache().encode(colbert, []) == []

    def test_the_bound_holds_and_the_oldest_go_first(
        self, colbert: LateInteractionEncoder, documents: list[str], counted: list[str]
    ) -> None:
        sizes = [tokens.nbytes for tokens in TokenCache().encode(colbert, documents)]
        counted.clear()
        cache = TokenCache(sum(sizes[:3]))
        cache.encode(colbert, documents[:3])
        assert (len(cache), cache.nbytes) == (3, sum(sizes[:3]))
        cache.encode(colbert, documents[:1])  # used last: the second is now the oldest
        cache.encode(colbert, documents[3:4])
        assert cache.nbytes <= cache.max_bytes
        counted.clear()
        cache.encode(colbert, documents[:1])
        assert counted == []
        cache.encode(colbert, documents[1:2])
        assert counted == [documents[1]]

    def test_results_do_not_depend_on_the_bound(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        expected = Reranker(colbert).rerank(QUERY, documents)
        for max_bytes in (0, 1, 5_000, 2**40):
            cache = TokenCache(max_bytes)
            assert Reranker(colbert, cache=cache).rerank(QUERY, documents) == expected
            assert cache.nbytes == sum(entry.nbytes for entry in cache._entries.values()) <= max_bytes

    def test_one_document_larger_than_the_bound_leaves_the_others(
        self, colbert: LateInteractionEncoder, documents: list[str]
    ) -> None:
        small = TokenCache().encode(colbert, documents[:1])[0].nbytes
        cache = TokenCache(small)
        cache.encode(colbert, documents[:1])
        cache.encode(colbert, [" ".join(documents)])
        assert (len(cache), cache.nbytes) == (1, small)

    @pytest.mark.parametrize("max_bytes", [-1, 1.5, None, "1", True])
    def test_a_wrong_bound(self, max_bytes: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="max_bytes="):
            TokenCache(max_bytes)

    @pytest.mark.slow
    def test_different_encoders_never_share(self, documents: list[str], counted: list[str]) -> None:
        cache = TokenCache()
        encoders = [
            load_encoder("mini-colbert"),
            load_encoder("mini-colbert", dim=64),
            load_encoder("mini-colbert", document_prompt=""),
            load_encoder("mini-colbert", max_length=8),
        ]
        for encoder in encoders:
            assert isinstance(encoder, LateInteractionEncoder)
            entries = cache.encode(encoder, documents[:2])
            for entry, vectors in zip(entries, TokenCache().encode(encoder, documents[:2]), strict=True):
                np.testing.assert_array_equal(entry, vectors)
        assert len(cache) == 2 * len(encoders)
        counted.clear()
        again = load_encoder("mini-colbert")  # another object of the same fingerprint: the same vectors
        assert isinstance(again, LateInteractionEncoder)
        cache.encode(again, documents[:2])
        assert counted == []

    def test_threads_keep_the_books(self, documents: list[str]) -> None:
        """Many threads add and read entries of a fake encoder; size and bound stay correct."""

        class Made:
            fingerprint = "made"

            def encode_documents(self, texts: list[str], **_: Any) -> list[Any]:
                return [np.full((int(text) % 7 + 1, 8), int(text) % 100, np.float32) for text in texts]

        cache = TokenCache(3_000)
        wrong: list[str] = []

        def work(seed: int) -> None:
            random = np.random.default_rng(seed)
            for _ in range(200):
                texts = [str(number) for number in random.integers(0, 90, 9)]
                for text, entry in zip(texts, cache.encode(Made(), texts), strict=True):  # type: ignore[arg-type]
                    if len(entry) != int(text) % 7 + 1 or not (entry == int(text) % 100).all():
                        wrong.append(text)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert cache.nbytes == sum(entry.nbytes for entry in cache._entries.values())
        assert 0 < cache.nbytes <= 3_000
