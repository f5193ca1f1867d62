"""Keeps of each passage the sentences that match a query, by a late-interaction (ColBERT) model and by words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_choice, check_fraction, check_lengths
from korag.empty_query import reject_empty_query, warn_empty_query
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from korag.pruning.pieces import Piece, Pieces, find_pieces
from korag.pruning.reading import read_passages, read_query
from korag.pruning.scores import score_pieces
from korag.pruning.words import share_words
from korag.splitting.finding import SentenceRule, check_sentences
from korag.text import check_text, check_texts, is_empty
from korag.tracing import span

WhenEmpty: TypeAlias = Literal["drop", "best"]
"""The fate of a passage none of whose sentences reaches the threshold."""
DEFAULT_THRESHOLD = 0.5
"""Kept the answers of 98 % of questions with 63 % of the characters removed (``docs/pruning.md``)."""


@dataclass(frozen=True)
class PrunedText:
    """The rest of a passage.

    Attributes:
        text: The sentences kept, in order, on lines of their own where line ends were left out between them; empty if
            the passage is dropped.
        spans: Where they are in the passage as it was given, in characters; those side by side as one.
        score: That of the passage's best sentence, at most 1, which the best of all passages has.
        is_dropped: Nothing of the passage is left.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    score: float
    is_dropped: bool = False


class Pruner:
    """Leaves out of passages what does not belong to a query. Safe to use from many threads.

    >>> pruner = Pruner("mini-colbert")
    >>> for pruned in pruner.prune("보증금은 언제 돌려받나요?", passages):
    ...     print(pruned.text)

    Sentences, rows of tables and blocks of code are kept whole or not at all. With what is kept come the headings above
    it, the header of its table, and the line that leads to its list. Each passage is encoded once, so that its
    sentences are read in context; one longer than the model reads in overlapping windows. Scores are relative to the
    best sentence among all passages of a call, so prune what goes to an LLM together in one call. They are defined in
    `korag.pruning.scores`.

    Args:
        encoder: A loaded late-interaction encoder, a name, or a path.
        threshold: Least score of a sentence, in [0, 1]; 0 keeps everything, 1 little more than the best sentence.
        when_empty: A passage without such a sentence is left out (``"drop"``), or its best one is kept (``"best"``).
        sentences: ``"rules"`` finds sentences by punctuation, ``"kiwi"`` by Kiwi (``pip install 'korag[kiwi]'``).
        query_length: Longest query in tokens; None for the model's own.

    Raises:
        WrongFamilyError: If the model is not a late-interaction model.
        InvalidArgumentError: If an argument breaks its rule, or the model is one that does not tell the places of
            tokens.
        MissingDependencyError: If Kiwi is asked for and not installed.
    """

    def __init__(
        self,
        encoder: Encoder[Any] | str | os.PathLike[str],
        *,
        threshold: float = DEFAULT_THRESHOLD,
        when_empty: WhenEmpty = "drop",
        sentences: SentenceRule = "rules",
        query_length: int | None = None,
    ) -> None:
        self.threshold = check_threshold(threshold)
        self.when_empty: WhenEmpty = check_when_empty(when_empty)
        self.sentences: SentenceRule = check_sentences(sentences)
        self.encoder = check_places(as_encoder(encoder, family="late_interaction", query_length=query_length))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.encoder!r})"

    def prune(
        self, query: str, texts: Iterable[str], *, filenames: Sequence[str | None] | None = None
    ) -> list[PrunedText]:
        """Prunes the passages of a context.

        Args:
            query: The query.
            texts: The passages.
            filenames: Their files, whose types tell tables and code; None where unknown.

        Returns:
            What is left of each, in order. A passage without text is returned as it is, and all are if the query has
            none.

        Raises:
            InvalidTextError: If the query or a passage is not a string.
            InvalidArgumentError: If there are not as many `filenames` as passages.
        """
        check_text(query, "query")
        passages = check_texts(texts)
        if filenames is not None:
            check_lengths(texts=passages, filenames=filenames)
        names = [None] * len(passages) if filenames is None else filenames
        if is_empty(query):
            warn_empty_query(meaning=("아무것도 줄이지 않습니다.", "nothing is pruned."))
            return [_whole(text) for text in passages]
        distinct = {key: None for key in zip(passages, names, strict=True) if not is_empty(key[0])}
        if not distinct:
            return [_whole(text) for text in passages]
        attributes = {"korag.model_name": self.encoder.model_name, "korag.texts": len(distinct)}
        with span("korag.prune", "RERANKER", attributes) as pruning:
            divided = [find_pieces(text, sentences=self.sentences, filename=name) for text, name in distinct]
            scores = self._scored(query, divided)
            pruned = dict(zip(distinct, map(self._kept, divided, scores), strict=True))
            pruning.set({"korag.found": sum(not one.is_dropped for one in pruned.values())})
        return [pruned.get(key) or _whole(key[0]) for key in zip(passages, names, strict=True)]

    def score(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int, float]]]:
        """Scores the sentences of passages, to choose a threshold by them.

        Args:
            query: The query.
            texts: The passages; each has text.

        Returns:
            For each passage, the beginning, end and score of its sentences, in order and without gaps.

        Raises:
            InvalidTextError: If the query or a passage is not a string.
            InvalidArgumentError: If the query is empty.
        """
        reject_empty_query(check_text(query, "query"))
        passages = [find_pieces(text, sentences=self.sentences) for text in check_texts(texts)]
        scored = self._scored(query, passages)
        return [
            [
                (*passage.place(piece.start, piece.end), float(score))
                for piece, score in zip(passage.pieces, own, strict=True)
            ]
            for passage, own in zip(passages, scored, strict=True)
        ]

    def _scored(self, query: str, passages: Sequence[Pieces]) -> list[NDArray[np.float64]]:
        """Scores pieces; infinite for one that the model does not read, because it is too far behind."""
        read = read_passages(self.encoder, passages)
        pieces = [passage.pieces for passage in passages]
        scores = score_pieces(read_query(self.encoder, query), read, pieces, share_words(query, passages))
        return [
            np.where([piece.start >= seen.end for piece in own], np.inf, _filled(scored))
            for own, seen, scored in zip(pieces, read, scores, strict=True)
        ]

    def _kept(self, passage: Pieces, scores: NDArray[np.float64]) -> PrunedText:
        kept = {index for index, score in enumerate(scores) if score >= self.threshold}
        if not kept and self.when_empty == "best":
            kept = {int(scores.argmax())}
        return _joined(passage, with_heads(passage.pieces, kept), min(1.0, float(scores.max())))


def check_threshold(threshold: object) -> float:
    """Returns a threshold.

    Raises:
        InvalidArgumentError: If it is no number in [0, 1].
    """
    if threshold is None:
        raise InvalidArgumentError(
            "threshold=None: 0과 1 사이의 수여야 합니다. 모두 남기려면 0을 넣으세요.",
            "threshold=None is invalid; it must be a number between 0 and 1. To keep everything, use 0.",
        )
    return check_fraction("threshold", threshold)


def check_when_empty(when_empty: object) -> WhenEmpty:
    """Returns what becomes of a passage none of whose sentences reaches the threshold.

    Raises:
        InvalidArgumentError: If there is no such choice.
    """
    choices: tuple[WhenEmpty, ...] = get_args(WhenEmpty)
    return check_choice("when_empty", when_empty, choices)


def check_places(encoder: Encoder[Any]) -> LateInteractionEncoder:
    """Returns an encoder that tells the places of tokens.

    Raises:
        InvalidArgumentError: If it does not.
    """
    if not isinstance(encoder, LateInteractionEncoder):
        raise InvalidArgumentError(
            f"{type(encoder).__name__}: 토큰이 글의 어디에 있는지 알려 주지 않는 인코더입니다. "
            "korag.load_encoder로 불러온 ColBERT 모델을 넣으세요.",
            f"{type(encoder).__name__} does not tell where in a text its tokens are; pass a ColBERT model that "
            "korag.load_encoder has loaded.",
        )
    return encoder


def with_heads(pieces: Sequence[Piece], kept: set[int]) -> list[int]:
    """Returns the pieces to keep, in order: those given and their heads."""
    return sorted(kept.union(*(pieces[index].heads for index in kept)))


def _filled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives a piece without a token, such as a row of dashes, the score of the one before it."""
    filled = scores.copy()
    for index in range(len(filled)):
        if np.isnan(filled[index]):
            filled[index] = filled[index - 1] if index else 0.0
    return filled


def _joined(passage: Pieces, kept: Sequence[int], score: float) -> PrunedText:
    spans: list[tuple[int, int]] = []
    for index in kept:
        piece = passage.pieces[index]
        if spans and spans[-1][1] == piece.start:
            spans[-1] = (spans[-1][0], piece.end)
        else:
            spans.append((piece.start, piece.end))
    trimmed = [one for one in (_trimmed(passage.text, *each) for each in spans) if one[0] < one[1]]
    text = ""
    for (begin, end), before in zip(trimmed, [None, *trimmed], strict=False):
        between = "" if before is None else passage.text[before[1] : begin]
        text += ("\n" if "\n" in between else " " if between else "") + passage.text[begin:end]
    return PrunedText(text, tuple(passage.place(*each) for each in trimmed), score, is_dropped=not kept)


def _trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    """Leaves out the spaces around a part."""
    part = text[begin:end]
    return begin + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _whole(text: str) -> PrunedText:
    return PrunedText(text, ((0, len(text)),) if text else (), 1.0)
