"""Korean texts to encode, with typical or fixed lengths."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SENTENCES = (
    "세입자는 이사한 다음 날까지 주민센터에 전입신고를 해야 대항력을 얻는다.",
    "이 기계는 전원을 끈 뒤에도 십 분 동안 뜨거우므로 덮개를 열지 마십시오.",
    "조선 후기에 장시가 늘어나면서 보부상의 활동 범위도 함께 넓어졌다.",
    "제12조(휴가) 직원은 한 해에 열닷새의 유급 휴가를 쓸 수 있다.",
    "광합성은 잎의 엽록체에서 빛을 받아 이산화탄소와 물로 당을 만드는 과정이다.",
    "배포 전에 `config.yaml`의 timeout 값을 30초에서 120초로 올려 두세요.",
    "환불은 결제한 수단으로만 되며 카드사에 따라 사흘에서 닷새가 걸립니다.",
    "한강 하류의 습지에는 해마다 겨울이면 두루미와 기러기가 찾아온다.",
    "보험금을 청구하려면 진단서와 영수증, 통장 사본을 지점에 내야 한다.",
    "서버의 메모리가 부족하면 색인을 나누어 만들고 나중에 합치는 편이 낫다.",
    "그 소설은 바닷가 마을에서 자란 두 자매의 엇갈린 삶을 담담하게 그린다.",
    "회의록은 회의가 끝난 날부터 이틀 안에 참석자 모두에게 보내야 한다.",
)
MEDIAN, SPREAD = 123, 0.65
"""Parameters of the log-normal distribution of lengths in tokens, like the Korean Wikipedia passages of TyDi QA
(percentiles: 5 % 40, 50 % 123, 95 % 353)."""
LONGEST = 480
QUERY = "계약이 끝나면 보증금은 언제까지 돌려받을 수 있나요?"


def add_texts_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--texts``, for `read_texts`."""
    parser.add_argument("--texts", type=Path, help="Parquet with a column text, or a text per line; default: built in")


def read_texts(path: Path) -> list[str]:
    """Reads texts from a Parquet file with a column ``text``, or from a file with a text per line.

    Args:
        path: The file.
    """
    if path.suffix != ".parquet":
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    import pyarrow.parquet as pq

    return [text for text in pq.read_table(path, columns=["text"])["text"].to_pylist() if text.strip()]


def mixed_texts(tokenizer: Any, count: int, source: Sequence[str] | None = None) -> list[str]:
    """Returns texts with typical lengths, the same at every call.

    Args:
        tokenizer: A fast tokenizer; texts have at most `LONGEST` of its tokens.
        count: Number of texts.
        source: Texts to choose from; None concatenates `SENTENCES` to log-normal lengths.
    """
    draw = random.Random(7)  # noqa: S311 (not cryptographic)
    if source is not None:
        chosen = draw.sample(list(source), min(3 * count, len(source)))
        return [text for text in chosen if len(_offsets(tokenizer, text)) <= LONGEST][:count]
    lengths = [min(LONGEST, max(8, round(MEDIAN * draw.lognormvariate(0, SPREAD)))) for _ in range(count)]
    return [_cut(tokenizer, _run(draw, length), length) for length in lengths]


def fixed_texts(tokenizer: Any, count: int, tokens: int, source: Sequence[str] | None = None) -> list[str]:
    """Returns texts of a fixed length, up to a token, the same at every call.

    Args:
        tokenizer: A fast tokenizer.
        count: Number of texts.
        tokens: Length in tokens, without special tokens.
        source: Texts to cut from; None for `SENTENCES`.
    """
    draw = random.Random(7)  # noqa: S311 (not cryptographic)
    return [_cut(tokenizer, _run(draw, tokens, source or SENTENCES), tokens) for _ in range(count)]


def _run(draw: random.Random, tokens: int, source: Sequence[str] = SENTENCES) -> str:
    """Concatenates texts to at least that many tokens, assuming that tokens average less than six characters."""
    text = draw.choice(source)
    while len(text) < 6 * tokens:
        text += " " + draw.choice(source)
    return " ".join(text.split())


def _cut(tokenizer: Any, text: str, tokens: int) -> str:
    offsets = _offsets(tokenizer, text)
    return text[: offsets[min(tokens, len(offsets)) - 1][1]]


def _offsets(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    encoded = tokenizer(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
    return list(encoded["offset_mapping"])
