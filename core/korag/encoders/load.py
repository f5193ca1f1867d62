"""`load_encoder`: loads a model by name or path into the encoder of its family."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

from korag._optional import check
from korag.checkpoints.adapters import check_fits
from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.checkpoint import Checkpoint, read_checkpoint
from korag.checkpoints.doubts import warn_of_missing_pooling, warn_of_missing_prompts
from korag.checkpoints.hub import ModelFiles, resolve_model
from korag.checkpoints.layouts import cross_encoder_error, wrong_family
from korag.checkpoints.linear_heads import head_files
from korag.checkpoints.presets import Family
from korag.checkpoints.settings import find_adapter, read_json
from korag.checks import check_choice, check_count
from korag.encoders.base import Encoder
from korag.encoders.dense import DenseEncoder
from korag.encoders.lazy import LazyModel
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.options import LoadOptions, PoolingMode, check_backend, check_length, check_options, check_settings
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.sparse import SparseEncoder
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    HubUnreachableError,
    InvalidArgumentError,
    MissingBaseError,
    UnknownDimError,
)
from korag.storage import find_path

_ENCODERS: dict[Family, type[PretrainedEncoder[Any]]] = {
    "dense": DenseEncoder,
    "sparse": SparseEncoder,
    "late_interaction": LateInteractionEncoder,
}
_MIN_LENGTH = 3
"""[CLS], one token and [SEP]; below that, tokenizers do not truncate at all."""


def load_encoder(
    model: str | os.PathLike[str],
    *,
    family: Family | None = None,
    dim: int | None = None,
    pooling: PoolingMode | None = None,
    device: str | None = None,
    dtype: str = "auto",
    backend: Literal["torch", "onnx", "openvino"] = "torch",
    revision: str | None = None,
    cache_folder: str | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    trust_remote_code: bool = False,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    max_length: int | None = None,
    query_length: int | None = None,
    batch_tokens: int | None = None,
    query_cache: int = 0,
    adapter: str | os.PathLike[str] | None = None,
) -> DenseEncoder | SparseEncoder | LateInteractionEncoder:
    """Loads a retrieval model by name or path; its family is detected from its files.

    Anything that can be checked without the weights is checked here; the weights are loaded by the first encoding.

    Args:
        model: A local folder, the name of a bundled model (``"mini-colbert"``, ``"mini-splade"``, ``"mini-dense"``), or
            a Hub id.
        family: ``"dense"``, ``"sparse"`` or ``"late_interaction"`` to accept that family only; None for any. Needed for
            a folder with several, such as BGE-M3: a dense model with ``sparse_linear.pt`` and ``colbert_linear.pt``
            beside it. All its families share one backbone in memory.
        dim: Size of the vectors of a Matryoshka model; None for its own. Of late-interaction models with heads, one of
            the heads'; of dense models, any smaller one: the first `dim` numbers, scaled to unit length if the model's
            are. A model that was not trained for it loses quality.
        pooling: ``"cls"``, ``"mean"``, ``"max"`` or ``"lasttoken"``: the way to make one vector of a text's tokens, for
            a dense model none of whose files says it (no ``modules.json``). None for sentence-transformers' choice,
            which is logged: the mean, or the last token of causal models.
        device: ``"cpu"``, ``"cuda"``, …; None for the best available.
        dtype: Compute precision: ``"float32"``; with torch also ``"bfloat16"`` and ``"float16"``; with OpenVINO
            ``"bfloat16"`` and ``"int8"``; with ONNX ``"int8"``. ``"auto"`` is the fastest of 16 and 32 bits on this
            machine that keeps vectors within a cosine of .999 of float32 (see `LazyModel.dtype` after loading). The
            returned vectors are float32 in any case.
        backend: ``"torch"``, or on the CPU ``"onnx"`` (``korag[onnx]``) or ``"openvino"`` (``korag[openvino]``).
        revision: Hub branch, tag or commit.
        cache_folder: Hub cache folder.
        local_files_only: Do not access the network.
        token: Hub token; never shown and never pickled.
        trust_remote_code: Run Python files that come with the checkpoint.
        query_prompt: Prepended to every query instead of the checkpoint's own prompt; ``""`` for none.
        document_prompt: Prepended to every document instead of the checkpoint's own prompt; ``""`` for none.
        max_length: Longest document in tokens (longest text, for dense and sparse models).
        query_length: Longest query in tokens, prompt and special tokens included; what exceeds it is not read. None for
            the checkpoint's own, which for dense and sparse models is `max_length`. ColBERT models with query expansion
            fill shorter queries up to it with mask tokens. Like `max_length`, it is part of the fingerprint.
        batch_tokens: Maximum tokens per padded batch; None for 4,096, or 2,048 for sparse models.
        query_cache: Number of recent queries whose vectors are cached; 0 for none.
        adapter: Folder or Hub id of a PEFT adapter to apply to `model`. `model` can also be an adapter itself; its base
            is then the one named in its ``adapter_config.json``.

    Returns:
        The encoder for the model's family.

    Raises:
        CheckpointNotFoundError: If there is no such path or model.
        HubUnreachableError: If the model is not cached and the Hub cannot be reached.
        UnknownFamilyError: If `family` is not given, and the files show no family or several.
        WrongFamilyError: If the model is of another family than `family`.
        UnknownDimError: If the model has no such dimension; a dense model has none beyond its own.
        MissingHeadsError: If its Matryoshka heads are missing or unreadable.
        MissingBaseError: If the base of an adapter cannot be found.
        InvalidArgumentError: If another argument is invalid.
        MissingDependencyError: If `backend` or the adapter requires a package that is not installed.
    """
    if isinstance(model, LazyModel) and not isinstance(model, Encoder):
        raise cross_encoder_error(model.model_name)
    check_choice("family", family, (None, *get_args(Family)))
    check_choice("pooling", pooling, (None, *get_args(PoolingMode)))
    max_length = check_length(max_length, at_least=_MIN_LENGTH)
    query_length = check_length(query_length, name="query_length", at_least=_MIN_LENGTH)
    _check_prompts(query_prompt=query_prompt, document_prompt=document_prompt)
    options = LoadOptions(
        device=device,
        dtype=dtype,
        backend=backend,
        trust_remote_code=trust_remote_code,
        batch_tokens=batch_tokens,
        query_cache=query_cache,
    )
    check_options(options)
    hub = {
        "cache_folder": cache_folder,
        "local_files_only": local_files_only,
        "token": token,
        "remote_code": trust_remote_code,
    }
    heads = head_files(family) if adapter is None else ()
    source = resolve_model(model, revision=revision, heads=heads, **hub)  # type: ignore[arg-type]
    base: Checkpoint | None = None
    if adapter is not None:
        base, source = read_checkpoint(source, family="dense"), resolve_model(adapter, **hub)  # type: ignore[arg-type]
        if find_adapter(source.folder) is None:
            raise CheckpointNotFoundError(
                f"adapter='{adapter}' 폴더에 adapter_config.json이 없습니다.",
                f"adapter='{adapter}' has no adapter_config.json.",
            )
    elif (folder := find_adapter(source.folder)) is not None:
        base = _find_base(source, read_json(folder / "adapter_config.json"), hub)
    checkpoint = read_checkpoint(source, family=family, base=base)
    if base is not None:
        _check_adapter(checkpoint, base)
        check("peft", extra="peft")
        check_fits(source.folder, base.source.folder)
    _check_pooling(checkpoint, pooling)
    check_backend(backend)
    for files in (source, *([base.source] if base is not None else [])):
        if files.revision is None or local_files_only:  # otherwise the first encoding downloads them
            files.check_weights()
    dim = checkpoint.dim if dim is None else _check_dim(checkpoint, dim)
    check_length(max_length, limit=checkpoint.max_positions, at_least=_MIN_LENGTH)
    if query_length is None:
        _check_length_of_both(checkpoint, max_length)
    _check_query_length(checkpoint, query_length, query_prompt)
    if query_prompt is None and document_prompt is None:
        warn_of_missing_prompts(checkpoint)
    if pooling is None:
        warn_of_missing_pooling(checkpoint)
    return _ENCODERS[checkpoint.family](  # type: ignore[return-value]  # one of the three
        checkpoint,
        dim=dim,
        query_prompt=checkpoint.query_prompt if query_prompt is None else query_prompt,
        document_prompt=checkpoint.document_prompt if document_prompt is None else document_prompt,
        max_length=checkpoint.document_length if max_length is None else max_length,
        query_length=query_length,
        options=options,
        pooling=pooling,
    )


def as_encoder(
    model: Encoder[Any] | str | os.PathLike[str], *, family: Family | None = None, **settings: Any
) -> Encoder[Any]:
    """Loads a model by name or path; returns an encoder as it is.

    Args:
        model: An encoder, a name, or a path.
        family: The only family the caller can use; None for any.
        settings: Keywords of `load_encoder`; None counts as not given.

    Raises:
        WrongFamilyError: If the model is of another family.
        InvalidArgumentError: If an encoder was passed that was loaded with another value of a setting.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if not isinstance(model, Encoder):
        return load_encoder(model, family=family, **given)
    if family is not None and model.family != family:
        raise wrong_family(model.model_name, model.family, family)
    loaded = {"adapter": None, "pooling": None} | model.load_arguments
    if isinstance(model, PretrainedEncoder):
        loaded |= {"query_length": model.query_length, "pooling": model.pooling} | dataclasses.asdict(model.options)
    check_settings(loaded, given, loader="load_encoder")
    return model


def as_encoders(
    models: Sequence[Encoder[Any] | str | os.PathLike[str]] | None, *, family: Family | None = None, **settings: Any
) -> list[Encoder[Any]] | None:
    """Loads models by name or path, each as `as_encoder` does; None stays None.

    Args:
        models: Encoders, names or paths; None where a collection names them.
        family: The only family the caller can use; None for any.
        settings: Keywords of `load_encoder`; None counts as not given.

    Raises:
        WrongFamilyError: If a model is of another family.
        InvalidArgumentError: If there are settings, but no model that they are for, or one loaded with other ones.
    """
    if models is not None:
        return [as_encoder(model, family=family, **settings) for model in models]
    for name, value in settings.items():
        if value is not None:
            raise InvalidArgumentError(
                f"{name}={value!r:.80}: 모델을 함께 지정할 때만 쓸 수 있습니다. 모델을 지정하거나 {name}을(를) 빼세요. "
                "빼면 색인할 때 쓴 값으로 불러옵니다.",
                f"{name}={value!r:.80} is only for a model that is named as well. Name the model, or omit {name} to "
                "load it with the value that it was indexed with.",
            )
    return None


def _check_prompts(**prompts: object) -> None:
    for name, prompt in prompts.items():
        if not isinstance(prompt, str | None):
            raise InvalidArgumentError(
                f"{name}={prompt!r:.80}: 문자열이어야 합니다. 프롬프트 없이 쓰려면 ''을 넣으세요.",
                f"{name}={prompt!r:.80} is invalid; it must be a string, '' for no prompt.",
            )


def _find_base(source: ModelFiles, settings: dict[str, Any], hub: dict[str, Any]) -> Checkpoint:
    name = settings.get("base_model_name_or_path") or ""
    local = find_path(source.folder / name) if name else None  # where `PretrainedEncoder.save` puts it
    base = local if local and local.is_dir() else name
    is_here = name in shipped_models() or (bool(name) and find_path(base) is not None)
    try:
        found = resolve_model(base, revision=None if is_here else settings.get("revision"), **hub)
    except (CheckpointNotFoundError, HubUnreachableError) as error:
        raise MissingBaseError(
            f"어댑터 '{source.name}'의 베이스 모델 '{name}'을(를) 찾을 수 없습니다. 베이스 모델이 로컬에 있다면 "
            f"load_encoder('베이스 폴더', adapter='{source.name}')로 불러오세요.",
            f"The base model '{name}' of the adapter '{source.name}' cannot be found. If you have it in a folder: "
            f"load_encoder('base folder', adapter='{source.name}').",
        ) from error
    return read_checkpoint(found, family="dense")


def _check_adapter(checkpoint: Checkpoint, base: Checkpoint) -> None:
    """Checks that an adapter is one of a dense model, and directly of its base.

    Otherwise, sentence-transformers would look for the path or Hub id in ``adapter_config.json`` itself.
    """
    if checkpoint.family == "dense" and find_adapter(base.source.folder) is None:
        return
    raise CheckpointError(
        f"'{checkpoint.source.name}'은(는) dense 모델의 어댑터가 아니거나 다른 어댑터의 어댑터입니다. 베이스에 병합해 "
        "저장한 폴더를 쓰세요(peft의 merge_and_unload).",
        f"'{checkpoint.source.name}' is not an adapter of a dense model, or one of another adapter. Merge it into its "
        "base (peft's merge_and_unload), save that, and load the saved folder.",
    )


def _check_length_of_both(checkpoint: Checkpoint, max_length: int | None) -> None:
    """Checks that a Router's backbone for queries can have `max_length` too, where it is the length of both."""
    limit = checkpoint.query_positions
    is_of_both = checkpoint.family != "late_interaction" and checkpoint.query_length == checkpoint.document_length
    if is_of_both and max_length is not None and limit is not None and max_length > limit:
        raise InvalidArgumentError(
            f"max_length={max_length}: 이 모델은 질의를 {limit}토큰까지만 읽을 수 있습니다. {limit} 이하의 "
            "query_length=를 함께 지정하세요.",
            f"max_length={max_length} is also the length of queries, of which this model can read {limit} tokens at "
            f"most. Pass a query_length= of at most {limit} as well.",
        )


def _check_query_length(checkpoint: Checkpoint, query_length: int | None, prompt: str | None) -> None:
    """Checks that a length has room for a token besides the prompt, and that the model can have it."""
    at_least = _MIN_LENGTH + bool(checkpoint.query_prompt if prompt is None else prompt)
    check_length(query_length, name="query_length", limit=checkpoint.query_positions, at_least=at_least)
    if query_length is not None and query_length < checkpoint.least_query_length:
        raise InvalidArgumentError(
            f"query_length={query_length}: 이 모델은 모든 질의를 {checkpoint.least_query_length}토큰까지 채웁니다. "
            "그보다 짧을 수 없습니다.",
            f"query_length={query_length} is invalid: this model fills every query up to "
            f"{checkpoint.least_query_length} tokens, so it cannot be shorter.",
        )


def _check_pooling(checkpoint: Checkpoint, pooling: PoolingMode | None) -> None:
    name = checkpoint.source.name
    if pooling is not None and checkpoint.bare_pooling is None:
        raise InvalidArgumentError(
            f"pooling={pooling!r}: '{name}'에는 쓸 수 없습니다. pooling=은 풀링 방식이 파일에 없는(modules.json이 "
            f"없는) dense 모델에만 넣습니다. 이 {checkpoint.family} 모델은 스스로 정하니 pooling=을 빼세요.",
            f"pooling={pooling!r} is invalid for '{name}': it is for dense models whose files do not say the pooling "
            f"(no modules.json). This {checkpoint.family} model says itself how its vectors are made; leave out "
            "pooling=.",
        )
    if pooling is None and checkpoint.bare_pooling is not None and checkpoint.base is not None:
        choices = ", ".join(map(repr, get_args(PoolingMode)))
        raise CheckpointError(
            f"어댑터 '{name}'에도 베이스 '{checkpoint.base.source.name}'에도 modules.json이 없어서 풀링 방식을 알 수 "
            f"없습니다. 어댑터를 학습한 방식을 pooling=으로 지정하세요: {choices}.",
            f"Neither the adapter '{name}' nor its base '{checkpoint.base.source.name}' has a modules.json, which says "
            f"the pooling. Pass the one that the adapter was trained with as pooling=: {choices}.",
        )


def _check_dim(checkpoint: Checkpoint, dim: int) -> int:
    name = checkpoint.source.name
    if not checkpoint.dims:  # compared with the weights when they are loaded
        check_count("dim", dim, at_least=1)
        return int(dim)
    largest = max(checkpoint.dims)
    is_whole = isinstance(dim, numbers.Integral) and not isinstance(dim, bool)
    if checkpoint.family == "dense":
        if is_whole and 0 < dim <= largest:
            return int(dim)
        raise UnknownDimError(
            f"dim={dim!r:.80}: '{name}'의 벡터는 {largest}차원입니다. 1 이상 {largest} 이하의 정수를 넣으세요.",
            f"dim={dim!r:.80} is invalid: the vectors of '{name}' have {largest} dimensions; pass an integer from 1 to "
            f"{largest}.",
        )
    if is_whole and dim in checkpoint.dims:
        return int(dim)
    dims = ", ".join(map(str, checkpoint.dims))
    raise UnknownDimError(
        f"dim={dim!r}: '{name}'에 없는 차원입니다. 쓸 수 있는 차원: {dims}.",
        f"'{name}' has no dim={dim!r}; available: {dims}.",
    )
