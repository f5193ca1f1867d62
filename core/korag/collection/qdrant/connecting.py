"""The way to a server: addresses, keys, names and versions, checked."""

from __future__ import annotations

import warnings
from urllib.parse import SplitResult, urlsplit

import httpx
from qdrant_client import QdrantClient

from korag.checks import check_count
from korag.collection.qdrant.transport import Transport
from korag.errors import IndexStateError, InvalidArgumentError
from korag.logs import logger

OLDEST = (1, 20)
"""The first release of the server with everything that is used: scores of text indexes, metadata of collections."""
_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')
"""Characters that the server does not take in names."""
_LONGEST = 1_000_000
"""Seconds of a time-out: sockets take some two million at most."""


def reach(
    name: str,
    url: str | None,
    client: QdrantClient | None,
    *,
    timeout: float,
    retries: int,
    api_key: str | None,
) -> Transport:
    """Returns the way to a collection; does not connect yet.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
    """
    check_count("retries", retries)
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout <= _LONGEST:
        raise InvalidArgumentError(
            f"timeout={timeout!r:.80}: 0보다 크고 {_LONGEST:,} 이하인 초여야 합니다.",
            f"timeout={timeout!r:.80} must be a number of seconds above 0, at most {_LONGEST:,}.",
        )
    if (url is None) == (client is None):
        raise InvalidArgumentError(
            "url과 client 가운데 하나만 넣으세요. 예: url='http://localhost:6333'.",
            "Give one of url and client, for example url='http://localhost:6333'.",
        )
    _check_key(api_key)
    if client is not None:
        _check_client(client)
        secret = api_key or client.init_options.get("api_key")
        return Transport(client, name, place=f"Qdrant '{name}'", retries=retries, secret=secret)
    parts = _check_url(url)
    if api_key is not None and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        logger.warning("API 키를 암호화되지 않은 연결(http)로 보냅니다. / The API key is sent unencrypted, over http.")

    def connect() -> QdrantClient:
        return _connect(parts, api_key=api_key, timeout=timeout)

    place = f"Qdrant '{name}' ({_shown(parts)})"
    return Transport(connect, name, place=place, retries=retries, secret=api_key)


def check_name(name: object) -> None:
    """Raises unless a collection may have this name.

    Raises:
        InvalidArgumentError: If it may not.
    """
    is_name = isinstance(name, str) and 0 < len(name) < 256 and name not in (".", "..")
    if not is_name or set(str(name)) & _FORBIDDEN:
        listed = " ".join(sorted(_FORBIDDEN - {"\0", "\x1f"}))
        raise InvalidArgumentError(
            f"name={name!r:.80}: Qdrant 컬렉션의 이름이어야 합니다. 255자까지이고 {listed} 문자는 쓸 수 없습니다.",
            f"name={name!r:.80} must be the name of a Qdrant collection: up to 255 characters, none of {listed}.",
        )


def _check_key(api_key: object) -> None:
    """Raises for a key that cannot stand in a header; the client's error would show it."""
    if api_key is not None and not (
        isinstance(api_key, str) and api_key and api_key.isascii() and api_key.isprintable() and " " not in api_key
    ):
        raise InvalidArgumentError(
            "api_key=: 공백과 줄바꿈이 없는 ASCII 문자열이어야 합니다(값은 보이지 않습니다). 파일에서 읽었다면 "
            ".strip()을 붙이세요.",
            "api_key= must be a string of ASCII characters without spaces or line breaks (its value is not shown). If "
            "it was read from a file, add .strip().",
        )


def _check_client(client: object) -> None:
    """Raises for a client whose answers or errors are not those of a server's REST interface."""
    if not isinstance(client, QdrantClient):
        kind = type(client).__name__
        raise InvalidArgumentError(
            f"client=에 {kind:.80}을(를) 넣었습니다. qdrant_client.QdrantClient여야 합니다.",
            f"client= is a {kind:.80}; it must be a qdrant_client.QdrantClient.",
        )
    options = client.init_options
    if options.get("location") == ":memory:" or options.get("path") is not None:
        raise InvalidArgumentError(
            "client=이(가) 서버가 아니라 이 프로세스 안에서 찾는 클라이언트입니다. 서버의 url=을 넣거나, 서버가 없다면 "
            "korag.Collection을 쓰세요.",
            "client= searches in this process and not on a server. Pass the url= of a server, or use korag.Collection "
            "if there is none.",
        )
    if options.get("prefer_grpc"):
        raise InvalidArgumentError(
            "client=이(가) gRPC를 씁니다(prefer_grpc=True). REST를 쓰는 클라이언트를 넣거나 url=을 넣으세요.",
            "client= uses gRPC (prefer_grpc=True). Pass a client that uses REST, or url=.",
        )


def _check_url(url: object) -> SplitResult:
    """Returns a server's address in its parts.

    Raises:
        InvalidArgumentError: If it is none, or holds a password.
    """
    parts = _parts(url)
    if parts is None:
        raise InvalidArgumentError(
            "url=: Qdrant 서버의 주소여야 합니다. 예: 'http://localhost:6333'.",
            "url= must be the address of a Qdrant server, for example 'http://localhost:6333'.",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError(
            "url=에 사용자 이름이나 비밀번호가 들어 있습니다(값은 보이지 않습니다). url에서 빼고 서버의 키를 "
            "api_key=에 넣으세요.",
            "url= has a user name or password in it (its value is not shown). Remove it, and pass the server's key as "
            "api_key=.",
        )
    return parts


def _parts(url: object) -> SplitResult | None:
    """Returns the parts of an address that everyone on the way to the server can read; None for any other."""
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host = httpx.URL(url).host  # of a name that IDNA does not allow, an error
        host.rstrip(".").encode("idna")  # as the system's resolver is asked
        is_port = parts.port != 0
    except (ValueError, httpx.InvalidURL):  # a UnicodeError is a ValueError
        return None
    is_host = bool(host.strip(".")) and not set(host) & set("%<>\"'\\^`{|}")
    return parts if parts.scheme in ("http", "https") and is_host and is_port else None


def _connect(parts: SplitResult, *, api_key: str | None, timeout: float) -> QdrantClient:
    """Returns a client for a server; does not connect yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a key over plain HTTP: said in `reach`, in both languages
        return QdrantClient(
            url=parts.geturl(),
            port=parts.port or (6333 if parts.scheme == "http" else 443),
            api_key=api_key,
            timeout=max(1, round(timeout)),
            check_compatibility=False,
        )


def _shown(parts: SplitResult) -> str:
    """Returns an address without what may be secret: user name, password, query."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def check_version(transport: Transport) -> None:
    """Raises if the server is too old.

    Raises:
        IndexStateError: If so.
        ServerError: If it does not answer.
    """
    version = str(transport.call_server("info").version)
    parts = version.split("-")[0].split(".")[:2]
    known = tuple(int(part) for part in parts if part.isdecimal())
    if len(known) == 2 and known < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise IndexStateError(
            f"{transport.place}의 서버가 너무 오래되었습니다: Qdrant {version:.20}. {oldest} 이상으로 올리세요.",
            f"The server of {transport.place} is too old: Qdrant {version:.20}. Upgrade it to {oldest} or newer.",
        )
