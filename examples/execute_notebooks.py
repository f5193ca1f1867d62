"""노트북을 처음부터 끝까지 실행하고, 출력을 제자리에 다시 씁니다. 오류나 경고가 나오면 아무것도 고치지 않습니다.

Runs the notebooks from top to bottom and writes their outputs in place; an error or a warning leaves them as they are.

실행(run): make notebooks
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(path: Path) -> None:
    """Runs one notebook in a new kernel and an empty folder, offline.

    Raises:
        CellExecutionError: If a cell raises.
        RuntimeError: If a cell gives anything but printed lines: warnings, progress bars, values of other machines.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=600,
            startup_timeout=600,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for cell in notebook.cells:
        clean(cell)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def clean(cell: Any) -> None:
    """Keeps what is the same in every run: the source, and what was printed as a single output."""
    cell.metadata = {}
    if cell.cell_type != "code":
        return
    for output in cell.outputs:
        if output.output_type != "stream" or output.name != "stdout":
            raise RuntimeError(f"'{cell.id}'에 출력이 아닌 것이 있습니다 / is no printed output: {output}")
    printed = "".join(output.text for output in cell.outputs)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []


if __name__ == "__main__":
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, which misses ipywidgets and draws no bar here
    }
    for found in sorted(map(Path, sys.argv[1:]) if sys.argv[1:] else FOLDER.glob("*.ipynb")):
        execute(found)
        print(found.name)
