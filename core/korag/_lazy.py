"""Public names that are imported on first use (PEP 562), listed once, in the package's stub.

``__init__.pyi`` imports every public name from its module: type checkers and editors read it as it is, and
`lazy_exports` reads the same lines at run time. So a package's public names are one list.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from korag._optional import require


def lazy_exports(
    package: str, *, requires: str | None = None, extra: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Returns ``__getattr__``, ``__dir__`` and ``__all__`` for a package's ``__init__.py``.

    Args:
        package: Its ``__name__``.
        requires: An optional module that every name needs.
        extra: The KoRAG extra that installs it.

    Raises:
        MissingDependencyError: Not now but when a name is used, if the module `requires` is missing.
    """
    init = sys.modules[package].__file__
    assert init is not None, package  # noqa: S101 (a package without a file has no stub either)
    stub = ast.parse(Path(init).with_name("__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: node.module or "" for node in imports for alias in node.names}
    names = sorted(modules)

    def get_attribute(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute {name!r}")
        if requires is not None:
            require(requires, extra=extra)
        return getattr(import_module(modules[name]), name)

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return get_attribute, list_names, names
