"""The tutorials run from top to bottom offline and show their committed outputs.

Cells run here as plain Python and not in a kernel, which would need sockets; ``make notebooks`` runs them in one.
"""

import ast
import asyncio
import contextlib
import io
import re
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any

import nbformat
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = ["langchain_tutorial.ipynb", "llamaindex_tutorial.ipynb"]
_DECIMAL = re.compile(r"-?\d+\.\d+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Of nodes: LlamaIndex makes new ones in each run."""


def _read(name: str) -> Any:
    return nbformat.read(EXAMPLES / name, as_version=4)


def _code_cells(name: str) -> list[Any]:
    return [cell for cell in _read(name).cells if cell.cell_type == "code"]


def _shown(cell: Any) -> str:
    return "".join(
        output["text"] if output["output_type"] == "stream" else _words(output["data"]["text/html"])
        for output in cell.outputs
    )


def _words(picture: str) -> str:
    """Returns the words of a picture, without its style."""
    words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", picture, flags=re.DOTALL)  # a space between the cells of a row
    return _UUID.sub("#", " ".join(words.split()))


def _run(source: str, name: str, namespace: dict[str, Any]) -> str:
    """Returns what a cell prints, and what the picture of its last line says."""
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, namespace)  # noqa: S307 (our own notebook)
        if code.co_flags & CO_COROUTINE:
            asyncio.run(result)
    last = ast.parse(source).body[-1]
    value = namespace.get(last.value.id) if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name) else None
    return printed.getvalue() + ("" if value is None else _words(value._repr_html_()))


def _without_decimals(text: str) -> str:
    return _DECIMAL.sub("#", text)


def _decimals(text: str) -> list[float]:
    return [float(number) for number in _DECIMAL.findall(text)]


@pytest.mark.notebook
@pytest.mark.timeout(900)  # a whole tutorial, on a machine that may be busy
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_prints_what_it_is_committed_with(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in _code_cells(name):
        printed, expected = _run(cell.source, f"{name}: {cell.id}", namespace), _shown(cell)
        assert _without_decimals(printed) == _without_decimals(expected), cell.id
        # Rounding may fall to the other side on another machine.
        assert _decimals(printed) == pytest.approx(_decimals(expected), abs=0.011), cell.id
    assert not list(tmp_path.iterdir()), "the last cell clears up"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_committed_as_executed(name: str) -> None:
    notebook = _read(name)
    nbformat.validate(notebook)
    cells = _code_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output["output_type"] == "execute_result" or output["name"] == "stdout"
        assert "print(" not in cell.source or cell.outputs, cell.id
    everything = (EXAMPLES / name).read_text(encoding="utf-8")
    assert not re.search(r"/(home|tmp|root|Users|work)/", everything)
    assert sum(output["output_type"] == "execute_result" for cell in cells for output in cell.outputs) == 1
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_a_changed_output_is_seen() -> None:
    assert _without_decimals("1위 가 0.50") != _without_decimals("1위 나 0.50")
    assert _without_decimals("1위 가 0.50") != _without_decimals("2위 가 0.50")
    assert _decimals("가 0.50 나 0.25") != pytest.approx(_decimals("가 0.50 나 0.27"), abs=0.011)
    assert _run("print(1)\nasync def f(): print(2)\nawait f()", "cell", {}) == "1\n2\n"
    with pytest.raises(ZeroDivisionError):
        _run("1 / 0", "cell", {})
