"""How the entries of a vocabulary read."""

from __future__ import annotations

import re
from typing import Any

_BYTE = re.compile("<0x[0-9A-F]{2}>")
_REPLACEMENT = "\ufffd"


def readable(tokenizer: Any, token: int) -> str:
    """Returns a vocabulary entry as a person reads it.

    Args:
        tokenizer: A Hugging Face tokenizer.
        token: Its id in the vocabulary.

    Returns:
        The text it stands for, without the mark for a space before it. A special token by its name
        (``[SEP]``), and what is no whole character by its bytes (``<0xEC>``, as byte-fallback vocabularies write
        it).
    """
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if token in tokenizer.added_tokens_decoder or _BYTE.fullmatch(piece):
        return piece.strip()
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    if _REPLACEMENT in text:  # a byte-level vocabulary: part of a character
        values = _byte_values()
        if all(character in values for character in piece):
            return "".join(f"<0x{values[character]:02X}>" for character in piece)
    return text.strip() or piece


def _byte_values() -> dict[str, int]:
    """The byte each character of a byte-level vocabulary stands for.

    As GPT-2 has it (https://github.com/openai/gpt-2, ``encoder.py``): printable characters of Latin-1 are
    themselves, the other bytes follow from code point 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
