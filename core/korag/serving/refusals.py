"""Requests that are not answered: the status, and the error as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from korag.errors import (
    FilterError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    KoragError,
    MissingDependencyError,
    ServerError,
)

_STATUS: tuple[tuple[type[KoragError], int, str], ...] = (
    (InvalidArgumentError, 422, "invalid_request"),
    (InvalidTextError, 422, "invalid_request"),
    (FilterError, 422, "invalid_request"),
    (ServerError, 502, "upstream"),
    (IndexStateError, 503, "index"),
    (MissingDependencyError, 501, "not_supported"),
)
"""Of errors that are not the server's own; any other is a 500."""
_HTTP = {
    400: ("요청을 읽을 수 없습니다.", "The request cannot be read."),
    404: ("없는 주소입니다.", "There is no such address."),
    405: ("이 주소에는 쓸 수 없는 메서드입니다.", "This address does not take that method."),
}


class RefusedError(KoragError):
    """A request that is not answered.

    Args:
        korean: The message in Korean.
        english: The same message in English.
        status: Of HTTP.
        kind: A name for programs.
        headers: Of the answer.
    """

    def __init__(
        self,
        korean: str,
        english: str,
        *,
        status: int = 422,
        kind: str = "invalid_request",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(korean, english)
        self.status, self.kind, self.headers = status, kind, dict(headers or {})

    @classmethod
    def too_large(cls, korean: str, english: str) -> Self:
        """413, after which a client may divide its texts."""
        return cls(korean, english, status=413, kind="too_large")

    @classmethod
    def busy(cls) -> Self:
        """503: other requests wait already."""
        return cls(
            "서버가 바쁩니다. 잠시 뒤에 다시 보내세요.",
            "The server is busy; send the request again later.",
            status=503,
            kind="busy",
            headers={"Retry-After": "1"},
        )

    @classmethod
    def stopping(cls) -> Self:
        """503: the server was told to stop, and this request was not done in time."""
        return cls(
            "서버가 멈추는 중이라서 요청을 끝내지 못했습니다. 서버가 다시 시작된 뒤에 보내세요.",
            "The server is stopping and has not finished the request; send it again once the server is back.",
            status=503,
            kind="stopping",
            headers={"Retry-After": "10"},
        )

    @classmethod
    def too_many(cls, rate: float, *, wait: int) -> Self:
        """429: an address has sent too many requests.

        Args:
            rate: The requests a second that it may send.
            wait: Seconds after which it may send the next.
        """
        return cls(
            f"요청이 너무 잦습니다. 1초에 {rate:g}개까지 받습니다. {wait}초 뒤에 다시 보내세요.",
            f"Too many requests; {rate:g} a second are the most. Send the next one in {wait} s.",
            status=429,
            kind="rate",
            headers={"Retry-After": str(wait)},
        )

    @classmethod
    def unauthorized(cls) -> Self:
        """401: the token is missing or wrong."""
        return cls(
            "토큰이 없거나 틀립니다. 'Authorization: Bearer 토큰' 헤더를 보내세요.",
            "The token is missing or wrong; send the header 'Authorization: Bearer TOKEN'.",
            status=401,
            kind="unauthorized",
            headers={"WWW-Authenticate": "Bearer"},
        )

    @classmethod
    def of_status(cls, status: int, headers: Mapping[str, str] | None = None) -> Self:
        """An error of HTTP itself, such as 404."""
        korean, english = _HTTP.get(status, _HTTP[400])
        return cls(korean, english, status=status, kind="http", headers=headers)

    @classmethod
    def of_error(cls, error: KoragError) -> Self:
        """The refusal for an error; of one that a client can do nothing about, it says that there was one."""
        if isinstance(error, cls):
            return error
        for kind_of_error, status, kind in _STATUS:
            if isinstance(error, kind_of_error):
                return cls(*error.args[:2], status=status, kind=kind)
        return cls.internal()

    @classmethod
    def internal(cls) -> Self:
        """500: a mistake of the server's own, whose cause is in its log."""
        return cls(
            "서버에서 오류가 났습니다. 서버의 로그를 보세요.",
            "Something went wrong in the server; see its log.",
            status=500,
            kind="internal",
        )

    def body(self) -> dict[str, Any]:
        """Returns the answer's JSON; half a character of what was sent, which no answer can hold, as an escape."""
        korean, english = (text.encode(errors="backslashreplace").decode() for text in self.args[:2])
        return {"error": {"message": korean, "message_en": english, "type": self.kind}}
