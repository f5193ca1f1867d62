"""`load_encoder`: from a name or a path to the encoder of the right family."""

from __future__ import annotations

import dataclasses
import itertools
import os
from typing import Any, Literal, get_args

from korag._optional import check
from korag.checkpoints.checkpoint import Checkpoint, read_checkpoint
from korag.checkpoints.hub import ModelFiles, resolve_model
from korag.checkpoints.layouts import cross_encoder_error, wrong_family
from korag.checkpoints.presets import Family
from korag.checkpoints.settings import find_adapter, read_json
from korag.checks import check_choice, check_count
from korag.encoders.base import Encoder
from korag.encoders.dense import DenseEncoder
from korag.encoders.lazy import LazyModel
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.options import DTYPES, LoadOptions
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.sparse import SparseEncoder
from korag.errors import (
    CheckpointNotFoundError,
    HubUnreachableError,
    InvalidArgumentError,
    MissingBaseError,
    UnknownDimError,
)

_ENCODERS: dict[Family, type[PretrainedEncoder[Any]]] = {
    "dense": DenseEncoder,
    "sparse": SparseEncoder,
    "late_interaction": LateInteractionEncoder,
}
_BACKENDS = {"torch": (), "onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
"""The packages each one needs."""
_SHORTEST = 3  # [CLS] token [SEP]; below that tokenizers do not truncate at all


def load_encoder(
    model: str | os.PathLike[str],
    *,
    family: Family | None = None,
    dim: int | None = None,
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
    batch_tokens: int | None = None,
    query_cache: int = 0,
    adapter: str | os.PathLike[str] | None = None,
) -> DenseEncoder | SparseEncoder | LateInteractionEncoder:
    """Loads a retrieval model by name or path; its family is read from its files.

    Everything that can be wrong without reading the weights is an error here; the weights themselves are
    loaded at the first encoding.

    Args:
        model: A local folder, the name of a shipped model (``"mini-colbert"``, ``"mini-splade"``,
            ``"mini-dense"``), or a Hub id.
        family: ``"dense"``, ``"sparse"`` or ``"late_interaction"`` if the caller can use only that one; a
            model of another family is then an error.
        dim: Matryoshka dimension of a late-interaction model; by default its largest.
        device: ``"cpu"``, ``"cuda"``, …; None for the best there is.
        dtype: Precision of the computation: ``"float32"``; with torch ``"bfloat16"`` and ``"float16"``; with OpenVINO
            ``"bfloat16"`` and ``"int8"``; with ONNX ``"int8"``. ``"auto"`` is the fastest of 16 and 32 bits on this
            machine that keeps vectors within a cosine of .999 to float32 (see `Encoder.dtype` once loaded). Vectors
            are float32 in any case.
        backend: ``"torch"``, or on the CPU ``"onnx"`` (``korag[onnx]``) or ``"openvino"`` (``korag[openvino]``).
        revision: Hub branch, tag or commit.
        cache_folder: Hub cache folder.
        local_files_only: Never ask the network.
        token: Hub token; never shown and never pickled.
        trust_remote_code: Run Python files that come with the checkpoint.
        query_prompt: Put before every query instead of the checkpoint's own; ``""`` for none.
        document_prompt: Put before every document instead of the checkpoint's own; ``""`` for none.
        max_length: Longest document in tokens (longest text, for dense and sparse).
        batch_tokens: Most tokens of a padded batch; by default 4,096, for sparse models 2,048.
        query_cache: Keep the vectors of this many queries, those asked last; 0 keeps none.
        adapter: Folder or Hub id of a PEFT adapter to put on `model`. An adapter can also be `model` itself;
            its base is then the one its ``adapter_config.json`` names.

    Returns:
        The encoder of the model's family.

    Raises:
        CheckpointNotFoundError: If there is no such path or model.
        HubUnreachableError: If the model is not on this machine and the Hub cannot be reached.
        UnknownFamilyError: If its files do not tell the family and `family` is not given.
        WrongFamilyError: If it is of another family than `family`.
        UnknownDimError: If it has no such dimension.
        MissingHeadsError: If its Matryoshka heads are missing or unreadable.
        MissingBaseError: If the base of an adapter cannot be found.
        InvalidArgumentError: If another argument is outside its rule.
        MissingDependencyError: If `backend` or the adapter needs a package that is not installed.
    """
    if isinstance(model, LazyModel) and not isinstance(model, Encoder):
        raise cross_encoder_error(model.model_name)
    check_choice("family", family, (None, *get_args(Family)))
    check_length(max_length, least=_SHORTEST)
    options = LoadOptions(
        device=device,
        dtype=dtype,
        backend=backend,
        trust_remote_code=trust_remote_code,
        batch_tokens=batch_tokens,
        query_cache=query_cache,
    )
    check_options(options)
    hub = {"cache_folder": cache_folder, "local_files_only": local_files_only, "token": token}
    source = resolve_model(model, revision=revision, **hub)  # type: ignore[arg-type]
    base: Checkpoint | None = None
    if adapter is not None:
        base, source = read_checkpoint(source, family="dense"), resolve_model(adapter, **hub)  # type: ignore[arg-type]
        if find_adapter(source.folder) is None:
            raise CheckpointNotFoundError(
                f"adapter='{adapter}' 폴더에 adapter_config.json이 없습니다.",
                f"adapter='{adapter}' has no adapter_config.json.",
            )
    elif (folder := find_adapter(source.folder)) is not None:
        settings = read_json(folder / "adapter_config.json")
        base = _find_base(source, settings, hub)
    checkpoint = read_checkpoint(source, family=family, base=base)
    if base is not None:
        check("peft", extra="peft")
    check_backend(backend)
    for part in (source, *([base.source] if base is not None else [])):
        if part.revision is None or local_files_only:  # otherwise the first encoding fetches them
            part.check_weights()
    _check_dim(checkpoint, dim)
    check_length(max_length, limit=checkpoint.max_positions, least=_SHORTEST)
    return _ENCODERS[checkpoint.family](  # type: ignore[return-value]  # the table holds just these three
        checkpoint,
        dim=checkpoint.dim if dim is None else dim,
        query_prompt=checkpoint.query_prompt if query_prompt is None else query_prompt,
        document_prompt=checkpoint.document_prompt if document_prompt is None else document_prompt,
        max_length=checkpoint.document_length if max_length is None else max_length,
        options=options,
    )


def check_options(options: LoadOptions) -> None:
    """Checks how a model is to be run.

    Raises:
        InvalidArgumentError: If something is outside its rule.
    """
    device, dtype, backend = options.device, options.dtype, options.backend
    check_choice("backend", backend, tuple(_BACKENDS))
    check_choice("dtype", dtype, tuple(dict.fromkeys(("auto", *itertools.chain(*DTYPES.values())))))
    if options.batch_tokens is not None:
        check_count("batch_tokens", options.batch_tokens, at_least=1)
    check_count("query_cache", options.query_cache)
    if dtype not in ("auto", *DTYPES[backend]):
        raise _not_by(backend, f"dtype={dtype!r}", " | ".join(map(repr, ("auto", *DTYPES[backend]))))
    if backend != "torch" and device not in (None, "cpu"):
        raise _not_by(backend, f"device={device!r}", "'cpu'")


def check_backend(backend: str) -> None:
    """Raises if a backend's packages are not there.

    Raises:
        MissingDependencyError: If one is not installed.
    """
    check(*_BACKENDS[backend], extra=backend)


def as_encoder(model: Encoder[Any] | str | os.PathLike[str], *, family: Family | None = None) -> Encoder[Any]:
    """Returns a loaded encoder as it is, and loads one given by name or path.

    Args:
        model: An encoder, a name, or a path.
        family: The only family the caller can use.

    Raises:
        WrongFamilyError: If it is of another family.
    """
    if isinstance(model, Encoder):
        if family is not None and model.family != family:
            raise wrong_family(model.model_name, model.family, family)
        return model
    return load_encoder(model, family=family)


def encoder_with(
    model: Encoder[Any] | str | os.PathLike[str], *, family: Family | None = None, **settings: Any
) -> Encoder[Any]:
    """Loads a model with settings, or returns a loaded encoder that has them.

    Args:
        model: An encoder, a name, or a path.
        family: The only family the caller can use.
        settings: Keywords of `load_encoder`; None counts as not given.

    Raises:
        WrongFamilyError: If it is of another family.
        InvalidArgumentError: If a loaded encoder was loaded with another value of a setting.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if not isinstance(model, Encoder):
        return load_encoder(model, family=family, **given)
    encoder = as_encoder(model, family=family)
    own = {"adapter": None} | encoder.load_arguments
    if isinstance(encoder, PretrainedEncoder):
        own |= dataclasses.asdict(encoder.options)
    check_settings(own, given, loader="load_encoder")
    return encoder


def check_settings(own: dict[str, Any], given: dict[str, Any], *, loader: str) -> None:
    """Raises for a setting that a loaded model was not loaded with.

    Args:
        own: Keywords the model was loaded with.
        given: What the caller asked for.
        loader: What it would have to be loaded by.

    Raises:
        InvalidArgumentError: If one differs, or can only be given when a model is loaded.
    """
    for name, value in given.items():
        if name not in own:  # where its files were found and by which token: nothing it could still change
            raise InvalidArgumentError(
                f"{name}=은(는) 모델을 찾을 때 쓰입니다. 이미 불러온 모델에는 넣을 수 없으니 빼세요.",
                f"{name}= is for finding a model; leave it out for one that is already loaded.",
            )
        if value != own[name]:
            raise InvalidArgumentError(
                f"{name}={value!r}을(를) 넣었지만 불러온 모델의 {name}은(는) {own[name]!r}입니다. "
                f"{loader}(..., {name}={value!r})로 불러온 것을 넣거나 {name}을(를) 빼세요.",
                f"{name}={value!r} was given, but the loaded model has {own[name]!r}. Pass one loaded with "
                f"{loader}(..., {name}={value!r}), or leave {name} out.",
            )


def late_interaction_encoder(
    model: Encoder[Any] | str | os.PathLike[str], *, dim: int | None = None
) -> LateInteractionEncoder:
    """`as_encoder` for those who can use a late-interaction model only.

    Args:
        model: An encoder, a name, or a path.
        dim: Its Matryoshka dimension; None for the largest, or the loaded encoder's own.

    Raises:
        WrongFamilyError: If it is of another family.
        InvalidArgumentError: If a loaded encoder has another `dim`.
    """
    if not isinstance(model, Encoder):
        model = load_encoder(model, family="late_interaction", dim=dim)
    if not isinstance(model, LateInteractionEncoder):
        raise wrong_family(model.model_name, model.family, "late_interaction")
    if dim not in (None, model.dim):
        raise InvalidArgumentError(
            f"dim={dim}을(를) 넣었지만 불러온 인코더의 dim은 {model.dim}입니다. 하나만 넣으세요.",
            f"dim={dim} was given, but the loaded encoder has dim {model.dim}; give one of them.",
        )
    return model


def _find_base(source: ModelFiles, settings: dict[str, Any], hub: dict[str, Any]) -> Checkpoint:
    name = settings.get("base_model_name_or_path") or ""
    beside = source.folder / name  # where `Encoder.save` puts it
    try:
        found = resolve_model(beside if name and beside.is_dir() else name, revision=settings.get("revision"), **hub)
    except (CheckpointNotFoundError, HubUnreachableError) as error:
        raise MissingBaseError(
            f"어댑터 '{source.name}'의 베이스 모델 '{name}'을(를) 찾을 수 없습니다. 베이스를 받아 두었다면 "
            f"load_encoder('베이스 폴더', adapter='{source.name}')로 알려 주세요.",
            f"The base model '{name}' of the adapter '{source.name}' cannot be found. If you have it in a folder: "
            f"load_encoder('base folder', adapter='{source.name}').",
        ) from error
    return read_checkpoint(found, family="dense")


def _not_by(backend: str, what: str, possible: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{what}은(는) backend={backend!r}에서 쓸 수 없습니다. 쓸 수 있는 값: {possible}.",
        f"{what} is not possible with backend={backend!r}; possible: {possible}.",
    )


def _check_dim(checkpoint: Checkpoint, dim: int | None) -> None:
    if dim is not None and dim not in checkpoint.dims:
        dims = ", ".join(map(str, checkpoint.dims))
        raise UnknownDimError(
            f"'{checkpoint.source.name}'에는 dim={dim!r}이 없습니다. 쓸 수 있는 차원: {dims}.",
            f"'{checkpoint.source.name}' has no dim={dim!r}; it offers: {dims}.",
        )


def check_length(max_length: int | None, *, limit: int | None = None, least: int) -> None:
    """Raises if texts cannot be cut at so many tokens.

    Args:
        max_length: What the caller asked for; None for the model's own.
        limit: What the model can take at most.
        least: The shortest that leaves anything of a text.

    Raises:
        InvalidArgumentError: If it is outside `least` … `limit`.
    """
    if max_length is None:
        return
    check_count("max_length", max_length, at_least=least)
    if limit is not None and max_length > limit:
        raise InvalidArgumentError(
            f"max_length={max_length}은(는) 이 모델의 한도 {limit}토큰보다 깁니다.",
            f"max_length={max_length} is beyond this model's limit of {limit} tokens.",
        )
