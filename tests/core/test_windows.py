"""Long documents are read whole: in windows, and found by the best of them, with its place in the text."""

import logging
import pickle
import unicodedata

import pytest
from toy_codec import register as register_halves

from korag import Collection, Hit, load_encoder
from korag.errors import FingerprintError, InvalidArgumentError
from korag.legs.registry import temporary_registrations
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

FILLER = (
    "오늘 회의에서는 사무실 배치와 점심 식단과 주차 구역 조정을 두고 오래 이야기했으나 결론은 나지 않았다. "
    "참석자들은 다음 주 화요일 오전에 다시 모이기로 하였고 회의록은 총무가 정리해 돌리기로 했다. "
)
KEYS = (
    "지하 창고는 늘 잠가 둔다. 창고 열쇠는 두 개뿐이고 하나는 관리인이 가지고 있다. 창고에 들어가려면 먼저 열쇠를 "
    "찾아야 한다. 열쇠를 잃어버리면 자물쇠를 바꾸어야 하므로 쓰고 나면 창고 열쇠를 제자리에 도로 숨긴다. "
) * 6
ANSWER = "지하 창고의 열쇠는 현관 앞 파란 화분 밑에 숨겨 두었다."
QUESTION = "지하 창고의 열쇠는 어디에 숨겨 두었나요?"
LONG = FILLER * 90 + KEYS + ANSWER
OTHERS = {
    "우산": "빌린 우산은 안내 창구 옆 통에 꽂아 두면 된다.",
    "휴가": "휴가 신청서는 사흘 전까지 팀장에게 낸다.",
    "회의": FILLER,
}
MINI = ("mini-dense", "mini-colbert", "mini-splade")
FAKES = (FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder)


def fakes():
    return [make() for make in FAKES]


def filled(collection, text=LONG):
    collection.add([*OTHERS.values(), text], ids=[*OTHERS, "긴 글"])
    return collection


@pytest.fixture(scope="module")
def mini():
    with Collection.in_memory(encoders=MINI, bm25=True) as collection:
        yield filled(collection)


def ranks(collection, using):
    hits = collection.search(QUESTION, using=using, k=4)
    return [hit.id for hit in hits], {hit.id: hit for hit in hits}


@pytest.mark.parametrize("using", ["dense", "colbert", "sparse", "hybrid"])
def test_an_answer_at_the_end_of_a_long_document_is_found(mini, using):
    assert load_encoder("mini-dense").count_tokens([LONG])[0] > 512
    found, hits = ranks(mini, using)
    assert found[0] == "긴 글"
    begin, end = hits["긴 글"].span
    assert LONG[begin:end].endswith(ANSWER)
    assert hits["긴 글"].passage == LONG[begin:end]
    with Collection.in_memory(encoders=MINI, window=None) as cut:
        filled(cut)
        if using != "hybrid":
            assert ranks(cut, using)[1]["긴 글"].score < hits["긴 글"].score


def test_nothing_is_cut_and_nothing_is_warned_of_by_default(mini, caplog):
    with caplog.at_level(logging.WARNING, "korag"), Collection.in_memory(encoders=["mini-dense"]) as collection:
        filled(collection)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "korag"), Collection.in_memory(encoders=["mini-dense"], window=None) as cut:
        filled(cut)
    assert "1 of 4 documents truncated" in caplog.text


def test_short_documents_have_the_vectors_and_scores_of_before():
    with (
        Collection.in_memory(encoders=MINI) as split,
        Collection.in_memory(encoders=MINI, window=None) as whole,
    ):
        for collection in (split, whole):
            collection.add(OTHERS.values(), ids=list(OTHERS))
        for using in (*split.legs, "hybrid"):
            one, other = split.search(QUESTION, using=using), whole.search(QUESTION, using=using)
            assert one == other
            assert {hit.span for hit in one} == {None}
            assert [hit.passage for hit in one] == [hit.text for hit in one]


def test_a_score_is_that_of_the_best_window_alone():
    with Collection.in_memory(encoders=fakes(), window=16, stride=8) as collection:
        filled(collection)
        for using in collection.legs:
            hit = next(hit for hit in collection.search(QUESTION, using=using, k=10) if hit.id == "긴 글")
            with Collection.in_memory(encoders=fakes(), window=None) as alone:
                alone.add([LONG[slice(*hit.span)]])
                (same,) = alone.search(QUESTION, using=using)
            assert hit.score == same.score, using
            assert hit.relevance == same.relevance


@pytest.mark.parametrize("text", [LONG, unicodedata.normalize("NFD", LONG), "\u200b" + LONG.replace(" ", "\u3000 \n")])
def test_spans_are_places_in_the_stored_text(text):
    with Collection.in_memory(encoders=MINI) as collection:
        filled(collection, text)
        for using in collection.legs:
            hit = ranks(collection, using)[1]["긴 글"]
            begin, end = hit.span
            assert 0 < begin < end <= len(text)
            assert hit.text == text
            assert "파란" in unicodedata.normalize("NFC", hit.passage)
            assert not hit.passage[0].isspace()
            assert unicodedata.combining(hit.passage[0]) == 0


def test_windows_survive_saving_merging_replacing_and_pickling(tmp_path):
    def state(collection):
        return {using: collection.search(QUESTION, using=using, k=9) for using in (*collection.legs, "hybrid")}

    with Collection.open(tmp_path / "a", encoders=fakes(), bm25=True, window=16, stride=12) as collection:
        for number in range(20):  # more than a tier of segments
            collection.add([FILLER * (number % 4) + f"{number}번 글이다. {ANSWER}"], ids=[str(number)])
        filled(collection)
        collection.add(["열쇠 이야기는 이제 없다."], ids=["3"])
        collection.delete(["7"])
        before = state(collection)
        assert any(hit.span for hits in before.values() for hit in hits)
        collection.compact()
        assert state(collection) == before
        with pickle.loads(pickle.dumps(collection)) as copied:  # noqa: S301 (our own)
            assert state(copied) == before
        collection.save(tmp_path / "b")
    with Collection.open(tmp_path / "b", encoders=fakes()) as again:
        assert state(again) == before
        again.add([LONG], ids=["더"])
        assert again.search(QUESTION, using="dense", k=30, where=None)[0].score == before["dense"][0].score
    assert Collection.verify(tmp_path / "b").ok
    with Collection.in_memory(encoders=fakes(), window=16, stride=12) as memory:
        filled(memory)
        with pickle.loads(pickle.dumps(memory)) as copied:  # noqa: S301 (our own)
            assert state(copied) == state(memory)


def test_filters_choose_documents_not_windows():
    with Collection.in_memory(encoders=fakes(), window=16) as collection:
        texts = [FILLER * size + ANSWER for size in (1, 2, 3, 4)]
        collection.add(texts, ids=list("abcd"), metadata=[{"n": n} for n in range(4)])
        for using in (*collection.legs, "hybrid"):
            hits = collection.search(QUESTION, using=using, where={"n": {"$in": [1, 3]}}, k=10)
            assert sorted(hit.id for hit in hits) == ["b", "d"]
            for hit in hits:
                assert "화분" in hit.passage


def test_equal_documents_tie_in_insertion_order():
    with Collection.in_memory(encoders=fakes(), window=16) as collection:
        collection.add([FILLER * 2 + ANSWER] * 3 + [ANSWER + FILLER * 2], ids=list("dbca"))
        for using in (*collection.legs, "hybrid"):
            for k in (1, 2, 3):
                hits = collection.search(QUESTION, using=using, k=k)
                same = [hit.id for hit in hits if hit.id != "a"]
                assert same == list("dbc")[: len(same)], using


def test_searching_by_vector_and_diversity_know_windows():
    encoder = FakeDenseEncoder()
    with Collection.in_memory(encoders=[encoder], window=16) as collection:
        filled(collection)
        hits = collection.search_by_vector(encoder.encode_queries([QUESTION])[0], k=4)
        assert hits[0].id == "긴 글"
        assert hits[0].passage.endswith(ANSWER)
        assert len(collection.diversify(hits, k=3)) == 3


def test_old_and_uncut_collections_stay_as_they_are(tmp_path):
    with Collection.open(tmp_path / "a", encoders=["mini-dense"], window=None) as collection:
        filled(collection)
        assert ranks(collection, "dense")[1]["긴 글"].span is None
    with Collection.open(tmp_path / "a") as again:
        again.add([LONG], ids=["또"])
        assert {hit.span for hit in again.search(QUESTION)} == {None}
    with pytest.raises(FingerprintError, match=r"window=None, not 256"):
        Collection.open(tmp_path / "a", window=256)


def test_a_collection_keeps_its_windows(tmp_path):
    with Collection.open(tmp_path / "a", encoders=["mini-dense"], window=256, stride=128) as collection:
        filled(collection)
        span = ranks(collection, "dense")[1]["긴 글"].span
    with Collection.open(tmp_path / "a", window=256, stride=128) as again:
        assert ranks(again, "dense")[1]["긴 글"].span == span
    for arguments, message in [
        ({"window": 512}, "window=256, not 512"),
        ({"window": None}, "window=256, not None"),
        ({"stride": 64}, "stride=128, not 64"),
    ]:
        with pytest.raises(FingerprintError, match=message):
            Collection.open(tmp_path / "a", **arguments)


def test_another_codec_stores_windows_too(tmp_path):
    with temporary_registrations():
        register_halves()
        arguments = {"encoders": [FakeDenseEncoder()], "codecs": {"dense": "halves"}}
        with Collection.open(tmp_path / "a", window=16, **arguments) as collection:
            filled(collection)
            hit = collection.search(QUESTION)[0]
            assert hit.passage.endswith(ANSWER)
        with Collection.open(tmp_path / "a", **arguments) as again:
            assert again.search(QUESTION)[0] == hit
        with pytest.raises(FingerprintError, match="codec='halves'"):
            Collection.open(tmp_path / "a", encoders=[FakeDenseEncoder()], codecs={"dense": "float32"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 15}, "window=15 is invalid; it must be an integer of at least 16"),
        ({"window": "all"}, "window='all' is invalid"),
        ({"window": 64.0}, "window=64.0 is invalid"),
        ({"window": True}, "window=True is invalid"),
        ({"window": 513}, "'mini-dense' reads up to 512 tokens"),
        ({"window": 64, "stride": 65}, "stride=65 is larger than window=64"),
        ({"stride": 600}, "stride=600 is larger than window=512"),
        ({"window": 64, "stride": 0}, "stride=0 is invalid"),
        ({"window": None, "stride": 8}, "stride=8 has no effect with window=None"),
        ({"encoders": None, "bm25": True, "window": 64}, "BM25 always indexes whole documents"),
        ({"encoders": None, "bm25": True, "stride": 64}, "BM25 always indexes whole documents"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_is_made(tmp_path, arguments, message):
    for make in (Collection.in_memory, lambda **given: Collection.open(tmp_path / "new", **given)):
        with pytest.raises(InvalidArgumentError, match=message):
            make(**{"encoders": ["mini-dense"], **arguments})
    assert not (tmp_path / "new").exists()


def test_a_window_that_a_prompt_fills_is_an_error():
    encoder = FakeDenseEncoder(document_prompt="하나 둘 셋 넷 " * 4)
    with Collection.in_memory(encoders=[encoder], window=16) as collection:
        with pytest.raises(InvalidArgumentError, match="alone take 16"):
            collection.add([LONG])
        assert len(collection) == 0


def test_an_encoder_without_a_tokenizer_counts_characters():
    class Plain(FakeDenseEncoder):
        def count_tokens(self, texts):
            return super(FakeDenseEncoder.__mro__[1], self).count_tokens(texts)  # that of Encoder

    with Collection.in_memory(encoders=[Plain()], window=40, stride=20) as collection:
        filled(collection)
        hit = collection.search(QUESTION)[0]
        assert hit.id == "긴 글"
        assert len(hit.passage) <= 40


def test_endless_documents_are_read_up_to_a_limit_that_is_said(monkeypatch, caplog):
    monkeypatch.setattr("korag.legs.windows.splitting.MAX_WINDOWS", 4)
    with Collection.in_memory(encoders=[FakeDenseEncoder()], window=16) as collection:
        with caplog.at_level(logging.WARNING, "korag"):
            filled(collection)
        assert "1 of 4 documents are so long" in caplog.text
        assert max(hit.span[1] for hit in collection.search(QUESTION) if hit.span) < len(LONG)


def test_a_hit_made_by_another_store_has_no_span():
    hit = Hit(id="a", score=1.0, text="글")
    assert (hit.span, hit.passage) == (None, "글")
