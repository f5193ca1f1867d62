"""Kills a process at each step of a change of a PLAID index, and tells whether the change is there afterwards.

    python tests/kill_plaid.py FOLDER

Each change and each look at it are made in a process of their own, forked before torch or fast-plaid has any thread.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch  # noqa: F401 (loaded once for all)
from fast_plaid import search  # noqa: F401

from korag import Collection
from korag.plaid import PlaidIndex, engine, tokens, writing
from korag.plaid.table import Transaction
from korag.testing import FakeMultiVectorEncoder

TEXTS = [f"{number}번 창구는 {number % 4}층에 있고 {9 + number % 3}시에 연다." for number in range(20)]
IDS = [str(number) for number in range(len(TEXTS))]
BEFORE = set(IDS)
AFTER = {*IDS[5:], "3", "새"}


def main() -> None:
    """Prints each step and what was found after it, ``old`` or ``new``; for a small index and for a larger one."""
    for name, kept in (("small", 1_000), ("large", 0)):  # windows up to which an index keeps its vectors
        tokens.KEPT_WINDOWS = kept
        folder = Path(sys.argv[1]) / name
        folder.mkdir()
        _in_child(lambda at=folder / "built": _build(at))
        for step in ("copied", "written", "numbered", "committed"):
            shutil.copytree(folder / "built", folder / step)
            assert _in_child(lambda at=folder / step, step=step: _change(at, step)) == signal.SIGKILL
            found = "new" if _in_child(lambda at=folder / step: _look(at)) else "old"
            print(step, found, flush=True)  # noqa: T201 (the answer)


def _in_child(act: Callable[[], int | None]) -> int:
    """Runs something in a forked process; returns its status, or the signal that ended it."""
    if not (child := os.fork()):
        status = 99
        try:
            status = act() or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) in (0, 1), "see above"
    return os.WEXITSTATUS(status)


def _encoder() -> FakeMultiVectorEncoder:
    return FakeMultiVectorEncoder(dim=64)


def _build(folder: Path) -> None:
    collection = Collection.in_memory(encoders=[_encoder()])
    collection.add(TEXTS, ids=IDS)
    PlaidIndex.build(collection, folder, device="cpu").close()


def _changed() -> Collection:
    collection = Collection.in_memory(encoders=[_encoder()])
    collection.add([*TEXTS[5:], "고친 글이다", "새로 온 글이다"], ids=[*IDS[5:], "3", "새"])
    return collection


def _change(folder: Path, step: str) -> None:
    changed = _changed()
    index = PlaidIndex.open(folder, encoder=_encoder(), device="cpu")

    def kill(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "copied":
        engine._open = kill
    elif step == "written":
        writing.count_documents = kill
    elif step == "numbered":
        written = Transaction.write_state

        def write(self: Transaction, *state: object) -> None:
            written(self, *state)
            kill()

        Transaction.write_state = write
    else:
        writing.shutil.rmtree = kill
    index.sync(changed)


def _look(folder: Path) -> int:
    """Returns 1 if the change is there; it is whole, and the next removes the remains of one that is not."""
    with PlaidIndex.open(folder, encoder=_encoder(), device="cpu") as index:
        ids = set(index.ids())
        assert ids in (BEFORE, AFTER), ids
        assert {hit.id for hit in index.search("창구", k=100)} == ids
        assert index.search(TEXTS[7], k=1)[0].id == "7"
        is_new = ids == AFTER
        index.sync(_changed())
        assert {hit.id for hit in index.search("창구", k=100)} == AFTER
        assert index.search("새로 온 글이다", k=1)[0].id == "새"
        assert len([path for path in folder.iterdir() if path.is_dir()]) == 1
    return int(is_new)


if __name__ == "__main__":
    main()
