"""두벌식, the standard Korean keyboard (KS X 5002), on the keys of a US keyboard."""

from __future__ import annotations

from korag.analysis.repair.jamo import compose, typed_jamo

_KEYS = dict(zip("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔㅁㄴㅇㄹㅎㅗㅓㅏㅣㅋㅌㅊㅍㅠㅜㅡ", "qwertyuiopasdfghjklzxcvbnm", strict=True))
_SHIFTED = dict(zip("ㅃㅉㄸㄲㅆㅒㅖ", "QWERTOP", strict=True))
_TO_KEY = str.maketrans(_KEYS | _SHIFTED)
# Any other key gives the same jamo with Shift.
_TO_JAMO = {key.upper(): jamo for jamo, key in _KEYS.items()} | {key: jamo for jamo, key in (_KEYS | _SHIFTED).items()}


def to_keys(text: str) -> str:
    """Returns the keys that type a text: ``전세 2년`` → ``wjstp 2sus``; what is not Hangul stays."""
    return typed_jamo(text).translate(_TO_KEY)


def to_hangul(keys: str) -> str:
    """Returns what keys type in Korean: ``wjstp`` → ``전세``; what is no letter key stays."""
    return compose(_TO_JAMO.get(key, key) for key in keys)


def readings(keys: str) -> list[str]:
    """Returns what keys may have been meant to type: as they are, with Caps Lock on, or with a capital by itself.

    Returns:
        Distinct texts, the likelier first.
    """
    is_locked = sum(map(str.isupper, keys)) > len(keys) / 2
    likely = (keys.swapcase(), keys) if is_locked else (keys, keys.swapcase())
    return list(dict.fromkeys(to_hangul(pressed) for pressed in (*likely, keys.lower())))
