"""Texts of any characters come back as they were put in, and are found by themselves."""

from __future__ import annotations

import random
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from korag import Collection, load_encoder
from korag.errors import InvalidTextError, KoragError
from korag.text import is_empty
from tests.hostile.conftest import LONG, Hostile

Draw = Callable[[random.Random], str]

KINDS: dict[str, Draw] = {
    "any": lambda rng: chr(rng.randrange(0x110000)),
    "unassigned": lambda rng: chr(rng.choice([0x378, 0x2FE0, 0xE0080, 0x10FFFF, 0xFFFE, 0x3FFFE, 0x1FAFF])),
    "private": lambda rng: chr(rng.randrange(0xE000, 0xF8FF)),
    "bidi": lambda rng: rng.choice("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200fאبע"),
    "tags": lambda rng: chr(rng.randrange(0xE0000, 0xE0080)),
    "marks": lambda rng: rng.choice("\u0300\u0301\u0316\u0323\u0345\u0f73\u0344\u3099\u302e\u20dd\ufe0f\U0001d165"),
    "control": lambda rng: chr(rng.choice([*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xAD])),
    "jamo": lambda rng: chr(rng.choice([*range(0x1100, 0x1200), *range(0xA960, 0xA97D), *range(0xD7B0, 0xD7FC)])),
    "letters": lambda rng: chr(rng.randrange(0x3131, 0x318F)),
    "hanja": lambda rng: chr(rng.choice([*range(0xF900, 0xFA6E), *range(0x2F800, 0x2FA1E), *range(0x4E00, 0x4F00)])),
    "emoji": lambda rng: rng.choice(["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "1️⃣", "🇰🇷", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "\u200d", "❤️"]),
    "full width": lambda rng: chr(rng.randrange(0xFF01, 0xFFEF)),
    "hangul": lambda rng: chr(rng.randrange(0xAC00, 0xD7A4)),
    "spaces": lambda rng: rng.choice(" \t\n\r\x0b\x0c\u00a0\u3000\u200b\u2003\u1680"),
    "markup": lambda rng: rng.choice(
        ["[SEP]", "[MASK]", "[Q] ", "<s>", "</s>", '{"가":', "'; --", "%s", "\\u0000", "$eq"]
    ),
    "ascii": lambda rng: chr(rng.randrange(128)),
    "statute": lambda rng: rng.choice(["제", "6", "조", "의", "2", " ", ",", "항", "호", ".", "１", "０"]),
}


def some_text(rng: random.Random) -> str:
    kinds = [KINDS[kind] for kind in rng.sample(sorted(KINDS), rng.choice([1, 1, 2, 4]))]
    size = rng.choice([0, 1, 2, 5, 20, 100] + ([3_000] if rng.random() < 0.05 else []))
    text = "".join(rng.choice(kinds)(rng) for _ in range(size))
    if rng.random() < 0.3:
        text = unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC", "NFKD"]), text)
    return text


def storable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def some_key(rng: random.Random) -> str:
    while not (storable(key := some_text(rng)) and "\0" not in key):
        pass
    return key


def encoders() -> list[str]:
    return ["mini-dense", "mini-splade", "mini-colbert"] if LONG else ["mini-dense"]


def test_round_trips_and_own_text(hostile: Hostile) -> None:
    loaded = [load_encoder(name) for name in encoders()]
    for seed in hostile.tries("texts", short=2, long=500):
        rng = random.Random(seed)
        texts = [some_text(rng) for _ in range(8)]
        ids = list({key for _ in range(20) if (key := some_key(rng))})[: len(texts)]
        texts = texts[: len(ids)]
        metadata = [{some_key(rng): some_key(rng), "값": [some_key(rng)], "안": {some_key(rng): 1}} for _ in ids]
        tokenizer = "kiwi" if LONG and seed % 2 else None
        with tempfile.TemporaryDirectory() as folder:
            try:
                problem = round_trip(Path(folder) / "모음", loaded, tokenizer, texts, ids, metadata)
            except Exception as error:
                problem = f"{type(error).__name__}: {error!a:.300}"
        if problem:
            hostile.failed(seed, problem)


def round_trip(
    folder: Path, loaded: list, tokenizer: str | None, texts: list[str], ids: list[str], metadata: list[dict]
) -> str | None:
    if not all(map(storable, texts)):
        with Collection.in_memory(encoders=loaded, bm25=True, tokenizer=tokenizer) as collection:
            with pytest.raises(InvalidTextError):
                collection.add(texts, ids=ids, metadata=metadata)
            assert len(collection) == 0
        texts = [text if storable(text) else "대신" for text in texts]
    with Collection.open(folder, encoders=loaded, bm25=True, tokenizer=tokenizer) as collection:
        collection.add(texts, ids=ids, metadata=metadata)
    with Collection.open(folder, encoders=loaded) as collection:
        if [(one.id, one.text, one.metadata) for one in collection.get(ids)] != list(
            zip(ids, texts, metadata, strict=True)
        ):
            return "get gives something else than was added"
        for id_, text, fields in zip(ids, texts, metadata, strict=True):
            for using in collection.legs:
                hits = collection.search(text, k=len(ids), using=using)
                if is_empty(text) != (not hits) and using != "bm25":
                    return f"{using}: {text!a:.80} finds {len(hits)} documents"
                same = [hit.score for hit in hits if hit.id == id_]
                if hits and not same:  # models may rank another first: queries and documents are not encoded alike
                    return f"{using}: {text!a:.80} finds others and not itself"
            key, value = next(iter(fields.items()))
            if not key.startswith("$") and id_ not in [one.id for one in collection.get(where={key: value})]:
                return f"where={{{key!a:.40}: {value!a:.40}}} does not find its document"
        if collection.delete(ids[:1]) != 1:
            return "delete does not find an id"
    return None


def test_lone_surrogates_are_an_error_everywhere(hostile: Hostile) -> None:
    with Collection.in_memory(bm25=True) as collection:
        for seed in hostile.tries("lone surrogates", short=100, long=2_000):
            rng = random.Random(seed)
            bad = some_key(rng) + chr(rng.randrange(0xD800, 0xE000)) + some_key(rng)
            for call in (
                lambda bad=bad: collection.add([bad]),
                lambda bad=bad: collection.add(["글"], ids=[bad]),
                lambda bad=bad: collection.add(["글"], metadata=[{bad: 1}]),
                lambda bad=bad: collection.add(["글"], metadata=[{"값": [bad]}]),
                lambda bad=bad: collection.search(bad),
                lambda bad=bad: collection.get([bad]),
                lambda bad=bad: collection.get(where={"값": bad}),
                lambda bad=bad: collection.delete([bad]),
            ):
                try:
                    call()
                    hostile.failed(seed, f"{bad!a:.80} was taken")
                except KoragError as error:
                    str(error).encode()  # printable
                except Exception as error:
                    hostile.failed(seed, f"{type(error).__name__}: {error!a:.200}")
        assert len(collection) == 0
