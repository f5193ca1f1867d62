"""`load_encoder`: loads a model by name or path into the encoder of its family."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Sequence
from typing import Any, get_args

from korag._optional import check
from korag.checkpoints.adapters import check_fits
from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.checkpoint import Checkpoint, read_checkpoint
from korag.checkpoints.doubts import warn_of_missing_pooling, warn_of_missing_prompts
from korag.checkpoints.hub import ModelFiles, resolve_model
from korag.checkpoints.layouts import cross_encoder_error, wrong_family
from korag.checkpoints.linear_heads import head_files
from korag.checkpoints.presets import Family
from korag.checkpoints.settings import find_adapter, module_types, read_json
from korag.checks import check_choice
from korag.encoders.base import Encoder
from korag.encoders.dense import DenseEncoder
from korag.encoders.lazy import LazyModel
from korag.encoders.load_checks import (
    MIN_LENGTH,
    check_adapter,
    check_dim,
    check_length_of_both,
    check_pooling,
    check_prompts,
    check_query_length,
    check_server_arguments,
)
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.options import (
    Backend,
    LoadOptions,
    PoolingMode,
    check_backend,
    check_length,
    check_options,
    check_settings,
)
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.releases import check_layout
from korag.encoders.sparse import SparseEncoder
from korag.errors import (
    CheckpointNotFoundError,
    HubUnreachableError,
    InvalidArgumentError,
    MissingBaseError,
)
from korag.keywords import checks_call
from korag.remote.options import ServerOptions, is_url
from korag.storage import find_path

_ENCODERS: dict[Family, type[PretrainedEncoder[Any]]] = {
    "dense": DenseEncoder,
    "sparse": SparseEncoder,
    "late_interaction": LateInteractionEncoder,
}


@checks_call
def load_encoder(
    model: str | os.PathLike[str],
    *,
    family: Family | None = None,
    dim: int | None = None,
    pooling: PoolingMode | None = None,
    device: str | None = None,
    dtype: str = "auto",
    backend: Backend = "torch",
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
    like: PretrainedEncoder[Any] | str | os.PathLike[str] | None = None,
    canaries: str | os.PathLike[str] | None = None,
    server: ServerOptions | None = None,
) -> DenseEncoder | SparseEncoder | LateInteractionEncoder:
    """Loads a retrieval model by name or path; its family is detected from its files. Or connects to a server.

    Anything that can be checked without the weights is checked here; the weights are loaded by the first encoding.

    With the address of a server for `model`, everything but the forward pass is done here as the checkpoint `like`
    says: prompts, lengths, ColBERT's marks and masks, normalization. The server is asked for a few known vectors at
    once, and is an error if it returns others. The encoder has the fingerprint of `like`, so a collection made with one
    opens with the other. ``docs/servers.md`` has the APIs.

    >>> load_encoder("https://host/embed", like="dragonkue/BGE-m3-ko", server=ServerOptions(api_key_env="TEI_KEY"))

    Args:
        model: A local folder, the name of a bundled model (``"mini-colbert"``, ``"mini-splade"``, ``"mini-dense"``), a
            Hub id, or the address of a server (``https://…``).
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
        backend: ``"torch"``, or on the CPU ``"onnx"`` (``korag[onnx]``) or ``"openvino"`` (``korag[openvino]``). With
            torch on the CPU, plain models such as the bundled ones are run without sentence-transformers, which takes
            seconds to import, with the same vectors (see `PretrainedEncoder.is_light`);
            ``"sentence-transformers"`` never does that. ``"auto"`` is OpenVINO in int8 on a CPU with AVX512-VNNI but
            neither AMX nor AVX512-BF16, if OpenVINO is installed, the model is none of the small light ones, `dtype` is
            ``"auto"`` and vectors stay within a cosine of .999 of float32; otherwise torch. Once the weights are
            loaded, `LazyModel.runtime` says which it is, and why. OpenVINO exports a model whenever it is loaded, which
            takes 15 seconds for 149M; so ``"auto"`` is not the default.
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
            fill shorter queries up to it with mask tokens, and their collections open only with the same.
        batch_tokens: Maximum tokens per padded batch; None for 4,096, or 2,048 for sparse models.
        query_cache: Number of recent queries whose vectors are cached; 0 for none.
        adapter: Folder or Hub id of a PEFT adapter to apply to `model`. `model` can also be an adapter itself; its base
            is then the one named in its ``adapter_config.json``.
        like: For a server: the model that it serves, as a name, a path, or a loaded encoder. The other arguments are
            about this model.
        canaries: For a server: a file of known vectors (`korag.remote.canaries.write_canaries`); without it, the
            weights of `like` are loaded to compute them. With it, its tokenizer and settings are enough.
        server: For a server: its API and key, and how to ask it.

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
        ServedModelError: If a server's vectors are not those of `like`.
        ServerError: If a server does not answer.
        InvalidArgumentError: If another argument is invalid.
        MissingDependencyError: If `backend`, the adapter or a server requires a package that is not installed.
    """
    check_server_arguments(model, like=like, canaries=canaries, server=server)
    settings: dict[str, Any] = {
        "family": family,
        "dim": dim,
        "pooling": pooling,
        "device": device,
        "dtype": dtype,
        "backend": backend,
        "revision": revision,
        "cache_folder": cache_folder,
        "local_files_only": local_files_only,
        "token": token,
        "trust_remote_code": trust_remote_code,
        "query_prompt": query_prompt,
        "document_prompt": document_prompt,
        "max_length": max_length,
        "query_length": query_length,
        "batch_tokens": batch_tokens,
        "query_cache": query_cache,
        "adapter": adapter,
    }
    if not is_url(model):
        return _load(model, **settings)  # type: ignore[return-value]  # one of the three
    from korag.remote.encoders import connect_encoder  # needs scipy

    if isinstance(like, Encoder):
        local = _as_local(like, settings)
    else:
        local = _load(like, needs_weights=canaries is None, **settings)  # type: ignore[arg-type]
    return connect_encoder(  # type: ignore[return-value]  # of one of the three families
        os.fspath(model), local, canaries=canaries, server=ServerOptions() if server is None else server
    )


def _as_local(like: Encoder[Any], settings: dict[str, Any]) -> PretrainedEncoder[Any]:
    """Returns a loaded encoder that a server should be like, after checking that it has the settings given."""
    if not isinstance(like, PretrainedEncoder) or like.options.device == "meta":
        raise InvalidArgumentError(
            f"like={like!r:.80}: 로컬 모델이어야 합니다. 모델의 이름이나 경로, 또는 그것을 load_encoder로 불러온 "
            "인코더를 넣으세요.",
            f"like={like!r:.80} is invalid; it must be a local model: a name, a path, or what load_encoder returns for "
            "them.",
        )
    defaults = inspect.signature(load_encoder).parameters
    given = {name: value for name, value in settings.items() if value != defaults[name].default}
    as_encoder(like, **given)
    return like


def _load(
    model: str | os.PathLike[str],
    *,
    family: Family | None,
    dim: int | None,
    pooling: PoolingMode | None,
    device: str | None,
    dtype: str,
    backend: Backend,
    revision: str | None,
    cache_folder: str | None,
    local_files_only: bool,
    token: str | None,
    trust_remote_code: bool,
    query_prompt: str | None,
    document_prompt: str | None,
    max_length: int | None,
    query_length: int | None,
    batch_tokens: int | None,
    query_cache: int,
    adapter: str | os.PathLike[str] | None,
    needs_weights: bool = True,
) -> PretrainedEncoder[Any]:
    if isinstance(model, LazyModel) and not isinstance(model, Encoder):
        raise cross_encoder_error(model.model_name)
    check_choice("family", family, (None, *get_args(Family)))
    check_choice("pooling", pooling, (None, *get_args(PoolingMode)))
    max_length = check_length(max_length, at_least=MIN_LENGTH)
    query_length = check_length(query_length, name="query_length", at_least=MIN_LENGTH)
    check_prompts(query_prompt=query_prompt, document_prompt=document_prompt)
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
    for files in (source, *([base.source] if base is not None else [])):
        check_layout(files.name, module_types(files.folder))
    if base is not None:
        check_adapter(checkpoint, base)
        check("peft", extra="peft")
        check_fits(source.folder, base.source.folder)
    check_pooling(checkpoint, pooling)
    check_backend(backend)
    if needs_weights:
        for files in (source, *([base.source] if base is not None else [])):
            if files.revision is None or local_files_only:  # otherwise the first encoding downloads them
                files.check_weights()
    dim = checkpoint.dim if dim is None else check_dim(checkpoint, dim)
    check_length(max_length, limit=checkpoint.max_positions, at_least=MIN_LENGTH)
    if query_length is None:
        check_length_of_both(checkpoint, max_length)
    check_query_length(checkpoint, query_length, query_prompt)
    if query_prompt is None and document_prompt is None:
        warn_of_missing_prompts(checkpoint)
    if pooling is None:
        warn_of_missing_pooling(checkpoint)
    return _ENCODERS[checkpoint.family](
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
            f"load_encoder('베이스 폴더', adapter='{source.name}')로 불러오세요. 원인: {error.args[0]}",
            f"The base model '{name}' of the adapter '{source.name}' cannot be found. If you have it in a folder: "
            f"load_encoder('base folder', adapter='{source.name}'). Cause: {error.args[1]}",
        ) from error
    return read_checkpoint(found, family="dense")
