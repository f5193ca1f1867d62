"""`BM25`: the settings of a lexical leg."""

from __future__ import annotations

from dataclasses import dataclass

from korag.analysis.tokenizers import Tokenizer, TokenizerLike, resolve_tokenizer
from korag.checks import check_flag


@dataclass(frozen=True)
class BM25:
    """Settings of a lexical leg, wherever `bm25=` can be given.

    >>> BM25("bigram", trim_questions=False)
    BM25(tokenizer=BigramTokenizer(...), trim_questions=False)

    Args:
        tokenizer: None or ``"bigram"`` for character bigrams, ``"kiwi"``, or a function from text to tokens.
        trim_questions: Leave out of a query what only makes it a question (``… 은 무엇인가요?``); documents are never
            changed. May be given anew whenever a collection is opened.

    Raises:
        InvalidArgumentError: If a setting is invalid.
        MissingDependencyError: If ``"kiwi"`` is asked for and kiwipiepy is not installed.
    """

    tokenizer: TokenizerLike = None
    trim_questions: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokenizer", resolve_tokenizer(self.tokenizer))
        check_flag("trim_questions", self.trim_questions)

    @property
    def resolved_tokenizer(self) -> Tokenizer:
        """The tokenizer that the argument means."""
        return resolve_tokenizer(self.tokenizer)
