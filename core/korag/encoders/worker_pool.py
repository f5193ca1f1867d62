"""Encoding in several processes: one per GPU, or several on the CPU."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, Self

from korag.encoders.base import Task
from korag.encoders.options import runs_on_torch
from korag.errors import InvalidArgumentError, WorkerError

_PENDING_PER_WORKER = 4
"""Batches in flight per process: enough to keep each one busy, few enough to bound memory."""


class BatchEncoder(Protocol):
    """An encoder as a worker process uses it. Must be picklable."""

    def on_device(self, device: str, *, folder: Path) -> Self:
        """Returns an encoder of the same model on `device`, with its weights in `folder`."""
        ...

    def encode_batch(self, texts: Sequence[str], task: Task) -> list[Any]:
        """Encodes normalized texts as one batch; one row per text."""
        ...


_encoder: BatchEncoder | None = None
"""The encoder of this worker process."""


def check_devices(devices: Sequence[str], *, backend: str) -> list[str]:
    """Returns the devices as a list.

    Raises:
        InvalidArgumentError: If `devices` is a single string, empty, or contains a non-string; or anything but
            ``"cpu"`` for a backend that runs on the CPU only.
    """
    if isinstance(devices, str) or not devices or not all(isinstance(device, str) for device in devices):
        raise InvalidArgumentError(
            f"devices={devices!r:.80}은(는) 장치 이름의 리스트가 아닙니다. 프로세스마다 하나씩 넣으세요: "
            "['cuda:0', 'cuda:1'] 또는 ['cpu', 'cpu'].",
            f"devices={devices!r:.80} is not a list of device names; pass one per process: ['cuda:0', 'cuda:1'] or "
            "['cpu', 'cpu'].",
        )
    if not runs_on_torch(backend) and (others := sorted({device for device in devices if device != "cpu"})):
        raise InvalidArgumentError(
            f"backend={backend!r}은(는) CPU에서만 실행됩니다. devices의 {others}을(를) 'cpu'로 바꾸거나 "
            "backend='torch'로 불러오세요.",
            f"backend={backend!r} runs on the CPU only; replace {others} in devices with 'cpu', or load with "
            "backend='torch'.",
        )
    return list(devices)


class WorkerPool:
    """Worker processes, each with its own copy of an encoder. Started by the first batch, stopped by `close`.

    Args:
        encoder: The encoder; every process loads it from the same files.
        folder: Folder of its weights.
        devices: Device of each process.
    """

    def __init__(self, encoder: BatchEncoder, folder: Path, devices: Sequence[str]) -> None:
        context = get_context("spawn")  # a forked process would inherit locks held by other threads
        queue = context.Queue()
        for device in devices:
            queue.put(device)
        on_cpu = sum(device.startswith("cpu") for device in devices)
        threads = max(1, (os.cpu_count() or 1) // on_cpu) if on_cpu else None
        self._pid = os.getpid()
        self._max_pending = _PENDING_PER_WORKER * len(devices)
        self._executor = ProcessPoolExecutor(
            len(devices), mp_context=context, initializer=_start, initargs=(encoder, folder, queue, threads)
        )

    @property
    def is_here(self) -> bool:
        """False in a forked child, which has none of the threads that talk to the processes."""
        return self._pid == os.getpid()

    def encode(self, batches: Sequence[Sequence[str]], task: Task) -> Iterator[list[Any]]:
        """Encodes batches of prepared texts.

        Yields:
            The rows of each batch, in order.

        Raises:
            WorkerError: If a process died.
        """
        pending: deque[Future[list[Any]]] = deque()
        try:
            for batch in batches:
                pending.append(self._executor.submit(_encode, list(batch), task))
                if len(pending) == self._max_pending:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "인코딩 프로세스가 비정상 종료되었습니다. 메모리가 충분한지, 지정한 장치가 있는지 확인하세요. "
                "스크립트라면 실행할 코드를 if __name__ == '__main__': 아래에 두세요.",
                "An encoding process died. Check that there is enough memory and that the devices exist; in a script, "
                "put the code to run under if __name__ == '__main__':.",
            ) from error
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Stops the processes."""
        if self.is_here:
            self._executor.shutdown(cancel_futures=True)


def _start(encoder: BatchEncoder, folder: Path, devices: Any, threads: int | None) -> None:
    global _encoder
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    _encoder = encoder.on_device(devices.get(), folder=folder)


def _encode(texts: list[str], task: Task) -> list[Any]:
    assert _encoder is not None  # noqa: S101 (set by `_start`; for the type checker)
    return _encoder.encode_batch(texts, task)
