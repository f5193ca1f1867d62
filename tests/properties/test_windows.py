"""Windows cover a text whatever it holds, and the search over windows equals scoring every window of every document."""

import random
import unicodedata

import numpy as np
import pytest

from korag import Collection, load_encoder
from korag.legs.windows.leg import _enough
from korag.legs.windows.settings import Windows
from korag.legs.windows.splitting import split_documents
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

PARTS = [
    "임차인은", "보증금을 돌려받을 권리가", "있다.", "제6조의2,", "GPT-4를", "漢字", "かな", "Straße", "나",
    "(1,500.5)",
    "http://예.한국/가?나=1", "👩‍👩‍👧", "\ufeff", "[SEP]", "<mask>", "e\u0301\u0316", "\u1100\u1161\u11a8", "a" * 150,
    "ㅋ" * 60, "가" * 90, "1" * 70, "\x00", "\u200d", "..." * 30, "İ", "ﬁ", "①",
]  # fmt: skip
SPACES = ["", " ", " ", " ", "\n", "  ", "\t", "\u3000", "\r\n", " \n \n ", "\u00a0"]
ENCODERS = {
    "words": lambda: FakeDenseEncoder(document_prompt="문서: "),
    "mini-dense": lambda: load_encoder("mini-dense"),
    "mini-colbert": lambda: load_encoder("mini-colbert"),
}


def some_text(rng, size):
    text = "".join(rng.choice(PARTS) + rng.choice(SPACES) for _ in range(size // 10))
    return unicodedata.normalize("NFD", text) if rng.random() < 0.3 else text


@pytest.mark.parametrize("name", ENCODERS)
def test_windows_cover_the_text_and_fit(name):
    encoder = ENCODERS[name]()
    for seed in range(8):
        rng = random.Random(seed)
        size = rng.choice([32, 64, 200])
        windows = Windows(size, rng.choice([size, size // 2, max(1, size // 5)]))
        text = some_text(rng, rng.choice([100, 1_000, 5_000])) + rng.choice(
            ["", "가" * 3_000, " " * 500, "\u1112\u1161" * 400]
        )
        if not text.strip():
            continue
        (spans,) = split_documents(encoder, [text], windows)
        counts = encoder.count_tokens([text[begin:end] for begin, end in spans])
        assert max(counts) <= size, seed
        if len(spans) == 1:
            continue
        begins, ends = zip(*spans, strict=True)
        assert list(begins) == sorted(set(begins))
        assert list(ends) == sorted(set(ends))
        read = np.zeros(len(text), np.bool_)
        for begin, end in spans:
            assert 0 <= begin < end <= len(text)
            assert not text[begin].isspace()
            assert not text[end - 1].isspace()
            assert unicodedata.combining(text[begin]) == 0
            assert not 0x1160 <= ord(text[begin]) <= 0x11FF  # in the middle of a decomposed syllable
            read[begin:end] = True
        assert all(read[place] or character.isspace() for place, character in enumerate(text)), seed


def test_a_window_begins_a_stride_after_the_one_before():
    text = " ".join(f"말{number}" for number in range(100))
    (spans,) = split_documents(FakeDenseEncoder(), [text], Windows(20, 15))
    firsts = [int(text[begin:end].split()[0][1:]) for begin, end in spans]
    assert firsts == [0, 15, 30, 45, 60, 75, 80]  # the last one is moved back until it is full
    assert [len(text[begin:end].split()) for begin, end in spans] == [20] * 7


def test_texts_that_fit_are_one_window_as_they_are():
    texts = [" 말 " * 16, "\u200b말", "말 " * 16 + "\n"]
    assert split_documents(FakeDenseEncoder(), texts, Windows(16, 8)) == [[(0, len(text))] for text in texts]


def test_enough_windows_are_of_enough_documents():
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = rng.integers(1, rng.integers(2, 9), rng.integers(1, 30))
        k = int(rng.integers(1, 35))
        documents = np.repeat(np.arange(len(counts)), counts)
        rng.shuffle(documents)  # any order of windows, best first
        worst = documents[np.argsort(-counts[documents], kind="stable")]
        for order in (documents, worst):
            assert len(set(order[: _enough(counts, k)].tolist())) >= min(k, len(counts))


WORDS = ["보증금", "반환", "열쇠", "창고", "화분", "주차", "회의", "휴가", "신청서", "우산", "안내", "창구", "도서관"]


@pytest.mark.parametrize("make", [FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder])
def test_search_equals_scoring_every_window(make):
    rng = random.Random(7)
    texts = [" ".join(rng.choices(WORDS, k=rng.choice([3, 9, 30, 150]))) for _ in range(80)]
    windows = Windows(16, 10)
    split = split_documents(make(), texts, windows)
    queries = [" ".join(rng.sample(WORDS, 3)) for _ in range(6)]
    with (
        Collection.in_memory(encoders=[make()], window=16, stride=10) as collection,
        Collection.in_memory(encoders=[make()], window=None) as every,
    ):
        for number, (text, spans) in enumerate(zip(texts, split, strict=True)):
            collection.add([text], ids=[str(number)])
            places = [f"{number} {begin} {end}" for begin, end in spans]
            every.add([text[begin:end] for begin, end in spans], ids=places)
        for query in queries:
            best = {}
            for hit in every.search(query, k=10_000):
                number, *span = map(int, hit.id.split())
                best.setdefault(number, (hit.score, tuple(span)))
            expected = sorted(best.items(), key=lambda item: (-item[1][0], item[0]))
            for k in (1, 2, 5, 20, 80):
                found = collection.search(query, k=k)
                assert [(int(hit.id), hit.score) for hit in found] == [(n, score) for n, (score, _) in expected[:k]]
                for hit in found:
                    spans = split[int(hit.id)]
                    assert hit.span == (None if len(spans) == 1 else best[int(hit.id)][1])
            for hit in collection.search(query, k=5, exact=False):
                assert hit.score == best[int(hit.id)][0]
