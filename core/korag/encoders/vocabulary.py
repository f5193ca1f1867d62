"""Vocabulary entries in readable form."""

from __future__ import annotations

import re
from typing import Any

_BYTE = re.compile("<0x[0-9A-F]{2}>")
_REPLACEMENT = "\ufffd"


def readable(tokenizer: Any, token: int) -> str:
    """Returns a vocabulary entry in readable form.

    Args:
        tokenizer: A Hugging Face tokenizer.
        token: Vocabulary id.

    Returns:
        The text of the token, without the marker of a preceding space. Special tokens are returned by name (``[SEP]``),
        incomplete characters as bytes (``<0xEC>``, the notation of byte-fallback vocabularies).
    """
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if token in tokenizer.added_tokens_decoder or _BYTE.fullmatch(piece):
        return piece.strip()
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    if _REPLACEMENT in text:  # a byte-level vocabulary: part of a character
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        bytes_of = {character: byte for byte, character in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]
        if all(character in bytes_of for character in piece):
            return "".join(f"<0x{bytes_of[character]:02X}>" for character in piece)
    return text.strip() or piece
