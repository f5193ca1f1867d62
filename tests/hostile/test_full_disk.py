"""The disk becomes full in the middle of an operation: one error of ours, nothing left behind, and a retry succeeds."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from assertions import assert_bilingual

from korag import Collection, load_encoder
from korag.errors import IndexStateError, StorageFullError
from korag.storage import full, storage_errors

resource = pytest.importorskip("resource")  # not on Windows
SCRIPT = Path(__file__).parents[1] / "full_disk_cases.py"


def run(hostile, area: str, folder: Path, *arguments: str, before: tuple[str, ...] = (), short: int, long: int) -> None:
    """Makes the tries in one process of their own, which may not write much."""
    count = len(list(hostile.tries(area, short=short, long=long)))
    command = [*before, sys.executable, str(SCRIPT), str(folder), "--count", str(count), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and before and "mount" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in done.stdout.splitlines():
        found = re.fullmatch(r"seed (\d+): (.*)", line)
        hostile.failed(int(found[1]) if found else -1, found[2] if found else line)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond a number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_that_cannot_grow(hostile, tmp_path: Path) -> None:
    run(hostile, "full disk: EFBIG", tmp_path, short=15, long=300)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a mount of its own")
def test_a_small_file_system(hostile, tmp_path: Path) -> None:
    before = ("unshare", "-m" if os.geteuid() == 0 else "-rm")
    run(hostile, "full disk: ENOSPC", tmp_path, "--mount", before=before, short=15, long=300)


def test_a_model_is_saved_wholly_or_not_at_all(tmp_path: Path) -> None:
    encoder = load_encoder("mini-dense", device="cpu")
    with files_up_to(1_000_000), pytest.raises(StorageFullError) as caught:
        encoder.save(tmp_path / "모델")
    assert HANGUL_AND_PATH.search(caught.value.args[0])
    assert list(tmp_path.iterdir()) == []
    assert load_encoder(encoder.save(tmp_path / "모델")).fingerprint == encoder.fingerprint


HANGUL_AND_PATH = re.compile("/모델.*[가-힣]")


def test_a_collection_in_memory_is_saved_wholly_or_not_at_all(tmp_path: Path) -> None:
    with Collection.in_memory(bm25=True) as collection:
        collection.add(["글 " * 100_000])  # its vectors are small, its text is not
        with files_up_to(50_000), pytest.raises(StorageFullError) as caught:
            collection.save(tmp_path / "모음")
        assert str(tmp_path / "모음") in caught.value.args[0]
        assert list(tmp_path.iterdir()) == []
        with Collection.open(collection.save(tmp_path / "모음")) as saved:
            assert len(saved) == 1


def test_the_error() -> None:
    error = full(Path("/data/docs"), "No space left on device")
    assert isinstance(error, IndexStateError | OSError)
    assert_bilingual(error, "/data/docs", "No space left on device")
    assert pickle.loads(pickle.dumps(error)).args == error.args  # noqa: S301 (our own, just made)


def test_the_errors_of_libraries(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError), storage_errors(tmp_path, writing=True):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="no such thing"), storage_errors(tmp_path, writing=True):
        raise RuntimeError("no such thing")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_device(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError), storage_errors(tmp_path, writing=True):
        Path("/dev/full").write_text("글", encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_command_whose_output_does_not_fit() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "korag.cli", "models"]
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "출력을 쓰지 못했습니다" in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
