"""The arguments ``window=`` and ``stride=``, and what is recorded of them for each encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

from korag.checks import check_count
from korag.encoders.base import Encoder
from korag.errors import FingerprintError, InvalidArgumentError

WindowSize: TypeAlias = int | Literal["auto"] | None
"""``"auto"`` for the longest text that the model reads, an integer for fewer tokens, None to cut documents there."""
_LEAST = 16
"""Tokens below which a window holds little beyond a prompt and special tokens."""
_KEPT = 4
"""By default, a window repeats a quarter of the one before."""


@dataclass(frozen=True)
class Windows:
    """Size and stride of the windows of an encoder's documents.

    Attributes:
        size: Tokens of a window at most, prompt and special tokens included.
        stride: A window begins at most so many tokens after the one before.
    """

    size: int
    stride: int

    @classmethod
    def from_dict(cls, entry: Any) -> Self:
        """Reverses `to_dict`.

        Raises:
            ValueError: If it is something else.
        """
        numbers = [entry[name] for name in ("window", "stride")] if _is_entry(entry) else []
        if not all(type(number) is int for number in numbers) or not numbers or not 0 < numbers[1] <= numbers[0]:
            raise ValueError(f"{entry!r:.80} are no windows")
        return cls(*numbers)

    def to_dict(self) -> dict[str, int]:
        """As it is stored in manifests."""
        return {"window": self.size, "stride": self.stride}


def _is_entry(entry: object) -> bool:
    return isinstance(entry, Mapping) and entry.keys() == {"window", "stride"}


@dataclass(frozen=True)
class WindowArguments:
    """``window=`` and ``stride=`` as a caller gave them; `check_windows` checks them.

    Attributes:
        window: See `WindowSize`.
        stride: See `Windows`; None for three quarters of the window.
    """

    window: WindowSize = "auto"
    stride: int | None = None

    def of(self, encoder: Encoder[Any]) -> Windows | None:
        """Returns how an encoder's documents are split in a new collection; None if they are not.

        Raises:
            InvalidArgumentError: If the encoder does not read so many tokens, or there is no window for `stride`.
        """
        if self.window is None:
            return None
        limit = encoder.fingerprint.document_length
        if self.window == "auto":
            size = limit
        else:
            size = self.window
            if limit is not None and size > limit:
                raise InvalidArgumentError(
                    f"window={size}: '{encoder.model_name}'은(는) 한 번에 {limit}토큰까지 읽습니다. {limit} 이하로 "
                    "줄이거나 max_length=를 늘려 불러온 모델을 쓰세요.",
                    f"window={size}: '{encoder.model_name}' reads up to {limit} tokens at a time. Use a window of at "
                    f"most {limit}, or load the model with a larger max_length=.",
                )
        if size is None:
            return None
        stride = max(1, size - size // _KEPT) if self.stride is None else self.stride
        if stride > size:
            raise _stride_too_long(stride, size)
        return Windows(size, stride)

    def check_needed(self, *, by_encoders: bool) -> None:
        """Raises for a window without a model that would read it.

        Raises:
            InvalidArgumentError: If a number is given and `by_encoders` is False.
        """
        for name, value in (("window", self.window), ("stride", self.stride)):
            if isinstance(value, int) and not by_encoders:
                raise InvalidArgumentError(
                    f"{name}={value}: 모델로 찾는 컬렉션에만 쓸 수 있습니다. BM25는 언제나 문서 전체를 색인합니다. "
                    f"{name}을(를) 빼거나 encoders=에 모델을 넣으세요.",
                    f"{name}={value} is for collections with a model; BM25 always indexes whole documents. Leave "
                    f"{name} out, or pass a model in encoders=.",
                )

    def check_recorded(self, recorded: Windows | None, *, name: str, place: str) -> None:
        """Raises unless an existing collection has the windows that are asked for.

        Args:
            recorded: What it has for a leg; None if it cuts documents.
            name: The leg.
            place: The collection.

        Raises:
            FingerprintError: If it has others.
        """
        was = (None, None) if recorded is None else (recorded.size, recorded.stride)
        for argument, given, stored in (("window", self.window, was[0]), ("stride", self.stride, was[1])):
            is_given = given != "auto" if argument == "window" else given is not None
            if is_given and given != stored:
                raise FingerprintError(
                    f"{place}의 '{name}' 색인은 {argument}={stored!r}(으)로 만들었는데 {given!r}을(를) 넣었습니다. "
                    f"{argument}을(를) 빼고 열거나 새 폴더에 다시 색인하세요.",
                    f"The '{name}' index of {place} was made with {argument}={stored!r}, not {given!r}. Leave "
                    f"{argument} out, or index again into a new folder.",
                )


def check_windows(window: WindowSize, stride: int | None) -> WindowArguments:
    """Checks ``window=`` and ``stride=``, as far as that is possible without a model.

    Raises:
        InvalidArgumentError: If `window` is no integer of at least 16, ``"auto"`` or None; or `stride` is not a
            positive integer of at most the window, or given without one.
    """
    if isinstance(window, str) and window != "auto":
        raise InvalidArgumentError(
            f"window={window!r:.80}: 토큰 수(16 이상의 정수), 'auto' 또는 None이어야 합니다.",
            f"window={window!r:.80} is invalid; it must be a number of tokens (an integer of at least 16), 'auto' or "
            "None.",
        )
    size: WindowSize = (
        window if window is None or isinstance(window, str) else check_count("window", window, at_least=_LEAST)
    )
    if stride is None:
        return WindowArguments(size)
    checked = check_count("stride", stride, at_least=1)
    if size is None:
        raise InvalidArgumentError(
            f"stride={stride}: window=None이면 문서를 나누지 않으므로 쓰이지 않습니다. window=를 넣거나 stride를 "
            "빼세요.",
            f"stride={stride} has no effect with window=None, which does not split documents; pass a window=, or "
            "leave stride out.",
        )
    if isinstance(size, int) and checked > size:
        raise _stride_too_long(checked, size)
    return WindowArguments(size, checked)


def _stride_too_long(stride: int, size: int) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"stride={stride}이(가) window={size}보다 크면 구간 사이의 글을 읽지 않게 됩니다. {size} 이하로 줄이세요.",
        f"stride={stride} is larger than window={size}, so the text between windows would not be read; use at most "
        f"{size}.",
    )
