"""Where a model is served and how it is asked, checked before anything is sent; keys are never shown."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from korag.checks import check_choice, check_count, check_flag
from korag.errors import InvalidArgumentError

_LONGEST = 1_000_000
"""Seconds; more than the system's clocks can wait for is an error of theirs."""
Api = Literal["tei", "openai", "infinity", "vllm", "cohere", "jina"]


class Secret:
    """A text that is in no message, repr or pickle.

    Args:
        text: The text; None for none.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | None) -> None:
        self._text = text

    def reveal(self) -> str | None:
        """The text."""
        return self._text

    def hide(self, message: str) -> str:
        """Returns a message of somebody else's without the text."""
        for text in (self._text, repr(self._text)[1:-1]) if self._text else ():  # as it is, and within a repr
            message = message.replace(text, "***")
        return message

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "'***'" if self._text else "None"

    def __reduce__(self) -> tuple[type[Secret], tuple[None]]:
        return Secret, (None,)

    def __copy__(self) -> Secret:
        return self  # not by way of a pickle; it stays in this process

    def __deepcopy__(self, memo: object) -> Secret:
        return self


class Address:
    """The address of a server. What follows its ``?``, often a key, is in no message, repr or pickle.

    Args:
        url: The whole address.

    Attributes:
        shown: The address before the ``?``.
    """

    __slots__ = ("_query", "_was_cut", "shown")

    def __init__(self, url: str, *, was_cut: bool = False) -> None:
        self.shown, _, query = url.partition("?")
        self._query, self._was_cut = Secret(query), was_cut

    def reveal(self) -> str:
        """Returns the whole address.

        Raises:
            InvalidArgumentError: If a pickle has left a part of it out.
        """
        if self._was_cut:
            raise InvalidArgumentError(
                f"'{self.shown}': 주소에서 ?와 그 뒤는 키일 수 있어서 피클에 넣지 않았습니다. 이 프로세스에서 다시 "
                "불러오거나, ?가 없는 주소와 ServerOptions(api_key_env=...)를 쓰세요.",
                f"'{self.shown}': what followed the ? of the address may be a key, so the pickle does not hold it. "
                "Load the model again in this process, or use an address without ? and ServerOptions(api_key_env=...).",
            )
        return f"{self.shown}?{self._query.reveal()}" if self._query else self.shown

    def __repr__(self) -> str:
        return repr(self.shown)

    def __reduce__(self) -> tuple[Any, ...]:
        return _cut_address, (self.shown, self._was_cut or bool(self._query))

    def __copy__(self) -> Address:
        return self  # as a `Secret`

    def __deepcopy__(self, memo: object) -> Address:
        return self


def _cut_address(shown: str, was_cut: bool) -> Address:  # noqa: FBT001 (as `__reduce__` passes it)
    return Address(shown, was_cut=was_cut)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How to ask a server; only what no checkpoint can know.

    Attributes:
        api: ``"tei"``, ``"openai"``, ``"infinity"``, ``"vllm"``, ``"cohere"`` or ``"jina"``; None where the end of the
            URL shows it: ``/embed``, ``/embed_sparse``, ``/v1/embeddings``, ``/pooling``, ``/v1/rerank``,
            ``/v2/rerank``.
        api_key: Sent as ``Authorization: Bearer …``. In no message, repr or pickle.
        api_key_env: Name of an environment variable with the key instead, which works in other processes too.
        model: The model's name on the server; None for the name of the checkpoint on the Hub.
        batch_size: Most texts of a request. TEI takes 32 unless started with ``--max-client-batch-size``.
        concurrency: Most requests at a time.
        timeout: Seconds after which an attempt counts as failed.
        retries: Attempts after the first, with pauses that double from half a second: after 408, 425, 429, 500, 502,
            503 and 504, dropped connections and cut answers. Where the server says in ``Retry-After`` how long to wait,
            all requests do, up to a minute each time and ten in all, and the attempt does not count. After a 429 that
            does not say, all requests pause.
        allow_http: Send a key without encryption, to a host that is not this machine.

    Raises:
        InvalidArgumentError: If one is invalid.
    """

    api: Api | None = None
    api_key: Any = None
    api_key_env: str | None = None
    model: str | None = None
    batch_size: int = 32
    concurrency: int = 4
    timeout: float = 60.0
    retries: int = 5
    allow_http: bool = False

    def __post_init__(self) -> None:
        check_choice("api", self.api, (None, *get_args(Api)))
        check_count("batch_size", self.batch_size, at_least=1)
        check_count("concurrency", self.concurrency, at_least=1)
        check_count("retries", self.retries)
        check_flag("allow_http", self.allow_http)
        for name in ("model", "api_key_env"):
            if not isinstance(value := getattr(self, name), str | None):
                raise InvalidArgumentError(
                    f"{name}={value!r:.80}: 문자열이어야 합니다.",
                    f"{name}={value!r:.80} is invalid; it must be a string.",
                )
        timeout: object = self.timeout
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= _LONGEST:
            raise InvalidArgumentError(
                f"timeout={timeout!r:.80}: 0보다 크고 {_LONGEST:,} 이하인 초여야 합니다.",
                f"timeout={timeout!r:.80} must be a number of seconds above 0, at most {_LONGEST:,}.",
            )
        object.__setattr__(self, "api_key", _secret(self.api_key))
        if self.api_key and self.api_key_env is not None:
            raise InvalidArgumentError(
                "api_key와 api_key_env를 함께 넣었습니다. 하나만 넣으세요.",
                "Both api_key and api_key_env are given; give one of them.",
            )

    def key(self) -> Secret:
        """Returns the key to send.

        Raises:
            InvalidArgumentError: If the environment variable is not set.
        """
        if self.api_key_env is None:
            return self.api_key  # type: ignore[no-any-return]  # made a Secret when this object was
        if not (text := os.environ.get(self.api_key_env)):
            raise InvalidArgumentError(
                f"api_key_env={self.api_key_env!r}: 환경 변수가 없거나 비어 있습니다. 키를 그 변수에 넣으세요.",
                f"api_key_env={self.api_key_env!r}: there is no such environment variable, or it is empty; put the key "
                "into it.",
            )
        return _secret(text)


def _secret(key: Any) -> Secret:
    if isinstance(key, Secret):
        return key
    reveal = getattr(key, "get_secret_value", None)  # pydantic's SecretStr
    text: Any = reveal() if callable(reveal) else key
    fits = text is None or (isinstance(text, str) and text.isascii() and text.isprintable() and text == text.strip())
    if not fits:
        raise InvalidArgumentError(  # the value stays out of the message
            "api_key: 출력할 수 있는 ASCII 문자로 된 문자열이어야 합니다. 앞뒤의 공백과 줄바꿈을 지우세요.",
            "api_key is invalid; it must be a string of printable ASCII characters. Remove spaces and line breaks "
            "around it.",
        )
    return Secret(text)


def is_url(model: object) -> bool:
    """Returns True for the address of a server in place of a model's name."""
    return isinstance(model, str) and model.lower().startswith(("http://", "https://"))


def check_url(url: str, options: ServerOptions) -> SplitResult:
    """Returns a checked address in its parts.

    Raises:
        InvalidArgumentError: If it has no host, holds a password, or a key would be sent to it without encryption.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError(
            "서버 주소에 사용자 이름이나 비밀번호를 넣을 수 없습니다. 주소에서 빼고 ServerOptions(api_key=...)를 "
            "쓰세요.",
            "The address of a server must not hold a user name or password; leave them out and pass "
            "ServerOptions(api_key=...).",
        )
    if not host:
        raise bad_address(url)
    keyed = bool(options.api_key) or options.api_key_env is not None
    if parts.scheme.lower() == "http" and keyed and not options.allow_http and not is_here(host):
        raise InvalidArgumentError(
            f"'{host}'에 http://로 키를 보내면 암호화되지 않습니다. https://를 쓰거나, 안전한 내부망이라면 "
            "ServerOptions(allow_http=True)를 넣으세요.",
            f"A key sent to '{host}' over http:// is not encrypted. Use https://, or pass "
            "ServerOptions(allow_http=True) in a network you trust.",
        )
    return parts


def bad_address(url: str) -> InvalidArgumentError:
    """Returns the error of an address that is none; one with an ``@`` is not shown, which may follow a password."""
    shown = url.partition("?")[0]
    shown = "***" if "@" in url else f"{shown!r:.200}"
    return InvalidArgumentError(
        f"서버 주소가 올바르지 않습니다: {shown}. 예: https://host/v1/embeddings",
        f"The address of the server is invalid: {shown}; for example https://host/v1/embeddings.",
    )


def is_here(host: str) -> bool:
    """Returns True for a name or address of this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
