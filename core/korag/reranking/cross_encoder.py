"""Reranking with a cross-encoder: a model that reads a query and a text together and returns a score."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.cross_encoder import CrossEncoderCheckpoint, read_cross_encoder
from korag.checkpoints.fingerprint import Fingerprint, digest_folders
from korag.checkpoints.hub import resolve_model
from korag.checkpoints.layouts import wrong_family
from korag.checkpoints.settings import module_types
from korag.encoders.base import Encoder
from korag.encoders.batching import token_budget_batches
from korag.encoders.lazy import LazyModel
from korag.encoders.options import (
    Backend,
    LoadOptions,
    check_backend,
    check_length,
    check_options,
    check_settings,
    runs_on_torch,
)
from korag.encoders.progress import progress_bar
from korag.encoders.releases import check_layout, check_newest
from korag.encoders.sentence_transformers import load_cross_encoder
from korag.encoders.shared import SharedModel
from korag.encoders.tensors import as_float32
from korag.errors import InvalidArgumentError
from korag.keywords import checks_keywords
from korag.logs import logger
from korag.remote.options import is_url
from korag.reranking.base import TextReranker
from korag.reranking.pairs import chat_pairs, joined_pairs
from korag.text import normalize

_BATCH_TOKENS = 4_096
_SHORTEST = 8  # below this, special tokens may leave no room for the texts


class CrossEncoderReranker(TextReranker, LazyModel[CrossEncoderCheckpoint]):
    """Scores candidate texts for a query with a cross-encoder. Safe to use from many threads.

    >>> reranker = CrossEncoderReranker("dragonkue/bge-reranker-v2-m3-ko")
    >>> reranker.rerank("보증금은 언제 돌려받나요?", ["…", "…"], top_n=3)

    Scores are the output of the checkpoint's activation for its single logit. With a sigmoid, which most have (and
    which is the default if none is saved), they are in [0, 1] and serve as the relevance for `score_threshold`. With
    any other activation there is no relevance, and a threshold is an error.

    A language model that scores with the logit of an answer (``LogitScore`` of sentence-transformers) reads what its
    chat template makes of a pair. The template is checked first: one that does more than put messages together needs
    ``trust_remote_code=True``.

    The weights are loaded at the first use; all other mistakes are errors at construction. Rerankers of the same files
    with the same settings share the weights, and so do copies; `unload` lets go of them. Pickles contain only name and
    settings, no weights and no token.

    Args:
        model: A local folder or a Hub id.
        device: ``"cpu"``, ``"cuda"``, …; None for the fastest available.
        dtype: Precision of the computation, as for `korag.load_encoder`.
        backend: ``"torch"``, or on the CPU ``"onnx"`` (``korag[onnx]``) or ``"openvino"`` (``korag[openvino]``);
            ``"auto"`` as for `korag.load_encoder`.
        revision: Hub branch, tag or commit.
        cache_folder: Hub cache folder.
        local_files_only: No network access.
        token: Hub token; never shown and never pickled.
        trust_remote_code: Run Python files that come with the checkpoint, and chat templates of any kind.
        max_length: Maximum length of a pair in tokens, with special tokens and those of a chat template; None for the
            model's own.
        batch_tokens: Maximum tokens of a padded batch; 4,096 by default.

    Raises:
        CheckpointNotFoundError: If there is no such path or model.
        HubUnreachableError: If the model is not on this machine and the Hub cannot be reached.
        WrongFamilyError: If it is a dense, sparse or late-interaction model.
        UnknownFamilyError: If it has no classification head and no ``LogitScore``.
        CheckpointError: If it does not return exactly one score, or its chat template is not allowed.
        InvalidArgumentError: If another argument is invalid, or `backend` is ``"onnx"`` or ``"openvino"`` for a
            language model.
        MissingDependencyError: If `backend` needs a package that is not installed.
    """

    @checks_keywords
    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        device: str | None = None,
        dtype: str = "auto",
        backend: Backend = "torch",
        revision: str | None = None,
        cache_folder: str | None = None,
        local_files_only: bool = False,
        token: str | None = None,
        trust_remote_code: bool = False,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        options = LoadOptions(
            device=device,
            dtype=dtype,
            backend=backend,
            trust_remote_code=trust_remote_code,
            batch_tokens=batch_tokens,
        )
        check_options(options)
        if is_url(model):
            raise InvalidArgumentError(
                "model에 서버의 주소를 넣었습니다. korag.load_reranker('https://...', like='모델')로 불러온 것을 "
                "넣으세요.",
                "model is the address of a server; pass what korag.load_reranker('https://...', like='model') returns.",
            )
        if isinstance(model, Encoder):
            raise wrong_family(model.model_name, model.family, "cross_encoder")
        source = resolve_model(
            model,
            revision=revision,
            cache_folder=cache_folder,
            local_files_only=local_files_only,
            token=token,
            remote_code=trust_remote_code,
        )
        checkpoint = read_cross_encoder(source, remote_code=trust_remote_code)
        if checkpoint.generative and not runs_on_torch(backend):
            raise _no_engine(source.name, backend)
        check_layout(source.name, module_types(source.folder))
        if checkpoint.chat_template is not None:
            check_newest("채팅 템플릿을 쓰는 재순위 모델에는", "Rerankers with a chat template need")
        check_backend(backend)
        if source.revision is None or local_files_only:  # otherwise they are downloaded at first use
            source.check_weights()
        max_length = check_length(max_length, limit=checkpoint.max_positions, at_least=_SHORTEST)
        self._max_length = checkpoint.max_length if max_length is None else max_length
        self._fingerprint: Fingerprint | None = None
        super().__init__(checkpoint, options)

    @property
    def max_length(self) -> int | None:
        """Maximum length of a pair in tokens, special tokens included."""
        return self._max_length

    @property
    def activation(self) -> str:
        """Dotted name of the function applied to the logit."""
        return self._checkpoint.activation

    @property
    def normalized(self) -> bool:
        """True if the activation is a sigmoid, so that scores are in [0, 1]."""
        return self.activation.startswith("torch.") and self.activation.endswith(".Sigmoid")

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of everything that changes the scores. Downloads the weights, but does not load them."""
        if (fingerprint := self._fingerprint) is None:  # `unload` may forget it meanwhile
            self._fingerprint = fingerprint = Fingerprint(
                model=self.model_name,
                revision=self._checkpoint.source.revision,
                family="cross_encoder",
                weights=self._digest(),
                dim=1,
                query_prompt=self._checkpoint.prompt,
                document_prompt="",
                query_length=None,
                document_length=self.max_length,
                normalized=self.normalized,
            )
        return fingerprint

    def _digest(self) -> str:
        weights, template = digest_folders(self.weights_folder()), self._checkpoint.chat_template
        return weights if template is None else hashlib.sha256(f"{weights}\0{template}".encode()).hexdigest()

    @property
    def load_arguments(self) -> dict[str, Any]:
        """Keywords that make a reranker of the same fingerprint; JSON values."""
        source = self._checkpoint.source
        return {"model": source.portable_name, "revision": source.revision, "max_length": self.max_length}

    def _score(
        self,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        # Each distinct text is scored once, in a fixed order: batches round differently, but equal texts must tie
        # exactly, whatever the order of the candidates.
        normalized = [normalize(text) for text in texts]
        distinct = sorted(set(normalized))
        found = dict(zip(distinct, self._predict(normalize(query), distinct, show_progress).tolist(), strict=True))
        scores = np.array([found[text] for text in normalized], np.float32)
        return scores, scores if self.normalized else None

    def _predict(self, query: str, texts: list[str], show_progress: bool | None) -> NDArray[np.float32]:  # noqa: FBT001
        shared = self.shared()
        with self.running():
            return self._predict_all(shared, query, texts, show_progress)

    def _predict_all(
        self,
        shared: SharedModel,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> NDArray[np.float32]:
        checkpoint, limit = self._checkpoint, self._max_length
        make = joined_pairs if checkpoint.chat_template is None else chat_pairs
        with shared.tokenizer_lock:
            made = make(shared.model, checkpoint.prompt, query, texts, limit)
        self._report_truncation(made.lengths, is_cut=made.is_cut)
        lengths = [min(length, limit or length) for length in made.lengths]
        scores = np.empty(len(texts), np.float32)
        with progress_bar("Scoring (cross_encoder)", len(texts), show=show_progress) as bar:
            for batch in token_budget_batches(lengths, self._options.batch_tokens or _BATCH_TOKENS):
                scores[batch] = self._predict_batch(shared, [made.pairs[index] for index in batch])
                bar.update(len(batch))
        return scores

    def _predict_batch(self, shared: SharedModel, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
        import torch
        from sentence_transformers.util import batch_to_device

        model = shared.model
        with shared.tokenizer_lock:
            features = model.preprocess(pairs, prompt=self._checkpoint.prompt or None)
        with torch.inference_mode():
            logits = model(batch_to_device(features, model.device))["scores"]
            logits = logits.float()  # before the activation, since 16 bits would round many scores to the same value
            return as_float32(model.activation_fn(logits)).reshape(len(pairs))

    def _report_truncation(self, lengths: list[int], *, is_cut: bool) -> None:
        limit = self._max_length
        if limit is not None and (cut := sum(length > limit for length in lengths)):
            at_least, or_more = (" 이상", " or more") if is_cut else ("", "")
            pairs, longest, most = len(lengths), max(lengths), self._checkpoint.max_positions
            korean = (
                f"질문-문서 {pairs}쌍 중 {cut}쌍이 잘렸습니다(가장 긴 쌍 {longest:,}토큰{at_least}, 최대 {limit:,})."
            )
            english = (
                f"{cut} of {pairs} query-document pairs truncated (longest {longest:,} tokens{or_more}, limit "
                f"{limit:,})."
            )
            if most is None or limit < most:
                korean += " 더 읽게 하려면 max_length=를 늘려서 불러오세요."
                english += " Load the model with a larger max_length= to read more."
            logger.warning("%s / %s", korean, english)

    def _no_relevance(self) -> tuple[str, str] | None:
        if self.normalized:
            return None
        return (
            f"'{self.model_name}'의 활성화 함수가 {self.activation}이라서(Sigmoid가 아님) 점수의 범위가 정해져 있지 "
            "않습니다.",
            f"the activation of '{self.model_name}' is {self.activation}, not a sigmoid, so its scores have no fixed "
            "range.",
        )

    def _forget(self) -> None:
        super()._forget()
        self._fingerprint = None  # the next weights may be others, if the folder has been written again

    def _load_settings(self) -> Hashable:
        return self._max_length, self._checkpoint.chat_template

    def _find_obstacle(self) -> str | None:
        if not self._checkpoint.generative:
            return None
        return "생성 모델은 torch로 계산합니다 / torch computes generative models"

    def _load(self, folder: Path) -> Any:
        return load_cross_encoder(
            folder,
            max_length=self._max_length,
            chat_template=self._checkpoint.chat_template,
            options=self._options,
        )

    def _find_mismatch(self, model: Any) -> str | None:
        from sentence_transformers.util import fullname

        if model.num_labels != 1:
            return f"its settings say one label, its weights {model.num_labels}"
        loaded = fullname(model.activation_fn)
        if loaded.rpartition(".")[2] != self.activation.rpartition(".")[2]:
            return f"its settings say the activation {self.activation}, but {loaded} was loaded"
        if self._checkpoint.chat_template is None:
            return None
        from korag.checkpoints.chat_template import find_long_token  # imports jinja2

        return find_long_token(model.tokenizer.special_tokens_map) or _find_lost_role(model)

    def __repr__(self) -> str:
        options = self._options
        return (
            f"{type(self).__name__}({self.model_name!r}, max_length={self.max_length}, "
            f"activation={self.activation.rpartition('.')[2]!r}, device={options.device or 'auto'!r}, "
            f"dtype={self._dtype_label()!r}, backend={self._backend_label()!r})"
        )


def _no_engine(name: str, backend: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"backend={backend!r}: '{name}'은(는) 생성 모델로 점수를 내므로 backend='torch'로만 쓸 수 있습니다. 내보낸 "
        "그래프는 모든 토큰의 로짓을 계산해서 메모리가 훨씬 많이 듭니다.",
        f"backend={backend!r}: '{name}' scores with a generative model, for which only backend='torch' is supported; "
        "an exported graph would compute the logits of all tokens, which needs far more memory.",
    )


def _find_lost_role(model: Any) -> str | None:
    """Describes why a loaded model's chat template is none for pairs; None if it is one."""
    transformer = model[0]
    if transformer.processor is not transformer.tokenizer:
        return "its chat template is that of a model of texts and images"
    settings = transformer.processing_kwargs.get("chat_template", {})
    reason = transformer.input_formatter.pair_roles_failure(
        {key: value for key, value in settings.items() if key != "restore_suffix"}
    )
    return None if reason is None else f"its chat template does not make a text of a query and a document: {reason}"


def cross_encoder_with(model: CrossEncoderReranker | str | os.PathLike[str], **settings: Any) -> CrossEncoderReranker:
    """Loads a cross-encoder with settings, or returns a loaded one that has them.

    Args:
        model: A loaded one, a name, or a path.
        settings: Keywords of `CrossEncoderReranker`; None counts as not given.

    Raises:
        WrongFamilyError: If it is a dense, sparse or late-interaction model.
        InvalidArgumentError: If a loaded one was loaded with another value of a setting.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if not isinstance(model, CrossEncoderReranker):
        return CrossEncoderReranker(model, **given)
    check_settings(model.load_arguments | dataclasses.asdict(model.options), given, loader="CrossEncoderReranker")
    return model
