"""Texts to the terms of the lexical leg, in the same steps for documents and queries.

1. From a query, what only makes it a question is left out (`korag.analysis.questions`), and synonyms are added to it.
2. `korag.text.normalize` and, for the built-in tokenizers, `_SPELLINGS` bring the text into one spelling.
   Hanja are read in Hangul if the leg is set so (`korag.analysis.hanja`).
3. The tokenizer makes tokens of it, and keeps identifiers whole (`korag.analysis.identifiers`).
4. `_DOCUMENT_TOKENS` or `_QUERY_TOKENS` add further ones.

Version 1 has the tokenizer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from korag.analysis.hanja import read_hanja
from korag.analysis.headings import heading_of_document, headings_asked_for
from korag.analysis.questions import trim_question
from korag.analysis.settings import BM25
from korag.analysis.spellings import read_hanja_references, unfold_forms
from korag.analysis.synonyms import expand
from korag.analysis.tokenizers import BigramTokenizer, KiwiTokenizer, Tokenizer
from korag.analysis.versions import VERSION
from korag.text import check_texts, normalize

Spelling = Callable[[str], str]
"""A text in another spelling."""
Further = Callable[[str, Sequence[str], BM25], Iterable[str]]
"""Tokens to add: from the text in its one spelling, its tokens, and the leg's settings."""

_SPELLINGS: tuple[Spelling, ...] = (unfold_forms, read_hanja_references)
_DOCUMENT_TOKENS: tuple[Further, ...] = (heading_of_document,)
_QUERY_TOKENS: tuple[Further, ...] = (headings_asked_for,)


@dataclass(frozen=True)
class Analyzer:
    """Makes terms of documents and queries; holds nothing but settings, and can be copied and pickled.

    Args:
        settings: Of the leg.
        version: Of the analysis; see `korag.analysis.versions`.
    """

    settings: BM25 = field(default_factory=BM25)
    version: int = VERSION

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, of this version."""
        tokenizer = self.settings.resolved_tokenizer
        if isinstance(tokenizer, BigramTokenizer | KiwiTokenizer):
            return replace(tokenizer, version=self.version)
        return tokenizer

    def documents(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the tokens of every document, repeated as often as they count."""
        return self._tokens(texts, _DOCUMENT_TOKENS)

    def queries(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the tokens of every query; of all of it, where nothing is left after trimming."""
        if not self.settings.trim_questions:
            return self._tokens(self._expanded(texts), _QUERY_TOKENS)
        whole = [normalize(text) for text in check_texts(texts)]
        trimmed = [trim_question(text) for text in whole]
        tokens = self._tokens(self._expanded(trimmed), _QUERY_TOKENS)
        bare = [index for index, own in enumerate(tokens) if not own and trimmed[index] != whole[index]]
        for index, own in zip(bare, self._tokens([whole[index] for index in bare], _QUERY_TOKENS), strict=True):
            tokens[index] = own
        return tokens

    def _expanded(self, texts: Sequence[str]) -> Sequence[str]:
        groups = self.settings.synonym_groups
        return [expand(text, groups) for text in check_texts(texts)] if groups else texts

    def _tokens(self, texts: Sequence[str], further: tuple[Further, ...]) -> list[list[str]]:
        tokenizer = self.tokenizer
        if self.version == 1:
            return tokenizer(texts)
        texts = [normalize(text) for text in check_texts(texts)]
        if isinstance(tokenizer, BigramTokenizer | KiwiTokenizer):
            texts = [_spelled(text) for text in texts]
        if self.settings.hanja:
            texts = [read_hanja(text) for text in texts]
        tokens = tokenizer(texts)
        if further:
            for text, own in zip(texts, tokens, strict=True):
                own += [token for add in further for token in add(text, own, self.settings)]
        return tokens


def _spelled(text: str) -> str:
    for spell in _SPELLINGS:
        text = spell(text)
    return text
