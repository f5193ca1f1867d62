"""Imports point downwards and never in a circle, as docs/architecture.md draws them."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"korag": ROOT / "core", "langchain_korag": ROOT, "llamaindex_korag": ROOT}
LAYERS = [
    {"langchain_korag", "llamaindex_korag"},
    {"korag.__main__"},
    {"korag.cli"},
    {"korag.commands"},
    {"korag.training"},
    {"korag.serving"},
    {
        "korag.evaluation", "korag.reranking", "korag.pruning", "korag.explain", "korag.testing", "korag.folders",
        "korag.distributed", "korag.plaid",
    },
    {"korag.collection.local", "korag.collection.qdrant"},
    {"korag.collection"},
    {"korag.filters", "korag.legs"},
    {"korag.splitting"},
    {"korag.encoders", "korag.remote"},
    {"korag.checkpoints", "korag.analysis", "korag.reading"},
    {
        "korag.breadcrumbs",
        "korag.kernels", "korag.scoring", "korag.fusion", "korag.diversity", "korag.workers", "korag.text",
        "korag.characters", "korag.checks", "korag.deprecations", "korag.empty_query", "korag.errors",
        "korag.field_errors", "korag.explanations", "korag.forking", "korag.html", "korag.keywords", "korag.logs",
        "korag.metadata", "korag.particles", "korag.paths", "korag.places", "korag.storage", "korag.tracing",
        "korag._lazy", "korag._optional",
    },
]  # fmt: skip
"""From top to bottom."""
FACADES = {"korag", "korag.collection", "langchain_korag", "llamaindex_korag"}
"""Packages whose ``__init__`` only offers names from other modules."""


def _files() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in (folder / package).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: Path, known: set[str]) -> set[str]:
    """The modules a file imports anywhere in it, under TYPE_CHECKING and in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & known or {node.module}
    return found & known


def _graph() -> dict[str, set[str]]:
    files = _files()
    return {name: _imports(path, set(files)) for name, path in files.items() if name not in FACADES}


def _layer(module: str) -> int:
    fits = [
        (len(name), number)
        for number, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    assert fits, f"{module} belongs to no layer; add it to LAYERS and to docs/architecture.md"
    return max(fits)[1]


def test_imports_point_downwards() -> None:
    upwards = [
        f"{module} imports {imported}"
        for module, imports in sorted(_graph().items())
        for imported in sorted(imports - FACADES)
        if _layer(imported) < _layer(module)
    ]
    assert not upwards, "\n".join(upwards)


def test_facades_are_for_the_layers_above_them() -> None:
    """The other tests do not follow imports through a facade."""
    highest = min(_layer(module) for module in ("korag.collection.local", "korag.collection"))
    below = {module: found & FACADES for module, found in _graph().items() if _layer(module) >= highest}
    assert not {module: found for module, found in below.items() if found}


def test_no_module_imports_itself_through_others() -> None:
    try:
        TopologicalSorter(_graph()).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None


if __name__ == "__main__":
    sys.stdout.write("\n".join(f"{module}: {', '.join(sorted(found))}" for module, found in sorted(_graph().items())))
