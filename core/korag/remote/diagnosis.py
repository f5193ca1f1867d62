"""Which mistake a server's wrong vectors come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from korag.encoders.base import Task
from korag.encoders.precision import MIN_COSINE
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.tensors import as_float32, forward
from korag.errors import ServedModelError
from korag.remote.canaries import Canaries, agree, cosines, known_rows

_LENGTHS_AGREE = 0.02
"""Relative difference of lengths that 16 bits explain."""


def check_agreement(place: str, known: Canaries, rows: Sequence[Any], task: Task, doubts: Doubts | None) -> None:
    """Raises unless a server's rows are the known ones.

    Args:
        place: The server, for the message.
        known: The known rows.
        rows: The server's, for the same texts.
        task: Queries or documents.
        doubts: What else they may be; None if no local weights can tell.

    Raises:
        ServedModelError: The message says which mistake it is, as far as that shows.
    """
    own = known.rows[task]
    found = cosines(own, rows)
    if agree(own, rows):
        if known.fingerprint.normalized or known.fingerprint.family == "late_interaction" or _same_length(own, rows):
            return
        korean, english = (
            "방향은 같지만 길이가 다릅니다. 이 모델은 벡터를 정규화하지 않으니 서버의 정규화를 끄세요",
            "they have the right directions and other lengths: this model does not normalize its vectors, so switch "
            "the server's normalization off",
        )
    else:
        korean, english = _explain(known, rows, task, found, doubts)
    ours = "질문" if task == "query" else "문서"
    raise ServedModelError(
        f"{place} 서버의 {ours} 벡터가 '{known.fingerprint.model}'의 것이 아닙니다(코사인 최소 {min(found):.4f}, 기준 "
        f".999): {korean}.",
        f"The {task} vectors of the server {place} are not those of '{known.fingerprint.model}' (least cosine "
        f"{min(found):.4f}, where .999 is needed): {english}.",
    )


def _explain(
    known: Canaries, rows: Sequence[Any], task: Task, found: list[float], doubts: Doubts | None
) -> tuple[str, str]:
    own = known.rows[task]
    if all(max(cosines([row] * len(own), own)) >= MIN_COSINE for row in rows):
        return (
            "응답의 순서가 입력의 순서와 다릅니다. 서버나 그 앞의 프록시가 응답을 섞는지 확인하세요",
            "its answers are in another order than the texts; check whether the server, or a proxy before it, mixes "
            "them up",
        )
    if all(cosine >= MIN_COSINE for cosine in found[:-1]):
        return (
            "짧은 글은 맞고 긴 글만 다릅니다. 서버가 글을 더 짧게 자르는지 확인하거나 max_length=를 서버에 맞추세요",
            "short texts are right and only the long one is not: the server cuts texts earlier. Raise its limit, or "
            "pass the same one as max_length=",
        )
    if doubts is not None and (named := doubts.explain(known, rows, task)) is not None:
        return named
    if task == "query" and known.fingerprint.family == "late_interaction":
        return (
            "다른 모델이거나, 채움 토큰(query expansion)을 다르게 다루는 서버입니다. 모델이 채움 토큰에 어텐션을 주지 "
            "않게 학습되었다면 vLLM으로는 제공할 수 없습니다",
            "it serves another model, or treats the tokens that fill queries up (query expansion) in another way; vLLM "
            "cannot serve a model that was trained to pay these no attention",
        )
    return (
        "서버가 다른 모델, 풀링, 프롬프트를 쓰고 있습니다. 서버의 모델과 설정을 like와 맞추세요",
        "it uses another model, pooling or prompt; give the server the model and the settings of like=",
    )


def _same_length(own: Sequence[Any], other: Sequence[Any]) -> bool:
    def length(row: Any) -> float:
        return float(np.linalg.norm(row[1] if isinstance(row, tuple) else row))

    return all(
        abs(length(one) - length(two)) <= _LENGTHS_AGREE * max(length(one), 1e-6)
        for one, two in zip(own, other, strict=True)
    )


class Doubts:
    """Finds the setting with which a local model returns what a server does.

    Args:
        encoder: The local model, with its weights.
    """

    def __init__(self, encoder: PretrainedEncoder[Any]) -> None:
        self._encoder = encoder

    def explain(self, known: Canaries, rows: Sequence[Any], task: Task) -> tuple[str, str] | None:
        """Returns what explains the rows, in Korean and English; None if nothing does."""
        texts = known.texts[:-1]
        prompt = self._encoder.prompts[task]
        shorter = rows[: len(texts)]
        if prompt and agree(self._with_prompt(texts, task, ""), shorter):
            return (
                f"서버가 프롬프트 {prompt!r:.60}을(를) 빼고 계산했습니다. 보낸 글을 그대로 읽게 하세요",
                f"it leaves out the prompt {prompt!r:.60}; let it read texts as they are sent",
            )
        other = self._encoder.prompts["document" if task == "query" else "query"]
        for added in {prompt, other} - {""}:
            if agree(self._with_prompt(texts, task, added + prompt), shorter):
                return (
                    f"서버가 프롬프트 {added!r:.60}을(를) 한 번 더 붙입니다. 프롬프트는 KoRAG가 붙이니 서버의 기본 "
                    "프롬프트를 끄세요",
                    f"it puts the prompt {added!r:.60} before texts once more; prompts are added here, so switch the "
                    "server's default prompt off",
                )
        for pooling, pooled in self._pooled(texts, task):
            if agree(pooled, shorter):
                return (
                    f"서버가 풀링 '{pooling}'을(를) 씁니다. 서버의 풀링을 모델에 맞추세요",
                    f"it pools by '{pooling}'; set the server's pooling to the model's",
                )
        return None

    def _with_prompt(self, texts: Sequence[str], task: Task, prompt: str) -> list[Any]:
        own = self._encoder
        other = type(own).__new__(type(own))
        other.__setstate__(own.__getstate__() | {"_prompts": {**own.prompts, task: prompt}})
        return known_rows(other._pipeline(), texts, task)

    def _pooled(self, texts: Sequence[str], task: Task) -> list[tuple[str, list[Any]]]:
        """Returns the texts' vectors by every way of pooling; nothing for other families."""
        if self._encoder.family != "dense":
            return []
        pipeline = self._encoder._pipeline()
        features = forward(pipeline.model, pipeline.tokenize(texts, task), task=task)
        if "token_embeddings" not in features:
            return []
        tokens, mask = as_float32(features["token_embeddings"]), features["attention_mask"].bool().cpu().numpy()
        kept = [row[each] for row, each in zip(tokens, mask, strict=True)]
        return [
            ("cls", [row[0] for row in kept]),
            ("mean", [row.mean(axis=0) for row in kept]),
            ("max", [row.max(axis=0) for row in kept]),
            ("lasttoken", [row[-1] for row in kept]),
        ]
