"""Imports optional packages, with an error that names the ``pip install`` if one is missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from korag.errors import MissingDependencyError


def require(module: str, *, extra: str) -> ModuleType:
    """Imports an optional module.

    Args:
        module: Dotted module name.
        extra: The KoRAG extra that installs it.

    Returns:
        The imported module.

    Raises:
        MissingDependencyError: If the top-level package is not installed. An `ImportError` from inside an
            installed package propagates unchanged, since ``pip install`` would not fix it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise _missing(package, extra) from error


def check(*packages: str, extra: str) -> None:
    """Raises the error of `require` early, without importing anything.

    Args:
        packages: Top-level packages.
        extra: The KoRAG extra that installs them.

    Raises:
        MissingDependencyError: If one is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise _missing(package, extra)


def _missing(package: str, extra: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"'{package}' 패키지가 설치되어 있지 않습니다. 다음 명령으로 설치하세요: pip install 'korag[{extra}]'",
        f"The package '{package}' is not installed. Install it with: pip install 'korag[{extra}]'",
    )
