"""Cutting a very long text before it is tokenized changes no token that is kept, whatever the tokenizer."""

import logging
import random
import unicodedata

import numpy as np
import pytest
from checkpoints import cross_encoder, dense, native, pylate, roberta
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from korag import CrossEncoderReranker, load_encoder
from korag.encoders import cutting

WORDS = [
    "임차인은",
    "보증금을 돌려받을 권리가",
    "있다.",
    "제6조의2,",
    "GPT-4를",
    "빌렸다!",
    "漢字",
    "かな",
    "Straße",
    "나",
]
WORDS += ["http://예.한국/가?나=1", "👩‍👩‍👧", "가나다라마바사", "(1,500.5)", "{'열쇠':"]
UNKNOWN = "[UNK]"
SPACES = [" ", " ", " ", "\n", "  ", "\t", "\u3000", "\r\n", " \n \n ", "\u00a0"]
ODD = [
    "",
    "\ufeff",
    "[SEP]",
    "[MASK]",
    "<mask>",
    "\u0301" * 40,
    "\u1100\u1161\u11a8",
    "a" * 150,
    "ㅋ" * 60,
    "가" * 90,
    "1" * 70,
]
ODD += ["\x00", "\u200d", "\U000e0041", "..." * 30, "'s", "İ", "ﬁ", "①"]


def some_text(rng, size):
    parts = []
    while size > 0:
        part = rng.choice(ODD) if rng.random() < 0.1 else rng.choice(WORDS)
        parts += [part, rng.choice(SPACES) if rng.random() < 0.9 else ""]
        size -= len(part) + 1
    text = "".join(parts)
    return unicodedata.normalize("NFD", text) if rng.random() < 0.2 else text


def trained(kind):
    """A tokenizer of one of the kinds that models have, with a vocabulary of its own."""
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    corpus = [some_text(random.Random(seed), 2_000) for seed in range(20)]
    match kind:
        case "byte-level BPE":
            made = Tokenizer(models.BPE())
            made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
            trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False)
        case "BPE, digits in threes":
            made = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN))
            made.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(r"\p{N}{1,3}|[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ])  # fmt: skip
            trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False)
        case "WordPiece":
            made = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
            made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
            trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=special, show_progress=False)
        case "Unigram":
            made = Tokenizer(models.Unigram())
            made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
            made.pre_tokenizer = pre_tokenizers.Metaspace()
            trainer = trainers.UnigramTrainer(
                vocab_size=800, special_tokens=special, show_progress=False, unk_token=UNKNOWN
            )
        case _:  # as Gemma and Llama have it: the whole text is one word
            made = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN))
            made.normalizer = normalizers.Replace(" ", "▁")
            trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False)
    made.train_from_iterator(corpus, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token=UNKNOWN)
    tokenizer.add_tokens(["[Q] ", "보증금을 돌려받을 권리가"])
    return tokenizer


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["byte-level BPE", "BPE, digits in threes", "WordPiece", "Unigram", "BPE without words"]
)
def test_the_tokens_kept_are_the_same(kind):
    tokenizer, cut = trained(kind), 0
    for seed in range(60):
        rng = random.Random(seed)
        limit, text = rng.choice([1, 8, 60]), some_text(rng, rng.choice([500, 3_000, 20_000]))
        prompt = rng.choice(["", "query: ", "[Q] "])
        (short,) = cutting.cut_texts(tokenizer, [text], limit, prompt=prompt)
        whole = tokenizer(prompt + text, truncation=False, verbose=False)["input_ids"]
        found = tokenizer(prompt + short, truncation=False, verbose=False)["input_ids"]
        assert text.startswith(short)
        assert found[:limit] == whole[:limit], seed
        assert found == whole if short == text else len(found) > limit, seed
        cut += short != text
    assert cut > 20


CHECKPOINTS = {
    "dense": dense, "roberta": roberta, "pylate": pylate, "native": native,
    **dict.fromkeys(["mini-dense", "mini-splade", "mini-colbert"]),
}  # fmt: skip


@pytest.fixture(params=list(CHECKPOINTS))
def encoder(request, tmp_path):
    build = CHECKPOINTS[request.param]
    if build is None:
        return load_encoder(request.param, max_length=32)
    build(tmp_path)
    return load_encoder(tmp_path, max_length=32)


def vectors(encoder, texts):
    documents, queries = encoder.encode_documents(texts), encoder.encode_queries(texts)
    return [
        (part.toarray() if hasattr(part, "toarray") else np.asarray(part))
        for rows in (documents, queries)
        for part in (rows if isinstance(rows, list) else [rows])
    ]


@pytest.mark.slow
def test_vectors_are_those_of_the_whole_text(encoder, monkeypatch, caplog):
    texts = [some_text(random.Random(seed), size) for seed, size in enumerate([100, 5_000, 20_000, 60_000])]
    texts += ["가" * 30_000, " " * 30_000 + "끝", "\u1100" * 20_000, "보증금을돌려받을권리" * 3_000, "👩‍👩‍👧" * 3_000]
    found, warnings = vectors(encoder, texts), [text for name, _, text in caplog.record_tuples if name == "korag"]
    caplog.clear()
    monkeypatch.setattr(cutting, "_cut", lambda tokenizer, text, limit, prompt: text)
    for one, other in zip(found, vectors(encoder, texts), strict=True):
        np.testing.assert_array_equal(one, other)
    exact = [text for name, _, text in caplog.record_tuples if name == "korag"]
    for one, other in zip(warnings, exact, strict=True):
        assert one.partition("(")[0] == other.partition("(")[0]  # as many texts are truncated
        assert ("longest" not in one) or " or more" in one


@pytest.mark.slow
def test_scores_are_those_of_the_whole_pair(tmp_path, monkeypatch):
    cross_encoder(tmp_path)
    for length in (32, 33):
        reranker = CrossEncoderReranker(tmp_path, max_length=length)
        sizes = [(30, 20_000), (20_000, 30), (2_500, 3_000), (3_000, 2_500), (3_000, 500), (500, 3_000)]
        pairs = [(some_text(random.Random(a), a), some_text(random.Random(b + 1), b)) for a, b in sizes]
        pairs.append((pairs[2][0], pairs[2][0]))
        with monkeypatch.context() as patch:
            patch.setattr(cutting, "_cut", lambda tokenizer, text, limit, prompt: text)
            whole = [reranker.rerank(query, [text]) for query, text in pairs]
        assert [reranker.rerank(query, [text]) for query, text in pairs] == whole


def test_a_long_text_is_not_tokenized_whole(monkeypatch, caplog):
    encoder = load_encoder("mini-dense", max_length=128)
    model, seen = encoder.load(), []
    tokenizer = type(model.tokenizer)
    call = tokenizer.__call__
    monkeypatch.setattr(
        tokenizer, "__call__", lambda self, text, *a, **k: seen.append(len(str(text))) or call(self, text, *a, **k)
    )
    text = "보증금은 이사하는 날 돌려준다. " * 50_000
    with caplog.at_level(logging.WARNING, "korag"):
        encoder.encode_documents([text])
    assert 0 < max(seen) < 20_000
    assert "or more" in caplog.text
    assert "토큰 이상" in caplog.text
