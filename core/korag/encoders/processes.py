"""Encoding in several processes, one a device: several GPUs, or the cores of a CPU."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag.errors import InvalidArgumentError, WorkerError

if TYPE_CHECKING:
    from korag.encoders.base import Encoder, Task

_WAITING = 4
"""Batches a process may have waiting: enough that none is ever idle, few enough to keep memory bounded."""

_encoder: Any = None
"""In a worker process: its own encoder."""


def check_devices(devices: Sequence[str], *, backend: str) -> list[str]:
    """Returns the devices as a list.

    Raises:
        InvalidArgumentError: If it is a single string, empty, or holds something that is not a string; or anything but
            ``"cpu"`` where the backend runs on the CPU alone.
    """
    if isinstance(devices, str) or not devices or not all(isinstance(device, str) for device in devices):
        raise InvalidArgumentError(
            f"devices={devices!r:.80}은(는) 장치 이름의 리스트가 아닙니다. 프로세스 하나에 하나씩 넣으세요: "
            "['cuda:0', 'cuda:1'] 또는 ['cpu', 'cpu'].",
            f"devices={devices!r:.80} is no list of device names; give one for each process: ['cuda:0', 'cuda:1'] or "
            "['cpu', 'cpu'].",
        )
    if backend != "torch" and (others := sorted({device for device in devices if device != "cpu"})):
        raise InvalidArgumentError(
            f"backend={backend!r}은(는) CPU에서만 돕니다. devices의 {others}을(를) 'cpu'로 바꾸거나 backend='torch'로 "
            "여세요.",
            f"backend={backend!r} runs on the CPU only; make {others} of devices 'cpu', or load with backend='torch'.",
        )
    return list(devices)


class WorkerPool:
    """WorkerPool with an encoder each. They start with the first batch and end with `close`.

    Args:
        encoder: The encoder; each process loads its own from the same files.
        folder: Where its weights are.
        devices: The device of each process.
    """

    def __init__(self, encoder: Encoder[Any], folder: Path, devices: Sequence[str]) -> None:
        context = get_context("spawn")  # a forked process would inherit locks that other threads hold
        places = context.Queue()
        for device in devices:
            places.put(device)
        on_cpu = sum(device.startswith("cpu") for device in devices)
        threads = max(1, (os.cpu_count() or 1) // on_cpu) if on_cpu else None
        self._limit = _WAITING * len(devices)
        self._executor = ProcessPoolExecutor(
            len(devices), mp_context=context, initializer=_start, initargs=(encoder, folder, places, threads)
        )

    def encode(self, batches: Sequence[Sequence[str]], task: Task) -> Iterator[list[Any]]:
        """Encodes batches of texts that are ready to be tokenized.

        Yields:
            The rows of each batch, in order.

        Raises:
            WorkerError: If a process ended.
        """
        waiting: deque[Future[list[Any]]] = deque()
        try:
            for batch in batches:
                waiting.append(self._executor.submit(_encode, list(batch), task))
                if len(waiting) == self._limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "인코딩 프로세스가 끝나 버렸습니다. 메모리가 모자라지 않은지, 장치가 있는지 보고, 스크립트라면 실행할 "
                "코드를 if __name__ == '__main__': 아래에 두세요.",
                "An encoding process ended. See that memory is enough and that the devices exist; in a script, put "
                "what it runs under if __name__ == '__main__':.",
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Ends the processes."""
        self._executor.shutdown(cancel_futures=True)


def _start(encoder: Encoder[Any], folder: Path, places: Any, threads: int | None) -> None:
    global _encoder
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    encoder._options = replace(encoder._options, device=places.get())
    encoder._snapshot = folder
    _encoder = encoder


def _encode(texts: list[str], task: Task) -> list[Any]:
    model = _encoder._loaded()
    rows: list[Any] = _encoder._compute(model, _encoder._tokenize(model, texts, task), task)
    return rows
