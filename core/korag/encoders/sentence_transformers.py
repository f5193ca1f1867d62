"""Loads checkpoints into sentence-transformers models; no other module constructs these.

Only `load_multi_vector` depends on `MultiVectorEncoder`: any late-interaction model with ``preprocess``, ``tokenizer``
and ``__call__`` could replace it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.checkpoints.adapters import ADAPTER_WEIGHTS, check_fits, misfit
from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.matryoshka import read_heads
from korag.checkpoints.settings import FolderSettings, find_adapter, follow, read_modules, read_transformer_settings
from korag.encoders.devices import find_device
from korag.encoders.missing import shared_prefix
from korag.encoders.options import LoadOptions, PoolingMode
from korag.errors import CheckpointError, InvalidArgumentError, MissingHeadsError
from korag.forking import Lock

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model")
_progress_lock = Lock()


def load_single_vector(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    max_length: int | None,
    query_length: int | None,
    options: LoadOptions,
    pooling: PoolingMode | None = None,
) -> Any:
    """Loads a dense or sparse model.

    Args:
        checkpoint: Description of the model folder.
        folder: Folder with the weights.
        max_length: Longest document in tokens; None for no limit.
        query_length: Longest query in tokens; None for no limit.
        options: Load options.
        pooling: Pooling of a dense model none of whose files says it; None for sentence-transformers' choice.

    Returns:
        A `SentenceTransformer` or a `SparseEncoder`.
    """
    from korag.encoders.inputs import input_module, limit_length
    from korag.encoders.releases import SentenceTransformer, SparseEncoder
    from korag.encoders.static import load_model2vec, use_float32

    with _quiet_loading():
        if checkpoint.base is not None:
            model: Any = _load_adapter(checkpoint, folder, max_length, options, pooling)
        elif checkpoint.family == "sparse":
            model = SparseEncoder(str(folder), **_arguments(options, folder))
        elif FolderSettings(folder).is_model2vec:
            modules = load_model2vec(folder, normalize=checkpoint.normalized)
            model = SentenceTransformer(modules=modules, device=find_device(options))
        else:
            model = SentenceTransformer(str(folder), **_arguments(options, folder))
            if pooling is not None:
                _set_pooling(model, pooling)
    use_float32(model)
    if max_length is not None:
        limit_length(model, "document", max_length)
    queries = input_module(model, "query")
    if queries is input_module(model, "document"):
        if query_length != (getattr(queries, "query_length", None) or max_length):
            _limit_queries(queries, query_length, folder)
    elif query_length is not None:
        limit_length(model, "query", query_length)
    return model


def _set_pooling(model: Any, pooling: PoolingMode) -> None:
    """Replaces the pooling that sentence-transformers put behind a bare backbone."""
    from korag.encoders.releases import Pooling, embedding_dimension

    if not isinstance(model[-1], Pooling):
        raise ValueError("its backbone makes one vector of a text by itself; leave out pooling=")
    model[-1] = Pooling(embedding_dimension(model[0]), pooling)


def load_multi_vector(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    dim: int,
    max_length: int | None,
    query_length: int | None,
    options: LoadOptions,
) -> Any:
    """Loads a late-interaction model; the Matryoshka head of `dim`, if any, replaces ``1_Dense``.

    Args:
        checkpoint: Description of the model folder.
        folder: Folder with the weights.
        dim: Size of a token vector.
        max_length: Longest document in tokens; None for the checkpoint's own.
        query_length: Longest query in tokens, which shorter ones are filled up to if the model expands queries; None
            for the checkpoint's own.
        options: Load options.

    Returns:
        A `MultiVectorEncoder`: Transformer → projection → scoring mask → L2 normalisation.
    """
    from korag.encoders.inputs import input_module
    from korag.encoders.releases import Dense, embedding_dimension, load_late_interaction, project_tokens

    marks = (checkpoint.query_prompt, checkpoint.document_prompt)
    with _quiet_loading():
        model: Any = load_late_interaction(folder, marks, **_arguments(options, folder))
    if checkpoint.heads is not None:
        projections = [index for index, module in enumerate(model) if isinstance(module, Dense)]
        if len(projections) != 1:
            raise MissingHeadsError(
                f"'{folder}'에는 헤드로 바꿀 1_Dense가 하나 있어야 하는데 {len(projections)}개 있습니다.",
                f"'{folder}' must have exactly one 1_Dense for its heads to replace; it has {len(projections)}.",
            )
        heads = read_heads(folder / checkpoint.heads.name, embedding_dimension(model[0]))
        model[projections[0]] = project_tokens(heads[dim].to(model[projections[0]].linear.weight))
    if max_length is not None:
        input_module(model, "document").document_length = max_length
    if query_length is not None:
        _limit_queries(input_module(model, "query"), query_length, folder)
    return model


def _limit_queries(transformer: Any, length: int | None, folder: Path) -> None:
    """Sets the length of queries, and that of a fixed query expansion, which takes its place."""
    if not hasattr(transformer, "query_length"):
        raise InvalidArgumentError(
            f"query_length={length}: '{folder}'의 {type(transformer).__name__} 모듈은 질문의 길이를 따로 정할 수 "
            "없습니다. query_length를 빼세요.",
            f"query_length={length} is not supported: the {type(transformer).__name__} module of '{folder}' has no "
            "length of its own for queries. Omit query_length.",
        )
    transformer.query_length = length
    expansion = getattr(transformer, "query_expansion", None)
    if expansion is not None and expansion["strategy"] == "fixed":
        transformer.query_expansion = expansion | {"length": length}


def load_cross_encoder(folder: Path, *, max_length: int | None, chat_template: str | None, options: LoadOptions) -> Any:
    """Loads a cross-encoder.

    Args:
        folder: Folder with the weights.
        max_length: Longest pair in tokens; None for the checkpoint's own.
        chat_template: The template that pairs go through, instead of whatever is in the folder; None for none.
        options: Load options.

    Returns:
        A `CrossEncoder`.
    """
    from korag.encoders.releases import CrossEncoder

    arguments = _arguments(options, folder)
    arguments["processor_kwargs"] = {"chat_template": chat_template}
    with _quiet_loading():
        model: Any = CrossEncoder(str(folder), **arguments)
    if max_length is not None:
        model.max_seq_length = max_length
        for name in ("max_length", "truncation"):  # of every call, which go first
            model[0].processing_kwargs.get("text", {}).pop(name, None)
    _set_padding(model)
    return model


def _set_padding(model: Any) -> None:
    """Tells a model that scores its last token which tokens are padding; without it, it takes one pair at a time."""
    config, token = model[0].auto_model.config.get_text_config(), model.tokenizer.pad_token_id
    if config.pad_token_id is None and token is not None and model.tokenizer("a", "b")["input_ids"][-1] != token:
        config.pad_token_id = token


def _arguments(options: LoadOptions, folder: Path) -> dict[str, Any]:
    """Arguments of all sentence-transformers classes. The folder is local, so the Hub is never contacted."""
    return {
        "device": None if options.device == "meta" else find_device(options),
        "trust_remote_code": options.trust_remote_code,
        "local_files_only": True,
        "model_kwargs": {
            **_model_kwargs(*_input_folders(folder)),
            **({"device_map": "meta"} if options.device == "meta" else {}),  # reads no weights
        },
        "processor_kwargs": _processor_kwargs(options),
    }


def _model_kwargs(*folders: Path) -> dict[str, Any]:
    import torch

    prefixes = {prefix for folder in folders if (prefix := shared_prefix(folder))}
    renamed = {"key_mapping": {f"^{re.escape(prefix)}": "" for prefix in sorted(prefixes)}} if prefixes else {}
    return {"dtype": torch.float32, **renamed}  # whatever precision the checkpoint was saved in


def _backbone_folder(folder: Path) -> Path:
    modules = read_modules(folder)
    return folder / (modules[0]["path"] if modules else "")


def _input_folders(folder: Path) -> list[Path]:
    """Returns the folders of the modules that texts enter by."""
    sides = (follow(folder, "document"), follow(folder, "query"))
    return [folder / (modules[0]["path"] if modules else "") for modules in sides]


def _processor_kwargs(options: LoadOptions) -> dict[str, Any]:
    """Texts are encoded as they are: a checkpoint's chat template, a program of its own, is never run unasked."""
    return {} if options.trust_remote_code else {"chat_template": None}


def _load_adapter(
    checkpoint: Checkpoint,
    folder: Path,
    max_length: int | None,
    options: LoadOptions,
    pooling: PoolingMode | None,
) -> Any:
    """Applies a PEFT adapter to its base and merges it. The path of the base in the adapter's settings is ignored."""
    from korag.encoders.releases import (
        Dense,
        Normalize,
        Pooling,
        SentenceTransformer,
        adapter_backbone,
        embedding_dimension,
        replace_backbone,
    )

    assert checkpoint.base is not None  # noqa: S101 (for the type checker)
    peft = require("peft", extra="peft")
    remote = options.trust_remote_code
    base = checkpoint.base.source.fetch_weights(remote_code=remote).folder
    adapter = _adapter_folder(folder)
    check_fits(folder, base)
    base_modules, modules = read_modules(base), read_modules(folder)
    home = folder if modules else base
    modules = modules or base_modules
    base_backbone = _backbone_folder(base)
    tokenizer = next((place for place in (adapter, folder) if _has_tokenizer(place)), base_backbone)
    settings = read_transformer_settings(_backbone_folder(home))
    with _without_deprecations():
        transformer = adapter_backbone(
            base_backbone,
            tokenizer,
            settings,
            max_length,
            model_kwargs={**_model_kwargs(base_backbone), "local_files_only": True, "trust_remote_code": remote},
            processor_kwargs={**_processor_kwargs(options), "local_files_only": True, "trust_remote_code": remote},
            config_kwargs={"local_files_only": True, "trust_remote_code": remote},
        )
        if reasons := _renumbered(transformer.tokenizer, tokenizer, base_backbone, remote_code=remote):
            raise misfit(folder, base, *reasons)
        adapted = peft.PeftModel(transformer.auto_model, peft.PeftConfig.from_pretrained(str(adapter)))
        loaded = adapted.load_adapter(str(adapter), "default", local_files_only=True)
        if unfit := ", ".join(sorted([*loaded.missing_keys, *loaded.unexpected_keys])[:3]):
            raise misfit(
                folder, base, f"없거나 쓸 곳이 없는 가중치: {unfit}", f"it lacks, or has no place for, {unfit}"
            )
        replace_backbone(transformer, adapted.merge_and_unload())
    if pooling is not None:
        added = Pooling(embedding_dimension(transformer), pooling)
        return SentenceTransformer(modules=[transformer, added], device=find_device(options))
    known = {"Pooling": Pooling, "Normalize": Normalize, "Dense": Dense}
    rest = []
    for module in modules[1:]:
        kind = known.get(str(module["type"]).rpartition(".")[2])
        if kind is None:
            raise CheckpointError(
                f"PEFT 어댑터 '{folder}'의 모듈 '{module['type']}'은(는) 지원하지 않습니다. 어댑터를 베이스에 병합해 "
                "저장한 폴더를 쓰세요.",
                f"The module '{module['type']}' of the PEFT adapter '{folder}' is not supported; merge the adapter "
                "into its base, save that, and load the saved folder.",
            )
        rest.append(kind.load(str(home), subfolder=module["path"], local_files_only=True))
    return SentenceTransformer(modules=[transformer, *rest], device=find_device(options))


def _renumbered(used: Any, place: Path, base: Path, *, remote_code: bool) -> tuple[str, str] | None:
    """Says in both languages how an adapter's tokenizer numbers its base's tokens otherwise; None if it does not."""
    file, other = place / _TOKENIZER_FILES[0], base / _TOKENIZER_FILES[0]
    if place == base or (file.exists() and other.exists() and file.read_bytes() == other.read_bytes()):
        return None
    from transformers import AutoTokenizer

    own = used.get_vocab()
    theirs = AutoTokenizer.from_pretrained(str(base), local_files_only=True, trust_remote_code=remote_code).get_vocab()
    changed = sum(own.get(token) != number for token, number in theirs.items())
    if not changed:
        return None
    return (
        f"베이스의 토큰 {len(theirs):,}개 중 {changed:,}개의 번호가 어댑터의 토크나이저에서 다름",
        f"its tokenizer numbers {changed:,} of the {len(theirs):,} tokens of the base otherwise",
    )


def _adapter_folder(folder: Path) -> Path:
    """Returns the folder with an adapter's settings and weights; without weights, PEFT would ask the Hub for a path."""
    adapter = find_adapter(folder)
    if adapter is None or not any((adapter / name).exists() for name in ADAPTER_WEIGHTS):
        raise CheckpointError(
            f"어댑터 '{adapter or folder}'에 가중치({ADAPTER_WEIGHTS[0]})가 없습니다. 다시 다운로드하세요.",
            f"The adapter '{adapter or folder}' has no weights ({ADAPTER_WEIGHTS[0]}); download it again.",
        )
    return adapter


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in _TOKENIZER_FILES)


@contextlib.contextmanager
def _without_deprecations() -> Iterator[None]:
    """Suppresses two deprecation warnings that users cannot fix.

    sentence-transformers deprecates the argument for an adapter's tokenizer, transformers an attribute that peft reads.
    """

    def passes(record: logging.LogRecord) -> bool:
        return "tokenizer_name_or_path" not in record.getMessage()

    logger = logging.getLogger("sentence_transformers.base.modules.transformer")
    logger.addFilter(passes)
    try:
        with warnings.catch_warnings():  # not thread-safe, hence under `_progress_lock`
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        logger.removeFilter(passes)


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Hides the "Loading weights" progress bar of transformers."""
    from transformers.utils import logging

    with _progress_lock:
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            if shown:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
