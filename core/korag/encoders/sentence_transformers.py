"""Loads checkpoints with sentence-transformers' public classes: the only place that constructs them.

What depends on `MultiVectorEncoder` is in `load_multi_vector` alone, so that another late-interaction engine
can stand behind the same three things an encoder uses: ``preprocess``, the call, and ``tokenizer``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.matryoshka import read_heads
from korag.checkpoints.settings import find_adapter, read_modules, read_transformer_settings
from korag.encoders.options import LoadOptions
from korag.errors import CheckpointError, MissingHeadsError

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model")
_progress_lock = threading.Lock()


def load_single_vector(
    checkpoint: Checkpoint, folder: Path, *, prompts: dict[str, str], max_length: int | None, options: LoadOptions
) -> Any:
    """Loads a dense or a sparse model.

    Args:
        checkpoint: Its description.
        folder: The folder with its weights.
        prompts: ``{"query": …, "document": …}``.
        max_length: Longest text in tokens; None for the checkpoint's own.
        options: How to run it.

    Returns:
        A `SentenceTransformer` or a `SparseEncoder`.
    """
    from sentence_transformers import SentenceTransformer, SparseEncoder

    with _quiet_loading():
        if checkpoint.base is not None:
            model: Any = _load_adapter(checkpoint, folder, prompts, max_length, options)
        elif checkpoint.family == "sparse":
            model = SparseEncoder(str(folder), prompts=prompts, **_arguments(options))
        else:
            model = SentenceTransformer(str(folder), prompts=prompts, **_arguments(options))
    if max_length is not None:
        model.max_seq_length = max_length
    return model


def load_multi_vector(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    dim: int,
    prompts: dict[str, str],
    max_length: int | None,
    options: LoadOptions,
) -> Any:
    """Loads a late-interaction model, with the Matryoshka head of `dim` in place of ``1_Dense``.

    Args:
        checkpoint: Its description.
        folder: The folder with its weights.
        dim: Size of a token vector.
        prompts: ``{"query": …, "document": …}``.
        max_length: Longest document in tokens; None for the checkpoint's own.
        options: How to run it.

    Returns:
        A `MultiVectorEncoder`: Transformer → projection → scoring mask → L2 normalisation.
    """
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense

    with _quiet_loading():
        model: Any = MultiVectorEncoder(str(folder), prompts=prompts, **_arguments(options))
    if checkpoint.heads is not None:
        projections = [index for index, module in enumerate(model) if isinstance(module, Dense)]
        if len(projections) != 1:
            raise MissingHeadsError(
                f"'{folder}'에는 헤드가 대신할 1_Dense가 하나 있어야 하는데 {len(projections)}개입니다.",
                f"'{folder}' must have one 1_Dense for its heads to replace; it has {len(projections)}.",
            )
        hidden = model[0].get_embedding_dimension()
        old = model[projections[0]]
        head = read_heads(folder / checkpoint.heads.name, hidden)[dim].to(old.linear.weight)
        model[projections[0]] = Dense(
            hidden, dim, bias=False, activation_function=None, init_weight=head, module_input_name="token_embeddings"
        )
    if max_length is not None:
        model[0].document_length = max_length
    return model


def load_cross_encoder(folder: Path, *, max_length: int | None, options: LoadOptions) -> Any:
    """Loads a model that scores pairs of texts.

    Args:
        folder: The folder with its weights.
        max_length: Longest pair in tokens; None for the checkpoint's own.
        options: How to run it.

    Returns:
        A `CrossEncoder`.
    """
    from sentence_transformers import CrossEncoder

    with _quiet_loading():
        model: Any = CrossEncoder(str(folder), **_arguments(options))
    if max_length is not None:
        model.max_seq_length = max_length
    return model


def missing_head(model: Any, folder: Path) -> list[str]:
    """Names the weights of a cross-encoder's classification head if its files hold none of them.

    transformers fills such a head with random numbers and says so in a log only.

    Args:
        model: What `load_cross_encoder` returned.
        folder: Where from.
    """
    from safetensors import safe_open

    backbone = model.transformers_model
    prefix = getattr(backbone, "base_model_prefix", None)
    files = list(folder.glob("*.safetensors"))
    if not prefix or not files:  # another backend's, or pickled weights, whose names are not to be had unread
        return []
    stored: set[str] = set()
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            stored.update(tensors.keys())
    head = [name for name in backbone.state_dict() if not name.startswith(f"{prefix}.")]
    return head if head and not stored.intersection(head) else []


def _arguments(options: LoadOptions) -> dict[str, Any]:
    """What every sentence-transformers class takes. The folder is local: the Hub is never asked again."""
    return {
        # A backend of ours takes the place of the backbone afterwards, on the CPU: see `korag.encoders.backends`.
        "device": options.device or (None if options.backend == "torch" else "cpu"),
        "trust_remote_code": options.trust_remote_code,
        "local_files_only": True,
        "model_kwargs": _model_kwargs(),
    }


def _model_kwargs() -> dict[str, Any]:
    import torch

    return {"dtype": torch.float32}  # whatever the checkpoint was saved in


def _load_adapter(
    checkpoint: Checkpoint, folder: Path, prompts: dict[str, str], max_length: int | None, options: LoadOptions
) -> Any:
    """Puts a PEFT adapter on its base and merges it: the base may lie anywhere, whatever the adapter says."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    assert checkpoint.base is not None  # noqa: S101 (the caller's branch; for the type checker)
    peft = require("peft", extra="peft")
    remote = options.trust_remote_code
    base = checkpoint.base.source.fetch_weights(remote_code=remote).folder
    adapter = find_adapter(folder)
    base_modules, modules = read_modules(base), read_modules(folder)
    home = folder if modules else base
    modules = modules or base_modules
    if not modules:
        raise CheckpointError(
            f"어댑터 '{folder}'에도 베이스 '{base}'에도 modules.json이 없어 풀링 방식을 알 수 없습니다.",
            f"Neither the adapter '{folder}' nor its base '{base}' has a modules.json, which names the pooling.",
        )
    base_backbone = base / (base_modules[0]["path"] if base_modules else "")
    tokenizer = next((place for place in (adapter, folder) if place and _has_tokenizer(place)), base_backbone)
    settings = read_transformer_settings(home / modules[0]["path"])
    with _without_deprecations():
        transformer = Transformer(
            str(base_backbone),
            model_kwargs={**_model_kwargs(), "local_files_only": True, "trust_remote_code": remote},
            processor_kwargs={"local_files_only": True, "trust_remote_code": remote},
            config_kwargs={"local_files_only": True, "trust_remote_code": remote},
            max_seq_length=max_length,
            do_lower_case=bool(settings.get("do_lower_case")),
            tokenizer_name_or_path=str(tokenizer),
        )
        transformer.model = peft.PeftModel.from_pretrained(transformer.model, str(adapter)).merge_and_unload()
    known = {"Pooling": Pooling, "Normalize": Normalize, "Dense": Dense}
    rest = []
    for module in modules[1:]:
        kind = known.get(str(module["type"]).rpartition(".")[2])
        if kind is None:
            raise CheckpointError(
                f"PEFT 어댑터 '{folder}'의 모듈 '{module['type']}'은(는) 지원하지 않습니다. 어댑터를 베이스에 합쳐 "
                "저장한 폴더를 쓰세요.",
                f"The module '{module['type']}' of the PEFT adapter '{folder}' is not supported; merge the adapter "
                "into its base, save that, and load the saved folder.",
            )
        rest.append(kind.load(str(home), subfolder=module["path"], local_files_only=True))
    return SentenceTransformer(modules=[transformer, *rest], prompts=prompts, device=_arguments(options)["device"])


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in _TOKENIZER_FILES)


@contextlib.contextmanager
def _without_deprecations() -> Iterator[None]:
    """Keeps two deprecations from the user, who can do nothing about them.

    sentence-transformers' of the argument that names an adapter's tokenizer, and transformers' of an attribute
    that peft reads.
    """

    def passes(record: logging.LogRecord) -> bool:
        return "tokenizer_name_or_path" not in record.getMessage()

    logger = logging.getLogger("sentence_transformers.base.modules.transformer")
    logger.addFilter(passes)
    try:
        with warnings.catch_warnings():  # not safe for threads, hence under `_progress_lock`
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        logger.removeFilter(passes)


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keeps transformers' "Loading weights" bar off the terminal of someone who called `encode_queries`."""
    from transformers.utils import logging

    with _progress_lock:
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            if shown:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
