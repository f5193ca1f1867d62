"""A tokenizer of the tokenizers library with what `korag.encoders` uses of transformers' interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer as Backend


class Tokens(dict[str, Any]):
    """Tokens of a text or several; what else is known of them is looked up on demand."""

    def __init__(self, encodings: list[Any], *, single: bool, offsets: bool) -> None:
        parts: dict[str, list[Any]] = {"input_ids": [encoding.ids for encoding in encodings]}
        if offsets:
            parts["offset_mapping"] = [encoding.offsets for encoding in encodings]
        super().__init__({name: rows[0] if single else rows for name, rows in parts.items()})
        self._encodings = encodings

    def word_ids(self, index: int = 0) -> list[int | None]:
        """Returns the number of the word of each token; None for special tokens."""
        words: list[int | None] = self._encodings[index].word_ids
        return words

    def whole_lengths(self, added: int) -> list[int]:
        """Returns the number of tokens per text before truncation, special tokens included.

        Args:
            added: Special tokens of a text, which each part that was cut off has, too.
        """
        return [len(encoding) + sum(len(part) - added for part in encoding.overflowing) for encoding in self._encodings]


class Tokenizer:
    """Like transformers' ``PreTrainedTokenizerFast``. Keeps its truncation as state, so it is called under a lock.

    Args:
        backend: The tokenizer in ``tokenizer.json``.
        special: Special tokens by their role: ``pad_token``, ``mask_token``, ``unk_token`` …
    """

    is_fast = True
    truncation_side = padding_side = "right"

    def __init__(self, backend: Backend, special: Mapping[str, str]) -> None:
        self.backend_tokenizer = backend
        ids = {role: backend.token_to_id(token) for role, token in special.items()}
        self.all_special_ids = [*dict.fromkeys(ids.values())]
        self.pad_token_id, self.mask_token_id = ids["pad_token"], ids["mask_token"]
        self.unk_token_id = ids["unk_token"]

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = False,
        **_: Any,
    ) -> Tokens:
        """Tokenizes a text or several, without padding.

        Args:
            text: One or several.
            add_special_tokens: Add those that every text begins and ends with.
            truncation: Cut texts.
            max_length: The length they are cut to.
            return_offsets_mapping: Also return the place of each token in its text.
            _: Of transformers' interface, without effect here.
        """
        if truncation and max_length is not None:
            self.backend_tokenizer.enable_truncation(max_length)
        else:
            self.backend_tokenizer.no_truncation()
        texts = [text] if isinstance(text, str) else list(text)
        encodings = self.backend_tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        return Tokens(encodings, single=isinstance(text, str), offsets=return_offsets_mapping)

    @property
    def added_tokens(self) -> int:
        """Number of special tokens that a text gets."""
        return self.backend_tokenizer.num_special_tokens_to_add(False)  # noqa: FBT003 (it takes no keyword)

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """Tokens that are kept whole, by id."""
        return dict(self.backend_tokenizer.get_added_tokens_decoder())

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """Returns the vocabulary entry with an id."""
        return self.backend_tokenizer.id_to_token(token)

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """Returns the id of a vocabulary entry; that of the unknown token if there is none."""
        found = self.backend_tokenizer.token_to_id(token)
        return self.unk_token_id if found is None else found

    def get_vocab(self) -> dict[str, int]:
        """Returns the vocabulary, with added tokens."""
        return dict(self.backend_tokenizer.get_vocab(with_added_tokens=True))

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Returns the text of some tokens, special ones included."""
        return self.backend_tokenizer.decode(list(ids), skip_special_tokens=False)
