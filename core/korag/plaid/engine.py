"""fast-plaid: writing a folder of its files, and searching one. Its documents are the windows of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.errors import IndexStateError, InvalidArgumentError, KoragError
from korag.plaid.tokens import KEPT_FILES

Found = list[tuple[int, float]]
"""(number, score), best first."""
Files = Mapping[str, int | None]
"""Sizes in bytes by name, as written; None for one that fast-plaid may write again when it opens an index."""
Owners = Callable[[Sequence[int]], list[int]]
"""Returns the documents that windows belong to, by their numbers."""
_WIDER = 4
"""Times more lists, or windows, that are looked at where there were too few."""
_PER_HIT = 4
"""fast-plaid decompresses one in so many of the documents that it scores in full, and returns no others."""
_PICKLED = ("embeddings.npy", "buffer.npy")
"""Vectors that fast-plaid keeps for small indexes and small updates, and reads with ``allow_pickle=True``."""
_LOCK, _REWRITTEN = ".lock", ".manifest.json"
"""Ends of names: of an empty file, and of one with times, which differ in a copy."""
_NEVER = {"start_from_scratch": 0}
"""Neither is written: an index of any size is changed in place, and added documents get centroids at once."""
_LEAST_TOKENS = 10
"""fast-plaid sets aside one in twenty, rounded, and must have one."""


def check_device(device: object) -> None:
    """Checks that torch has a device, before fast-plaid is asked to use it.

    Raises:
        InvalidArgumentError: If it is not None, the CPU or a GPU that is here.
    """
    if device is None or device == "cpu":
        return
    import torch

    gpus = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    known = ["cpu", *gpus] if gpus[1:] else ["cpu"]
    if device not in known:
        raise InvalidArgumentError(
            f"device={device!r:.80}: 여기 있는 장치여야 합니다({', '.join(known)}). None이면 fast-plaid가 고릅니다.",
            f"device={device!r:.80} must be a device that torch has here ({', '.join(known)}); None leaves it to "
            "fast-plaid.",
        )


def create_index(folder: Path, documents: Sequence[Any], *, nbits: int, device: str | None) -> int:
    """Writes the files of a new index.

    Args:
        folder: Where to; nothing of fast-plaid is in it yet.
        documents: A torch tensor for each; shape of each: (tokens, dim). At least one.
        nbits: Bits for each dimension.
        device: For torch; None leaves it to fast-plaid.

    Returns:
        The number of documents that fast-plaid has then. Those of fewer than ten tokens in all are repeated: behind
        `documents` are copies, which count as deleted.
    """
    tokens = sum(len(one) for one in documents)
    repeated = [*documents] * -(-_LEAST_TOKENS // tokens)
    with _same_seed(), _running(folder), closing(_open(folder, device)) as index:
        index.create(documents_embeddings=repeated, nbits=nbits, **_NEVER)
    return len(repeated)


def extend_index(
    source: Path, target: Path, dead: Sequence[int], documents: Sequence[Any], *, device: str | None
) -> None:
    """Writes the files of an index without some of its documents, and with new ones behind the others.

    Args:
        source: The index's; only read.
        target: Where to.
        dead: Numbers to leave out, ascending; those behind move up.
        documents: As for `create_index`; may be empty.
        device: For torch; None leaves it to fast-plaid.
    """
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns(*_PICKLED, *KEPT_FILES, f"*{_LOCK}"), dirs_exist_ok=True
    )
    with _same_seed(), _running(target), closing(_open(target, device)) as index:
        if dead:
            index.delete(list(dead))
        if documents:
            index.update(documents_embeddings=list(documents), buffer_size=1, **_NEVER)


def _open(folder: Path, device: str | None) -> Any:
    return import_module("fast_plaid.search").FastPlaid(index=str(folder), device=device)


def _same_seed() -> AbstractContextManager[None]:
    """fast-plaid's k-means sets torch's seed; it is as it was afterwards."""
    import torch

    return torch.random.fork_rng(range(torch.cuda.device_count()))


def count_documents(folder: Path) -> int:
    """Returns how many documents fast-plaid's files have; -1 if they do not say, or each another number."""
    try:
        count = int(json.loads((folder / "metadata.json").read_bytes())["num_documents"])
        lengths = sum(len(json.loads(path.read_bytes())) for path in folder.glob("doclens.*.json"))
    except (OSError, ValueError, KeyError, TypeError):
        return -1
    return count if count == lengths else -1


def list_files(folder: Path) -> Files:
    """Returns the files that an index is searched by."""
    return {
        path.name: None if path.name.endswith(_REWRITTEN) else path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.name not in KEPT_FILES and not path.name.endswith(_LOCK)
    }


def check_files(folder: Path, written: Files) -> None:
    """Checks names and sizes: fast-plaid goes on without some of its files, and finds other documents.

    Raises:
        IndexStateError: If one of the files that were written is missing or has another size.
    """
    for name, size in written.items():
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            raise damaged_index(folder, f"{name}: {error.strerror}") from error
        if size not in (None, found):
            raise damaged_index(folder, f"{name}: {found} / {size}")


class Engine:
    """An index of fast-plaid, open.

    Args:
        folder: With its files.
        size: Documents that must be in it.
        files: That must be in it.
        device: For torch; None leaves it to fast-plaid.

    Raises:
        IndexStateError: If there are others.
    """

    def __init__(self, folder: Path, size: int, files: Files, device: str | None) -> None:
        self._folder, self._size, self._files = folder, size, files
        check_files(folder, files)
        if (found := count_documents(folder)) != size:
            raise damaged_index(folder, f"num_documents={found}, {size}")
        with _running(folder, files):
            self._lists = len(np.load(folder / "centroids.npy", mmap_mode="r"))
            self._index = _open(folder, device)

    def close(self) -> None:
        """Releases its files."""
        self._index.close()

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        documents: int,
        owners: Owners,
        among: list[int] | None,
        n_ivf_probe: int,
        n_full_scores: int,
    ) -> Found:
        """Finds windows of the best documents for a query: all that score as the last of the k best, too.

        More lists are read where those asked for hold fewer than k documents.

        Args:
            query: Shape: (tokens, dim).
            k: Documents.
            documents: Documents that there are.
            owners: Returns which documents windows belong to.
            among: The only windows that count; None for all.
            n_ivf_probe: Lists to read for each token of the query.
            n_full_scores: Windows to score by all of their tokens.

        Raises:
            IndexStateError: If fast-plaid fails, or finds fewer where all were to be looked at: it reports no errors.
        """
        import torch

        available = self._size if among is None else len(among)
        wanted, lists, limit = min(k, documents), min(n_ivf_probe, self._lists), min(k + 1, available)
        scored = min(n_full_scores, _PER_HIT * self._size)  # all, however many more
        while wanted:
            with _running(self._folder, self._files):
                (found,) = self._index.search(
                    torch.tensor(query)[None],
                    top_k=limit,
                    n_ivf_probe=lists,
                    n_full_scores=max(scored, _PER_HIT * limit),
                    show_progress=False,
                    subset=None if among is None else [among],
                )
            first: dict[int, float] = {}  # best score by document
            for (_, score), owner in zip(found, owners([number for number, _ in found]), strict=True):
                first.setdefault(owner, score)
            if len(first) < wanted and len(found) < limit:
                if lists == self._lists:
                    raise damaged_index(self._folder, f"{len(found)} / {limit}")
                lists = min(_WIDER * lists, self._lists)
            elif len(found) == limit < available and (
                len(first) < wanted or list(first.values())[wanted - 1] == found[-1][1]
            ):
                limit = min(_WIDER * limit, available)
            elif len(first) < wanted:
                raise damaged_index(self._folder, f"{len(first)} / {wanted}")
            else:
                return [(int(number), float(score)) for number, score in found]
        return []


@contextmanager
def _running(folder: Path, files: Files | None = None) -> Iterator[None]:
    """Errors of fast-plaid as KoRAG's. A panic of Rust is no `Exception`.

    Args:
        folder: With its files.
        files: That must be in it; None while it is written: exceptions then are those of `korag.storage`.
    """
    try:
        yield
    except (KoragError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if files is None and isinstance(error, Exception):
            raise
        check_files(folder, files or {})
        raise IndexStateError(
            f"'{folder}'에서 fast-plaid가 실패했습니다({error}). 색인은 바뀌지 않았습니다. 메모리와 장치(device=)를 "
            "확인하고, 그래도 안 되면 PlaidIndex.build로 새 폴더에 다시 만드세요.",
            f"fast-plaid failed in '{folder}' ({error}); the index is as it was. Check the memory and device=; if "
            "that does not help, make the index again with PlaidIndex.build in a new folder.",
        ) from error


def damaged_index(folder: Path, reason: object) -> IndexStateError:
    """Returns the error for files of fast-plaid that are not what was written."""
    return IndexStateError(
        f"'{folder}'의 PLAID 파일을 쓸 수 없습니다({reason}). 손상되었거나 다른 fast-plaid로 만든 것입니다. "
        "PlaidIndex.build로 새 폴더에 다시 만드세요.",
        f"The PLAID files in '{folder}' cannot be used ({reason}): they are damaged, or another fast-plaid made them. "
        "Make the index again with PlaidIndex.build in a new folder.",
    )
