"""Tokenizers of the kinds that Korean checkpoints have, trained on our own sentences.

They treat whitespace differently: to byte-level BPE a space is part of the next token, SentencePiece folds runs of
spaces, and WordPiece drops them all.
"""

# ruff: noqa: S106 (special tokens, not passwords)

from collections.abc import Callable

from sentences import DOCUMENTS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""The pattern by which GPT-2 splits texts, and after it ModernBERT and A.X-Encoder."""
_VOCABULARY = 480
TEXTS = DOCUMENTS * 4


def byte_level_bpe() -> PreTrainedTokenizerFast:
    """ModernBERT's and A.X-Encoder's kind: NFC, split by a pattern, bytes; no space is put before a text."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(made, trainers.BpeTrainer(
        vocab_size=_VOCABULARY, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    ))  # fmt: skip


def unigram() -> PreTrainedTokenizerFast:
    """XLM-RoBERTa's kind: SentencePiece's Unigram, with a mark for spaces, runs of which are one."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")
    ])  # fmt: skip
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return _trained(made, trainers.UnigramTrainer(
        vocab_size=_VOCABULARY, special_tokens=_SPECIAL, unk_token="[UNK]", show_progress=False
    ))  # fmt: skip


def word_piece() -> PreTrainedTokenizerFast:
    """BERT's kind: words and punctuation, without spaces."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return _trained(made, trainers.WordPieceTrainer(
        vocab_size=_VOCABULARY, special_tokens=_SPECIAL, show_progress=False
    ))  # fmt: skip


def _trained(made: Tokenizer, trainer: object) -> PreTrainedTokenizerFast:
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=256,
    )  # fmt: skip


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level BPE": byte_level_bpe, "unigram": unigram, "WordPiece": word_piece
}  # fmt: skip
