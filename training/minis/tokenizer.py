"""The tokenizer: a Unigram model with byte fallback over lower-cased NFKC text, without word boundaries."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from training.minis.acts import act_key, held_out_acts, is_article_of
from training.minis.config import BYTE_TOKENS, CLS, FIRST_PIECE, SEP, SPECIAL_TOKENS, UNK, VOCAB_SIZE

logger = logging.getLogger(__name__)

_PAIR_SOURCES = (  # source, maximum megabytes, repetitions
    ("prec_issue_holding", 9, 1),
    ("msdocs_ko_title_section", 7, 1),
    ("strategyqa_ko_facts", 99, 2),
    ("tydiqa_ko", 99, 4),
    ("question_pair_dup", 99, 1),
)
_STATUTE_MEGABYTES = 9
_TEXT_CHARACTERS = 700


def read_statutes(data: Path) -> list[str]:
    """Reads the articles of all acts except the held-out ones, as ``<act> <title> <text>``."""
    acts = held_out_acts(data)
    table = pq.read_table(data / "text/statute_articles.parquet", columns=["law", "title", "text"])
    return [
        f"{row['law']} {row['title'] or ''} {row['text']}"
        for row in table.to_pylist()
        if act_key(row["law"]) not in acts
    ]


def sample_text(data: Path, seed: int = 0) -> Iterator[str]:
    """Samples about 30 MB of training text, with the small general sources repeated.

    Args:
        data: The data folder.
        seed: Seed of the sample.

    Yields:
        The texts.
    """
    rng = np.random.default_rng(seed)
    yield from _take(read_statutes(data), _STATUTE_MEGABYTES, rng)
    acts = held_out_acts(data)
    for source, megabytes, times in _PAIR_SOURCES:
        table = pq.read_table(data / f"train/{source}.parquet", columns=["query", "positive"])
        # a text in many pairs counts once
        texts = list(dict.fromkeys(table["query"].to_pylist() + table["positive"].to_pylist()))
        texts = [text for text in texts if not is_article_of(text, acts)]
        for _ in range(times):
            yield from _take(texts, megabytes, rng)


def _take(texts: Sequence[str], megabytes: float, rng: np.random.Generator) -> Iterator[str]:
    size = 0
    for index in rng.permutation(len(texts)):
        text = texts[index][:_TEXT_CHARACTERS]
        size += len(text.encode())
        if size > megabytes * 1e6:
            return
        yield text


def train_tokenizer(data: Path, path: Path) -> None:
    """Trains the tokenizer and writes it.

    Pieces do not mark the beginning of words, so that 손해 배상 and 손해배상 share them; with at most eight characters
    per piece, the segmentation is close to morphemes.

    Args:
        data: The data folder.
        path: The ``tokenizer.json`` to write.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=False)]
    )
    pieces = VOCAB_SIZE - FIRST_PIECE
    trainer = trainers.UnigramTrainer(
        vocab_size=pieces + 1,
        special_tokens=[],
        unk_token=SPECIAL_TOKENS[UNK],
        max_piece_length=8,
        shrinking_factor=0.7,
        n_sub_iterations=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample_text(data), trainer)
    tokenizer = _with_byte_fallback(tokenizer, pieces)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    tokenizer.decoder = decoders.ByteFallback()
    tokenizer.save(str(path), pretty=False)
    logger.info("tokenizer: %d tokens, %d bytes", tokenizer.get_vocab_size(), path.stat().st_size)


def _with_byte_fallback(tokenizer: Tokenizer, pieces: int) -> Tokenizer:
    """Adds special and byte tokens before the pieces; the trainer does not support byte fallback."""
    description = json.loads(tokenizer.to_str())
    learned = [entry for entry in description["model"]["vocab"] if entry[0] != SPECIAL_TOKENS[UNK]][:pieces]
    byte_score = min(score for _, score in learned) - 10  # only for characters that no piece covers
    description["model"].update(
        vocab=[
            *([token, 0.0] for token in SPECIAL_TOKENS),
            *([f"<0x{byte:02X}>", byte_score] for byte in range(BYTE_TOKENS)),
            *learned,
        ],
        unk_id=UNK,
        byte_fallback=True,
    )
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    description["added_tokens"] = [{"id": i, "content": token, **flags} for i, token in enumerate(SPECIAL_TOKENS)]
    return Tokenizer.from_str(json.dumps(description, ensure_ascii=False))
