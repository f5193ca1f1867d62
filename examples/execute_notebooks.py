"""노트북을 처음부터 끝까지 실행하고 출력을 갱신합니다. 오류나 경고가 나오면 파일을 바꾸지 않습니다.

Executes the notebooks and updates their outputs in place; on an error or a warning the files stay unchanged.

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
        RuntimeError: If a cell outputs anything but printed text and a picture, such as a warning or a progress bar.
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
    """Keeps only what is reproducible: the source, the printed text as a single output, and the last line's picture."""
    cell.metadata = {}
    if cell.cell_type != "code":
        return
    printed, pictures = "", []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            printed += output.text
        elif output.output_type == "execute_result" and "text/html" in output.data:
            output.data = {"text/html": output.data["text/html"]}
            pictures.append(output)
        else:
            raise RuntimeError(f"'{cell.id}' 셀에 글도 그림도 아닌 출력 / neither text nor picture: {output}")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] * bool(printed) + pictures


if __name__ == "__main__":
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # from tqdm; ipywidgets is not needed, since no bar is drawn
    }
    for found in sorted(map(Path, sys.argv[1:]) if sys.argv[1:] else FOLDER.glob("*.ipynb")):
        execute(found)
        print(found.name)
