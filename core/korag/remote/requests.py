"""Many inputs in requests of a few, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from korag.encoders.batching import batched
from korag.errors import ServerError
from korag.remote import loop
from korag.remote.shapes.base import AnswerError
from korag.remote.transport import TooLargeError, Transport


class Requests:
    """Asks a server for a row per input. Safe to use from many threads.

    Args:
        transport: To the server.
        body: Makes the body of a request of inputs.
        read: Makes a row per input of an answer and their number.
        batch_size: Most inputs of a request.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        body: Callable[[Sequence[Any]], Any],
        read: Callable[[Any, int], Sequence[Any]],
        batch_size: int,
    ) -> None:
        self.transport = transport
        self._body, self._read, self._batch_size = body, read, batch_size

    async def rows(self, inputs: Sequence[Any], order: Sequence[int], on_batch: Callable[[int], object]) -> list[Any]:
        """Returns a row per input.

        Args:
            inputs: The inputs.
            order: Their indices in the order in which they are sent: similar lengths together.
            on_batch: Called after every request with its number of inputs.

        Raises:
            ServerError: If the server does not answer, or with something else.
        """
        found: list[Any] = [None] * len(inputs)

        batches = iter(batched(order, self._batch_size))

        async def ask() -> None:
            for batch in batches:
                for index, row in zip(batch, await self._ask([inputs[index] for index in batch]), strict=True):
                    found[index] = row
                on_batch(len(batch))

        await loop.all_of(ask() for _ in range(self.transport.concurrency))
        return found

    async def _ask(self, inputs: list[Any]) -> list[Any]:
        place = self.transport.place
        try:
            return list(self._read(await self.transport.post(self._body(inputs)), len(inputs)))
        except AnswerError as error:
            raise ServerError(
                f"{place} 서버의 응답이 API와 다릅니다({error.korean}). 주소와 ServerOptions(api=...)를 확인하세요.",
                f"The server {place} gave an answer that its API does not have ({error.english}). Check the address "
                "and ServerOptions(api=...).",
            ) from error
        except TooLargeError:
            if len(inputs) > 1:
                half = len(inputs) // 2
                return await self._ask(inputs[:half]) + await self._ask(inputs[half:])
            raise ServerError(
                f"{place} 서버가 텍스트 하나도 너무 크다고 거부했습니다(HTTP 413). max_length=를 줄이거나 서버의 "
                "한도를 늘리세요.",
                f"The server {place} refused a single text as too large (HTTP 413). Pass a smaller max_length=, or "
                "raise the server's limit.",
            ) from None
