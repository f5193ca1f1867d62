"""Cross-encoders on a server, compared with a local copy first."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint
from korag.encoders.precision import PROBE_TEXTS
from korag.encoders.progress import progress_bar
from korag.errors import InvalidArgumentError, ServedModelError
from korag.forking import Lock
from korag.remote import loop
from korag.remote.options import Address, ServerOptions
from korag.remote.requests import Requests
from korag.remote.shapes.find import find_reranking
from korag.remote.transport import Transport
from korag.reranking.cross_encoder import CrossEncoderReranker

_MOST, _OF_SCORE = 0.1, 0.02
"""Difference of logits that 16 bits explain, and how it grows with them."""
_LEAST, _OF_SPREAD = 0.01, 0.1
"""Where a model's logits are close to each other, the difference may only be this part of their range."""
_ROUNDED = 0.002
"""Difference that 16 bits make of a score close to 1; close to 0 they are exact enough."""
_QUERIES = (
    PROBE_TEXTS[0],
    PROBE_TEXTS[2],
    "임대차 계약의 갱신은 언제까지 요구해야 하나요?",
    "예방 주사를 맞고 아플 때에는 어떻게 하나요?",
)
"""Each has texts that answer it, touch it, and have nothing to do with it."""


class RemoteReranker(CrossEncoderReranker):
    """A cross-encoder whose scores come from a server. Safe to use from many threads.

    Pairs are cut by the server. Pickles hold the known scores but no key; the server is asked for them again at first
    use. Made by `korag.load_reranker`.
    """

    _server: ServerOptions
    _url: Address
    _own_fingerprint: Fingerprint
    _known: list[NDArray[np.float32]]

    @classmethod
    def like(cls, reranker: CrossEncoderReranker, url: str, server: ServerOptions) -> Self:
        """Makes a reranker of a local one, after comparing the server's scores with its own.

        Args:
            reranker: The local one, with its weights.
            url: Address of the server.
            server: How to ask it.

        Raises:
            InvalidArgumentError: If the local one has a `max_length` other than its checkpoint's.
            ServedModelError: If the server's scores are others.
            ServerError: If it does not answer.
        """
        find_reranking(url, server)
        server.key()
        if (given := reranker.max_length) != (own := reranker.checkpoint.max_length):
            raise InvalidArgumentError(
                f"max_length={given}: 서버의 크로스 인코더가 읽는 길이는 서버가 정합니다. max_length를 빼고(모델의 값 "
                f"{own}) 서버의 설정에서 정하세요.",
                f"max_length={given}: a server cuts the pairs of its cross-encoder itself. Leave max_length out (the "
                f"model's own is {own}), and set it on the server.",
            )
        made = cls.__new__(cls)
        known = [reranker._score(query, list(PROBE_TEXTS), show_progress=False)[0] for query in _QUERIES]
        state = {"_url": Address(url), "_server": server, "_own_fingerprint": reranker.fingerprint, "_known": known}
        made.__setstate__(reranker.__getstate__() | state)
        made.connect()
        return made

    def _reset(self) -> None:
        super()._reset()
        self._transport: Transport | None = None
        self._verified = False
        self._connect_lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in ("_transport", "_verified", "_connect_lock"):
            del state[name]
        return state

    @property
    def url(self) -> str:
        """Address of the server, without what follows a ``?``."""
        return self._url.shown

    @property
    def fingerprint(self) -> Fingerprint:
        """That of the local model, whose scores the server's have been compared with."""
        return self._own_fingerprint

    def connect(self) -> None:
        """Asks the server for the known scores, unless it has returned them before.

        Raises:
            ServedModelError: If it returns others.
            ServerError: If it does not answer.
        """
        if self._verified:
            return
        with self._connect_lock:
            if self._verified:
                return
            for query, known in zip(_QUERIES, self._known, strict=True):
                self._check(known, self._ask(query, list(PROBE_TEXTS), show_progress=False))
            self._verified = True

    def _check(self, known: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        own, logits = (_logit(known), _logit(found)) if self.normalized else (known, found)
        if _agree(own, logits, rounded=self.normalized):
            return
        korean, english = "서버의 모델을 like와 맞추세요", "let it serve the model of like="
        if self.normalized and _agree(own, found, rounded=False):
            korean = "서버가 시그모이드 없이 로짓을 돌려줍니다. 시그모이드를 켜세요"
            english = "it returns logits without the sigmoid; switch that on"
        elif not self.normalized and _agree(own, _logit(found), rounded=True):
            korean = "이 모델의 점수는 로짓인데 서버가 시그모이드를 씌웁니다. 시그모이드를 끄세요"
            english = "the model's scores are logits, and the server puts a sigmoid on them; switch that off"
        raise ServedModelError(
            f"{self.url} 서버의 점수가 '{self.model_name}'의 것이 아닙니다({_listed(found)}, 로컬 {_listed(known)}): "
            f"{korean}.",
            f"The scores of the server {self.url} are not those of '{self.model_name}' ({_listed(found)}, locally "
            f"{_listed(known)}): {english}.",
        )

    def _predict(self, query: str, texts: list[str], show_progress: bool | None) -> NDArray[np.float32]:  # noqa: FBT001
        self.connect()
        return self._ask(query, texts, show_progress)

    def _ask(self, query: str, texts: list[str], show_progress: bool | None) -> NDArray[np.float32]:  # noqa: FBT001
        address, shape = find_reranking(self._url.reveal(), self._server)
        if (transport := self._transport) is None:
            self._transport = transport = Transport(address, self._server)
        checkpoint = self.checkpoint
        prompt = checkpoint.prompt if checkpoint.chat_template is None else ""
        model = self._server.model or (self.model_name if checkpoint.source.revision else None)
        requests = Requests(
            transport,
            body=partial(shape.body, prompt + query, model=model, raw=not self.normalized),
            read=lambda answer, count: shape.scores(answer, count).tolist(),
            batch_size=self._server.batch_size,
        )
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        with progress_bar("Scoring (cross_encoder)", len(texts), show=show_progress) as bar:
            return np.array(loop.run(requests.rows(texts, order, bar.update)), np.float32)

    def load(self) -> Any:
        """The weights are on the server.

        Raises:
            InvalidArgumentError: Always.
        """
        raise InvalidArgumentError(
            f"이 모델의 가중치는 {self.url} 서버에 있습니다. 로컬 모델을 쓰세요: "
            f"CrossEncoderReranker({self.model_name!r}).",
            f"The weights of this model are on the server {self.url}; use the local model: "
            f"CrossEncoderReranker({self.model_name!r}).",
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, like={self.model_name!r})"


def _logit(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    inside = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside / (1 - inside)))


def _sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50))))


def _agree(own: NDArray[Any], other: NDArray[Any], *, rounded: bool) -> bool:
    """Compares logits, since scores of many pairs are all but 0 whatever the model.

    Args:
        own: Of the local model.
        other: The server's.
        rounded: They are made of scores, of which 16 bits keep few digits close to 1.
    """
    most = np.minimum(_MOST + _OF_SCORE * np.abs(own), max(_LEAST, _OF_SPREAD * float(np.ptp(own))))
    close = np.abs(own - other) <= most
    if rounded:
        one, two = _sigmoid(own), _sigmoid(other)
        close |= (np.minimum(one, two) > 0.9) & (np.abs(one - two) <= _ROUNDED)
    return bool(close.all())


def _listed(scores: NDArray[np.float32]) -> str:
    return ", ".join(f"{score:.3f}" for score in scores[:3])
