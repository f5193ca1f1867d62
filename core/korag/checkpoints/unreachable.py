"""The reason why a model's files are not on this machine and cannot be downloaded, each told as what it is."""

from __future__ import annotations

import difflib
import errno
import os
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.presets import PRESETS
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    HubUnreachableError,
    KoragError,
    ReadOnlyError,
    StorageFullError,
)


class _Asked(Protocol):
    """A model that was asked for: `korag.checkpoints.hub.ModelFiles`, whose module imports this one."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def cache_folder(self) -> str | None: ...
    @property
    def local_files_only(self) -> bool: ...


Said = tuple[str, str]
"""Korean and English."""
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Either forbids huggingface_hub to contact the Hub; the first counts if both are set."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_TOKEN: Said = ("token=이나 환경 변수 HF_TOKEN", "token= or the environment variable HF_TOKEN")


def explain_missing(source: _Asked, error: BaseException | None = None) -> KoragError:
    """Returns KoRAG's error for files of a model that were not found, saying why.

    Args:
        source: The model.
        error: The error of huggingface_hub, with its causes; None if files are missing without any.
    """
    causes = list(_causes(error))
    return _of_disk(source, causes) or _of_hub(source, causes) or _of_network(source, causes)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _cache(source: _Asked) -> Path:
    from huggingface_hub import constants

    return Path(source.cache_folder or constants.HF_HUB_CACHE).expanduser()


def _shown(source: _Asked) -> str:
    # a commit was found by this library, and says nothing to the user
    asked = source.revision if source.revision is not None and len(source.revision) != 40 else None
    return f"'{source.name}'" + ("" if asked is None else f"(revision={asked!r:.60})")


# -- the disk -------------------------------------------------------------------------------------------------


def _of_disk(source: _Asked, causes: list[BaseException]) -> KoragError | None:
    """Of a cache that cannot be written."""
    name, cache = _shown(source), _cache(source)
    for cause in causes:
        if not isinstance(cause, OSError):
            continue
        if cause.errno in _FULL:
            return StorageFullError(
                f"{name}을(를) 다운로드하는 동안 Hub 캐시 '{cache}'의 공간이 모자랐습니다({cause.strerror}). 공간을 "
                "비우거나, 다른 디스크의 폴더를 cache_folder=나 환경 변수 HF_HOME에 넣으세요.",
                f"The Hub cache '{cache}' ran out of space while {name} was downloaded ({cause.strerror}). Free some "
                "space, or name a folder on another disk by cache_folder= or the environment variable HF_HOME.",
            )
        if cause.errno in _DENIED and cause.filename is not None:
            return ReadOnlyError(
                f"Hub 캐시 '{cache}'에 쓸 수 없어 {name}을(를) 다운로드하지 못했습니다({cause.strerror}). 폴더의 쓰기 "
                "권한을 확인하거나, 쓸 수 있는 폴더를 cache_folder=나 환경 변수 HF_HOME에 넣으세요.",
                f"{name} could not be downloaded, because the Hub cache '{cache}' cannot be written to "
                f"({cause.strerror}). Check the folder's permissions, or name one that can be written to by "
                "cache_folder= or the environment variable HF_HOME.",
            )
    return None


# -- the Hub's answer -----------------------------------------------------------------------------------------


def _of_hub(source: _Asked, causes: list[BaseException]) -> KoragError | None:
    """Of a Hub that answered and has or gives no such model."""
    from huggingface_hub import errors

    name = source.name
    answered = next((cause for cause in causes if isinstance(cause, errors.HfHubHTTPError)), None)
    if answered is None:
        return None
    status = answered.response.status_code
    if isinstance(answered, errors.GatedRepoError):
        return CheckpointError(
            f"'{name}'은(는) 이용 동의가 필요한 모델입니다(HTTP {status}). Hub의 모델 페이지에서 동의하고, 승인된 "
            f"계정의 토큰을 {_TOKEN[0]}에 넣으세요.",
            f"'{name}' is gated (HTTP {status}): accept its terms on its page of the Hub, and pass the token of an "
            f"account that has access, as {_TOKEN[1]}.",
        )
    if isinstance(answered, errors.RevisionNotFoundError):
        return CheckpointNotFoundError(
            f"'{name}'에 revision '{source.revision}'이(가) 없습니다.",
            f"'{name}' has no revision '{source.revision}'.",
        )
    if isinstance(answered, errors.RepositoryNotFoundError):
        close = difflib.get_close_matches(name, [known for known in PRESETS if known != name], n=1, cutoff=0.8)
        korean, english = (f" 혹시 '{close[0]}'인가요?", f" Did you mean '{close[0]}'?") if close else ("", "")
        if status == 401:  # the Hub's answer to those who are not logged in
            return CheckpointNotFoundError(
                f"Hub에 '{name}' 모델이 없거나 비공개입니다(HTTP 401).{korean} 이름을 확인하고, 비공개라면 볼 수 있는 "
                f"계정의 토큰을 {_TOKEN[0]}에 넣으세요.",
                f"The Hub has no model '{name}', or it is private (HTTP 401).{english} Check the name; for a private "
                f"model, pass the token of an account that can see it, as {_TOKEN[1]}.",
            )
        return CheckpointNotFoundError(
            f"Hub에 '{name}' 모델이 없습니다(HTTP {status}).{korean} 이름(owner/name)을 확인하세요. 비공개 모델이라면 "
            "그 모델을 볼 수 있는 계정의 토큰인지 확인하세요.",
            f"The Hub has no model '{name}' (HTTP {status}).{english} Check the name (owner/name); if it is private, "
            "check that the token is of an account that can see it.",
        )
    if status == 401:
        return CheckpointError(
            f"Hub가 토큰을 받지 않아 '{name}'을(를) 다운로드하지 못했습니다(HTTP 401). 토큰이 틀렸거나 만료되었습니다. "
            f"새 토큰을 {_TOKEN[0]}에 넣거나, 공개 모델이라면 빼세요.",
            f"'{name}' could not be downloaded, because the Hub refuses the token (HTTP 401): it is wrong or has "
            f"expired. Pass a new one as {_TOKEN[1]}, or for a public model none.",
        )
    if status == 403:
        return CheckpointError(
            f"Hub가 '{name}'의 다운로드를 허용하지 않습니다(HTTP 403). 토큰에 이 모델을 읽을 권한이 있는지 확인하세요.",
            f"The Hub does not allow '{name}' to be downloaded (HTTP 403). Check that the token has permission to read "
            "it.",
        )
    if status == 407:
        return _unreachable(source, causes, *_proxy("HTTP 407"))
    later = status == 429 or status >= 500
    fix = ("잠시 뒤 다시 하세요.", "Try again later.") if later else ("Hub의 주소를 확인하세요.", "Check its address.")
    return _unreachable(
        source,
        causes,
        f"Hub({_endpoint()})가 오류로 응답했습니다(HTTP {status}). {fix[0]}",
        f"the Hub ({_endpoint()}) answered with an error (HTTP {status}). {fix[1]}",
    )


# -- no answer ------------------------------------------------------------------------------------------------


def _of_network(source: _Asked, causes: list[BaseException]) -> KoragError:
    """Of a Hub that was not asked, or gave no answer."""
    if any(forbidden := no_download(source)):
        return _unreachable(source, causes, *forbidden)
    names = {type(cause).__name__ for cause in causes}
    if "ProxyError" in names:
        return _unreachable(source, causes, *_proxy(_reason(causes)))
    at = _endpoint()
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return _unreachable(
            source,
            causes,
            f"Hub({at})와 보안 연결(TLS)을 맺지 못했습니다({_reason(causes)}). 회사 네트워크가 연결을 검사한다면 그 "
            "인증서 파일을 환경 변수 SSL_CERT_FILE에 넣고, 컴퓨터의 날짜도 확인하세요.",
            f"no secure connection (TLS) to the Hub ({at}) could be made ({_reason(causes)}). If your network inspects "
            "connections, name the file of its certificate in the environment variable SSL_CERT_FILE; check this "
            "machine's date too.",
        )
    through = _proxies()
    korean = f" 프록시를 거칩니다: 환경 변수 {through}도 확인하세요." if through else ""
    english = f" It goes through a proxy: check {through} in the environment too." if through else ""
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return _unreachable(
            source,
            causes,
            f"Hub의 주소 {at}을(를) 찾지 못했습니다(DNS). 인터넷에 연결되어 있는지 확인하세요.{korean}",
            f"the Hub's address {at} was not found (DNS). Check that this machine is connected to the internet."
            f"{english}",
        )
    if any(isinstance(cause, TimeoutError) or type(cause).__name__.endswith("Timeout") for cause in causes):
        return _unreachable(
            source,
            causes,
            f"Hub({at})가 제때 응답하지 않았습니다. 인터넷 연결과 방화벽을 확인하고 다시 하세요.{korean}",
            f"the Hub ({at}) did not answer in time. Check the connection and the firewall, and try again.{english}",
        )
    if any(isinstance(cause, ConnectionError) or type(cause).__name__ == "ConnectError" for cause in causes):
        return _unreachable(
            source,
            causes,
            f"Hub({at})에 연결하지 못했습니다({_reason(causes)}). 인터넷 연결과 방화벽을 확인하세요.{korean}",
            f"no connection to the Hub ({at}) could be made ({_reason(causes)}). Check the network and the firewall."
            f"{english}",
        )
    return _unreachable(
        source,
        causes,
        f"다운로드하지도 못했습니다({_reason(causes)}). 인터넷에 연결해 다시 하세요.",
        f"it could not be downloaded ({_reason(causes)}). Connect to the internet and try again.",
    )


def _unreachable(source: _Asked, causes: list[BaseException], korean: str, english: str) -> HubUnreachableError:
    """Returns the error for a cause, with what is missing before it and another way behind it."""
    name, cache = _shown(source), _cache(source)
    if any(type(cause).__name__ == "IncompleteSnapshotError" for cause in causes):
        missing = (
            f"이 컴퓨터의 Hub 캐시 '{cache}'에 {name}의 파일이 일부만 있습니다",
            f"The Hub cache of this machine, '{cache}', has only some of the files of {name}",
        )
    else:
        missing = (
            f"이 컴퓨터에 {name} 모델이 없습니다(같은 이름의 폴더도 없고 Hub 캐시 '{cache}'에도 없습니다)",
            f"There is no model {name} on this machine: no folder of that name, and nothing in the Hub cache '{cache}'",
        )
    bundled = ", ".join(shipped_models())
    return HubUnreachableError(
        f"{missing[0]}. {korean} 경로를 넣은 것이라면 오타가 없는지 확인하세요. 인터넷을 쓸 수 없다면 다른 PC에서 "
        f"다운로드한 모델 폴더를 복사해 그 경로를 넣거나, 내장 모델({bundled})을 쓰세요.",
        f"{missing[1]}; {english} If it is a path, check its spelling. Without a connection, copy the model's folder "
        f"from a machine that has one and pass its path, or use a bundled model: {bundled}.",
    )


def no_download(source: _Asked) -> Said:
    """Returns what forbids a download, and how to allow it; two empty texts if nothing does."""
    from huggingface_hub import constants

    if source.local_files_only:
        return (
            "local_files_only=True라서 다운로드하지 않습니다. 다운로드하려면 그 인수를 빼세요.",
            "local_files_only=True forbids a download; to download it, omit that argument.",
        )
    if not constants.HF_HUB_OFFLINE:  # read from the environment when huggingface_hub is imported
        return "", ""
    name = next((name for name in _OFFLINE if os.environ.get(name)), None)
    if name is None:
        return (
            "이 프로그램은 HF_HUB_OFFLINE=1로 시작해서 다운로드하지 않습니다. 다운로드하려면 다시 시작하세요.",
            "this program was started with HF_HUB_OFFLINE=1, which forbids a download; to download it, start it again.",
        )
    setting = f"{name}={os.environ[name]}"
    return (
        f"환경 변수 {setting}이(가) 있어 다운로드하지 않습니다. 다운로드하려면 {name}=0으로 바꾸고 프로그램을 다시 "
        "시작하세요.",
        f"the environment variable {setting} forbids a download; to download it, set {name}=0 and start the program "
        "again.",
    )


def _endpoint() -> str:
    """The Hub's address, without what may be secret in it."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _proxies() -> str:
    """Names of the variables by which the Hub is asked through a proxy; their values may hold a password."""
    parts = urlsplit(_endpoint())
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return ""
    found = [kind for kind in urllib.request.getproxies() if kind in (parts.scheme, "all")]
    return ", ".join(f"{kind.upper()}_PROXY" for kind in found)


def _proxy(reason: str) -> Said:
    through = _proxies() or "HTTPS_PROXY"
    return (
        f"프록시가 Hub({_endpoint()})로 가는 연결을 받아 주지 않았습니다({reason}). 환경 변수 {through}의 주소와 "
        "계정을 확인하세요.",
        f"the proxy refuses connections to the Hub ({_endpoint()}; {reason}). Check the address and the account in "
        f"the environment variable {through}.",
    )


def _reason(causes: list[Any]) -> str:
    """The operating system's words for what failed, or the kind of the error: other texts may hold addresses."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)[:120]
    return type(causes[-1]).__name__ if causes else "?"
