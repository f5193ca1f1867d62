"""The release of torch that fast-plaid was compiled for, checked before anything of it is imported.

Beside another torch, fast-plaid is imported without an error and then ends the process (a segmentation fault).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from korag.errors import MissingDependencyError

NEWEST = ("1.7.0.2110", "2.11.0")
"""fast-plaid and its torch, for those who have none yet."""
_OLDEST = (1, 4, 6)
"""That of PyLate 1.6."""
_PINNED = re.compile(r"torch\s*\(?\s*==\s*(\d+\.\d+\.\d+)")
_SUFFIX = re.compile(r"2(\d{1,2})(\d)")
"""The last part of a version: 2110 stands for torch 2.11.0."""
_DOTS = 3
"""In a version with such a part."""


def check_release() -> tuple[str, str]:
    """Checks that fast-plaid is here, and beside the torch that it was compiled for. Imports nothing.

    Returns:
        The releases of fast-plaid and of torch.

    Raises:
        MissingDependencyError: If it is not; with the command that installs both.
    """
    try:
        plaid, torch = version("fast-plaid"), version("torch")
    except PackageNotFoundError as error:
        raise MissingDependencyError(
            f"'{error.name}' 패키지가 설치되어 있지 않습니다. fast-plaid는 정해진 torch에서만 동작하니 함께, 되도록 새 "
            f"환경에 설치하세요: {_command(*NEWEST)}",
            f"The package '{error.name}' is not installed. fast-plaid works with one release of torch only; install "
            f"both, preferably in an environment of their own: {_command(*NEWEST)}",
        ) from error
    if _numbers(plaid) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise MissingDependencyError(
            f"fast-plaid {plaid}은(는) 너무 오래되었습니다. {oldest} 이상이 필요합니다: {_command(*NEWEST)}",
            f"fast-plaid {plaid} is too old; {oldest} or later is needed: {_command(*NEWEST)}",
        )
    wanted = _torch_of(plaid)
    if wanted is None:
        raise MissingDependencyError(
            f"fast-plaid {plaid}이(가) 어느 torch에 맞춰 컴파일되었는지 알 수 없습니다. 맞지 않으면 프로세스가 "
            f"죽으므로 불러오지 않았습니다. 다음을 설치하세요: {_command(*NEWEST)}",
            f"It is not known for which torch fast-plaid {plaid} was compiled, and beside another one it ends the "
            f"process; it was not imported. Install: {_command(*NEWEST)}",
        )
    if torch.partition("+")[0] != wanted:
        raise MissingDependencyError(
            f"fast-plaid {plaid}은(는) torch {wanted}에 맞춰 컴파일되었는데 이 환경의 torch는 {torch}입니다. 그대로 "
            "쓰면 프로세스가 죽으므로 불러오지 않았습니다. 다음을 되도록 새 환경에 설치하세요: "
            f"{_command(plaid, wanted)}",
            f"fast-plaid {plaid} was compiled for torch {wanted}, and this environment has torch {torch}; it would end "
            "the process and was not imported. Install a pair that works, preferably in an environment of its own: "
            f"{_command(plaid, wanted)}",
        )
    return plaid, torch


def check_written_by(folder: Path, written: Mapping[str, str], installed: tuple[str, str]) -> None:
    """Checks that an index's files are of the fast-plaid that is here, before it opens or extends them.

    Another one may have another layout, and reports no error: 1.4 deletes what 1.7 wrote, and 1.7 moves the files of
    1.4 when it opens them.

    Args:
        folder: The index's.
        written: Releases that wrote the files, by package: fast-plaid's and torch's.
        installed: As of `check_release`.

    Raises:
        MissingDependencyError: If the first two numbers of their releases differ; with the command that installs
            theirs.
    """
    was, now = written["fast-plaid"], installed[0]
    if _numbers(was)[:2] == _numbers(now)[:2]:
        return
    command = _command(was, written["torch"].partition("+")[0])
    raise MissingDependencyError(
        f"'{folder}'의 파일은 fast-plaid {was}(으)로 만들었는데 이 환경에는 {now}이(가) 있습니다. 파일 형식이 다를 수 "
        "있어 아무것도 바꾸지 않았습니다. PlaidIndex.build로 새 폴더에 다시 만들거나, 되도록 새 환경에 설치하세요: "
        f"{command}",
        f"The files in '{folder}' were written by fast-plaid {was}, and this environment has {now}, whose files may "
        "differ; nothing was changed. Make the index again with PlaidIndex.build in a new folder, or install that "
        f"release, preferably in an environment of its own: {command}",
    )


def _torch_of(plaid: str) -> str | None:
    """The torch that a wheel requires; its version says the same."""
    for required in requires("fast-plaid") or ():
        if pinned := _PINNED.match(required):
            return pinned[1]
    suffix = _SUFFIX.fullmatch(plaid.rpartition(".")[2])
    return f"2.{suffix[1]}.{suffix[2]}" if suffix and plaid.count(".") == _DOTS else None


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:3])


def _command(plaid: str, torch: str) -> str:
    return f"pip install 'torch=={torch}' 'fast-plaid=={plaid}'"
