"""docs/scale-out.md: a folder moves to a server and back, and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from edge_server import EdgeServer

PAGE = (Path(__file__).parents[2] / "docs" / "scale-out.md").read_text(encoding="utf-8")


def test_a_folder_moves_to_a_server_and_back(server: EdgeServer, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    match = re.search(r"## Moving\n\n```python\n(.*?)```\n+```text\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = match[1].replace("http://localhost:6333", server.url)
        exec(compile(code, "scale-out.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == match[2]
