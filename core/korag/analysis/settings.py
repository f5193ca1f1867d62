"""`BM25`: the settings of a lexical leg."""

from __future__ import annotations

from dataclasses import dataclass, replace

from korag.analysis.synonyms import Groups, SynonymsLike, check_synonyms
from korag.analysis.tokenizers import KiwiTokenizer, Tokenizer, TokenizerLike, resolve_tokenizer
from korag.checks import check_flag
from korag.errors import InvalidArgumentError
from korag.keywords import checks_fields


@checks_fields
@dataclass(frozen=True)
class BM25:
    """Settings of a lexical leg, wherever `bm25=` can be given.

    >>> BM25("bigram", trim_questions=False)
    BM25(tokenizer=BigramTokenizer(...), trim_questions=False)

    Args:
        tokenizer: None or ``"bigram"`` for character bigrams, ``"kiwi"``, a `korag.KiwiTokenizer` with a dictionary
            (its synonyms become those below), or a function from text to tokens.
        trim_questions: Leave out of a query what only makes it a question (``… 은 무엇인가요?``); documents are never
            changed. May be given anew whenever a collection is opened.
        hanja: Read Hanja in Hangul, in documents and queries: ``民法`` and ``민법`` find each other. Recorded with a
            collection, which cannot be opened with another value.
        synonyms: Words and abbreviations that mean the same: ``{"주임법": "주택임대차보호법"}``, or lists of them. A
            query with one of them finds documents with any. Recorded, and may be given anew on opening.

    Raises:
        InvalidArgumentError: If a setting is invalid.
        MissingDependencyError: If ``"kiwi"`` is asked for and kiwipiepy is not installed.
    """

    tokenizer: TokenizerLike = None
    trim_questions: bool = True
    hanja: bool = False
    synonyms: SynonymsLike = None

    def __post_init__(self) -> None:
        tokenizer = resolve_tokenizer(self.tokenizer)
        if isinstance(tokenizer, KiwiTokenizer) and tokenizer.synonym_groups:
            object.__setattr__(self, "synonyms", _only_synonyms(tokenizer.synonym_groups, self.synonyms))
            tokenizer = replace(tokenizer, synonyms=None)
        object.__setattr__(self, "tokenizer", tokenizer)
        check_flag("trim_questions", self.trim_questions)
        check_flag("hanja", self.hanja)
        object.__setattr__(self, "synonyms", check_synonyms(self.synonyms))

    @property
    def resolved_tokenizer(self) -> Tokenizer:
        """The tokenizer that the argument means."""
        return resolve_tokenizer(self.tokenizer)

    @property
    def synonym_groups(self) -> Groups:
        """The synonyms that the argument means."""
        return check_synonyms(self.synonyms)


def _only_synonyms(of_tokenizer: Groups, given: SynonymsLike) -> Groups:
    """Returns the synonyms of a tokenizer, which may be given beside it only if they are the same."""
    if given is not None and check_synonyms(given) != of_tokenizer:
        raise InvalidArgumentError(
            f"synonyms={given!r:.80}: KiwiTokenizer에는 다른 synonyms를 넣었습니다({of_tokenizer!r:.80}). "
            "한 곳에만 넣으세요.",
            f"synonyms={given!r:.80}, but the KiwiTokenizer has others ({of_tokenizer!r:.80}); give them in one place.",
        )
    return of_tokenizer
