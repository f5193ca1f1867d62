"""Files that may not be read or written, and paths that cannot be one: each is an error of ours that names the path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from assertions import HANGUL

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
SCRIPT = Path(__file__).parents[1] / "permission_cases.py"
NAMES_NO_PATH = ("empty", "a_number")
EXPECTED = {
    "search:database_000": "AccessError",
    "search:segments_000": "AccessError",
    "search:segment_000": "AccessError",
    "search:folder_500": None,  # a collection that may only be read
    "search:database_400": None,
    "add:folder_500": "ReadOnlyError",
    "add:database_444": "ReadOnlyError",
    "add:segments_500": "ReadOnlyError",
    "open:unwritable_parent": "ReadOnlyError",
    "open:parent_without_execute": "AccessError",
    "open:a_file": "ForeignFolderError",
    "open:nul": "InvalidArgumentError",
    "save:long_name": "StorageError",
    "save:unwritable_parent": "ReadOnlyError",
    "load:tokenizer.json_000": "AccessError",
    "load:model.safetensors_000": "AccessError",
    "load_encoder:parent_without_execute": "AccessError",
    "save_pretrained:unwritable_parent": "ReadOnlyError",
    "train:broken_link": "InvalidArgumentError",
    "read_pairs:.jsonl_000": "AccessError",
    "mount:search": None,
    "mount:add": "ReadOnlyError",
    "mount:save": "ReadOnlyError",
    "mount:save_pretrained": "ReadOnlyError",
}


def outcomes(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Runs the cases in another process, which gives its privileges up."""
    command = [*before, sys.executable, str(SCRIPT), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if before:
            pytest.skip(f"cannot mount here: {done.stderr[-200:]}")
        pytest.fail(done.stdout[-2000:] + done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: list[dict[str, Any]]) -> None:
    problems = []
    for row in found:
        name = row["case"]
        kind = row.get("kinds", [None])[0]
        if name in EXPECTED and kind != EXPECTED[name]:
            problems.append(f"{name}: {kind} instead of {EXPECTED[name]}")
        if kind is None:
            continue
        if not row["ours"]:
            problems.append(f"{name}: {kind} {row['messages']}")
            continue
        korean, english = row["messages"]
        if not HANGUL.search(korean) or not re.search(r"[a-z]{3} [a-z]", english):
            problems.append(f"{name}: not in both languages: {korean} / {english}")
        if "OSError" in row["kinds"] and not name.endswith(NAMES_NO_PATH):
            problems += [f"{name}: no path in {text}" for text in (korean, english) if not re.search(r"[/~]", text)]
    assert not problems, "\n".join(problems)


@pytest.mark.slow
def test_permissions_and_paths(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = outcomes(tmp_path)
    request.node.user_properties.append(("hostile", f"permissions and paths\t{len(found)}\t0"))
    assert len(found) > 400
    check(found)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a mount of its own")
def test_a_file_system_mounted_read_only(tmp_path: Path) -> None:
    check(outcomes(tmp_path, "--mount", before=("unshare", "-m" if os.geteuid() == 0 else "-rm")))
