"""Writes ``pylate/``: a small ColBERT model on a byte-level BPE tokenizer, saved by PyLate, and PyLate's own vectors.

    PYTHONPATH=tests python tests/golden/make_pylate.py

PyLate 1.6 requires sentence-transformers 5.3, so this runs in an environment of its own, without KoRAG.
"""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

import numpy as np
import torch
from pylate.models import ColBERT
from tokenizer_kinds import byte_level_bpe
from transformers import AutoConfig, AutoModel

TARGET = Path(__file__).parent / "pylate"
PROMPTS = {"query": "질의: ", "document": "문서: "}
SENTENCES = [
    "보증금 반환", "  앞뒤 공백  ", "끝 공백   ", "\n줄바꿈으로 시작하고 끝남\r\n\n", "\t탭\t", "\u3000전각 공백\u3000",
    "\xa0줄바꿈 없는 공백\xa0", "\x1c\x1d\x1e\x1f구분자\x85", "\u2028줄과 문단 구분\u2029", "\u2003 넓은 공백 \u205f",
    "\u200b폭 없는 공백\u200b", "\ufeff순서 표시", "   ", "", " \u1112\u1161\u11ab\u1100\u1173\u11af ",
    " [Q] 표가 있는 글 [D] ", " 전기 요금은 매달 이십오 일까지 내야 하며 늦으면 연체료가 붙는다. " * 4,
]  # fmt: skip


def main() -> None:
    """Saves the model and encodes every sentence as a query and as a document, without and with prompts."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        model = ColBERT(
            str(_backbone(Path(place))), embedding_size=8, query_length=32, document_length=60, device="cpu",
            skiplist_words=list(string.punctuation),
        )  # fmt: skip
    model.save(str(TARGET / "checkpoint"), create_model_card=False)
    vectors = {
        f"{'prompted' if prompts else 'plain'}/{task}/{index}": model.encode(
            [sentence], is_query=task == "query", prompt=prompts.get(task)
        )[0]
        for prompts in ({}, PROMPTS)
        for task in ("query", "document")
        for index, sentence in enumerate(SENTENCES)
    }
    np.savez_compressed(TARGET / "expected.npz", **vectors)
    (TARGET / "texts.json").write_text(json.dumps({"texts": SENTENCES, "prompts": PROMPTS}, indent=1), encoding="utf-8")


def _backbone(folder: Path) -> Path:
    words = byte_level_bpe()
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        "modernbert", vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=128, local_attention=16, initializer_range=0.3, pad_token_id=0,
        bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
