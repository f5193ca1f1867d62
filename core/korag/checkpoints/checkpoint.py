"""Reading a model folder's settings: family, dimensions, prompts and lengths. Reads no weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.layouts import cross_encoder_error, find_layout, wrong_family
from korag.checkpoints.linear_heads import find_linear_heads
from korag.checkpoints.matryoshka import read_dims
from korag.checkpoints.presets import PRESETS, Family, Preset
from korag.checkpoints.readers import DENSE, FAMILY_READERS, HEAD_READERS, Reader
from korag.checkpoints.rules import LONGEST, is_count
from korag.checkpoints.settings import FolderSettings, find_adapter, max_positions, read_json, reading
from korag.checkpoints.sizes import check_sizes
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    InvalidArgumentError,
    MissingHeadsError,
    UnknownFamilyError,
)

_LARGEST_DIM = 2**24


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The settings of a model folder.

    Attributes:
        source: The model's files.
        family: ``"dense"``, ``"sparse"`` or ``"late_interaction"``.
        dim: Size of the vectors unless another is chosen: the heads' largest, a saved ``truncate_dim``, or all; for
            sparse models, of the vocabulary. None if only the weights show it.
        heads: The Matryoshka heads file; None if there is none.
        dims: Sizes of the vectors that the weights make: the heads', or one; none if only the weights show it. Of a
            dense model's, any first part can be chosen.
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every document.
        query_length: Maximum query length in tokens, prompt and special tokens included; None for no limit.
        document_length: Maximum document length in tokens, likewise.
        least_query_length: Number of tokens that every query is filled up to, where that is not its maximum; or 0.
        fills_queries: Shorter queries are filled up to `query_length`, so that it decides about the vectors of all.
        max_positions: Number of tokens the backbone has positions for; None if unknown.
        query_positions: The same for queries, which a Router may send to another backbone.
        normalized: The model itself makes unit vectors.
        similarity: ``"cosine"`` or ``"dot"``.
        marks: Beginnings of the prompts of queries and documents that are put before stripped texts, as PyLate does;
            None if texts are taken as they are.
        max_active_dims: Number of terms that a sparse model keeps of each text, the largest; None for all.
        bare_pooling: The pooling that sentence-transformers chooses for a dense model none of whose files says it; None
            where they do.
        base: The base checkpoint of a PEFT adapter; None for other models.
        head: Name of the head that makes this family's vectors on the backbone of a dense model (see
            `korag.checkpoints.linear_heads`); None for other models.
    """

    source: ModelFiles
    family: Family
    dim: int | None
    heads: Path | None
    dims: tuple[int, ...]
    query_prompt: str
    document_prompt: str
    query_length: int | None
    document_length: int | None
    max_positions: int | None
    query_positions: int | None
    normalized: bool
    similarity: str
    least_query_length: int = 0
    fills_queries: bool = False
    marks: tuple[str, str] | None = None
    max_active_dims: int | None = None
    bare_pooling: str | None = None
    base: Checkpoint | None = None
    head: str | None = None

    def normalizes(self, dim: int) -> bool:
        """Returns True if vectors of a size have unit length.

        A saved ``truncate_dim`` cuts unit vectors and leaves them as they are then, as in sentence-transformers; of any
        other size, they are scaled to unit length again.
        """
        return self.normalized and (dim != self.dim or dim == max(self.dims, default=None))

    def without_token(self) -> Checkpoint:
        """Returns a copy without the Hub token, its base included; safe to pickle."""
        base = self.base.without_token() if self.base else None
        return replace(self, source=replace(self.source, token=None), base=base)


def read_checkpoint(source: ModelFiles, *, family: Family | None = None, base: Checkpoint | None = None) -> Checkpoint:
    """Reads the settings of a model folder.

    Args:
        source: The model's files.
        family: The family needed; None for any.
        base: The base model if the folder is a PEFT adapter.

    Raises:
        UnknownFamilyError: If neither the files nor `family` determine the family, or the folder has models of several.
        WrongFamilyError: If it is not of `family`, or a cross-encoder.
        MissingHeadsError: If its Matryoshka heads are missing or unreadable.
        CheckpointError: If a settings file is missing or broken.
    """
    with reading(source.folder):
        return _read(source, family, base)


def _read(source: ModelFiles, family: Family | None, base: Checkpoint | None) -> Checkpoint:
    family, reader = _find_reader(source, family)
    settings = FolderSettings(source.folder, base.source.folder if base else None)
    preset = PRESETS.get(source.name) or (base if settings.bare_adapter else None)
    if not reader.has_head(settings):
        raise _missing_heads(source, "no 1_Dense, and no HF_ColBERT in config.json")
    dim = reader.dim(settings)
    if not (is_count(_LARGEST_DIM)(dim) or (dim is None and settings.sized_by_weights)):
        raise CheckpointError(
            f"'{source.folder}'의 벡터 차원을 알 수 없습니다. config.json이 있는지 확인하세요.",
            f"The vector size of '{source.folder}' cannot be read; check that it has a config.json.",
        )
    heads = settings.heads if family == "late_interaction" else None
    if heads is None and isinstance(preset, Preset) and preset.dims:
        raise _missing_heads(source, f"{source.name} has the heads {', '.join(map(str, preset.dims))}")
    if family != "sparse":
        check_sizes(settings)
        check_sizes(settings.queries)
    dims = read_dims(heads, settings.backbone.get("hidden_size")) if heads else (() if dim is None else (dim,))
    query_prompt, document_prompt = reader.prompts(settings)
    _check_query_side(settings.queries, reader.dim(settings.queries), dim)
    query_length, document_length = reader.lengths(settings)
    check_saved_lengths(source, query_length=query_length, document_length=document_length)
    if heads and dim not in dims:
        dim = max(dims)
    elif family == "dense":
        saved = _saved_count(source, settings, "truncate_dim") or dim
        dim = saved if dim is None or saved is None else min(dim, saved)
    head = reader.head  # which has no part in what the dense model does with its vectors
    is_dot = head is None and str(settings.model.get("similarity_fn_name")) == "dot"
    is_normalized = head is None and settings.is_normalized and settings.queries.is_normalized
    return Checkpoint(
        source=source,
        family=family,
        dim=dim,
        heads=heads,
        dims=dims,
        query_prompt=query_prompt or (preset.query_prompt if preset else ""),
        document_prompt=document_prompt or (preset.document_prompt if preset else ""),
        query_length=query_length,
        document_length=document_length,
        max_positions=max_positions(settings.backbone),
        query_positions=max_positions(settings.queries.backbone),
        normalized=reader.unit_vectors or is_normalized,
        similarity="dot" if is_dot else reader.similarity,
        least_query_length=reader.least_query_length(settings),
        fills_queries=reader.fills_queries(settings),
        marks=reader.marks(settings),
        max_active_dims=_max_active_dims(source, settings) if family == "sparse" and head is None else None,
        bare_pooling=_bare_pooling(settings) if reader is DENSE and not settings.modules else None,
        base=base,
        head=head,
    )


def _find_reader(source: ModelFiles, wanted: Family | None) -> tuple[Family, Reader]:
    """Returns the folder's family and how to read it; the caller's family if the folder does not show one."""
    layout = find_layout(source.folder)
    if layout is None or layout.kind == "dense":
        heads = find_linear_heads(source.folder) if _has_own_transformer(source.folder) else {}
        if heads and wanted is None:
            raise _several_families(source, ("dense", *heads))
        if wanted in heads:
            return wanted, HEAD_READERS[wanted]
    if layout is None:
        if wanted is None or wanted == "late_interaction":  # a bare backbone has no token projection
            raise _unknown_family(source)
        if wanted == "sparse" and not _may_have_vocabulary_head(source.folder):
            raise _no_vocabulary_head(source)
        return wanted, FAMILY_READERS[wanted]
    if layout.kind == "cross_encoder" or layout.reader is None:
        raise cross_encoder_error(source.folder)
    if wanted is not None and wanted != layout.kind:
        raise wrong_family(source.name, layout.kind, wanted)
    return layout.kind, layout.reader


def _may_have_vocabulary_head(folder: Path) -> bool:
    architectures = FolderSettings(folder).architectures
    return not architectures or any(name.endswith("ForMaskedLM") for name in architectures)


def _no_vocabulary_head(source: ModelFiles) -> UnknownFamilyError:
    return UnknownFamilyError(
        f"'{source.name}'에는 어휘마다 점수를 내는 헤드(MLM 헤드)가 없어서 sparse 모델로 쓸 수 없습니다(config.json의 "
        "architectures가 …ForMaskedLM이 아님). SPLADE로 학습된 모델을 넣으세요.",
        f"'{source.name}' has no head that scores the vocabulary (an MLM head), so it cannot be used as a sparse model "
        "(the architectures of its config.json are not …ForMaskedLM); pass a model trained as SPLADE.",
    )


def _has_own_transformer(folder: Path) -> bool:
    """Returns True if a folder's first module is a whole Transformer: no Router, no table of vectors, no adapter."""
    types = FolderSettings(folder).module_types
    return find_adapter(folder) is None and (not types or types[0].endswith("Transformer"))


def _saved_count(source: ModelFiles, settings: FolderSettings, name: str) -> int | None:
    """Returns a number of dimensions among sentence-transformers' settings; None if it is not set."""
    saved: int | None = settings.model.get(name)
    if saved is not None and not is_count(_LARGEST_DIM)(saved):
        raise CheckpointError(
            f"'{source.folder}'의 설정에 적힌 {name}={saved!r:.80}은(는) 쓸 수 없는 값입니다. 모델을 다시 "
            "다운로드하세요.",
            f"The settings of '{source.folder}' say {name}={saved!r:.80}, which is not a number of dimensions; "
            "download the model again.",
        )
    return saved


def _max_active_dims(source: ModelFiles, settings: FolderSettings) -> int | None:
    """Returns a sparse model's ``max_active_dims``; None where an autoencoder keeps no more than that anyway."""
    saved = _saved_count(source, settings, "max_active_dims")
    kept = [module["k"] for module in settings.module_settings if isinstance(module.get("k"), int)]
    return None if saved is None or any(k <= saved for k in kept) else saved


def _bare_pooling(settings: FolderSettings) -> str:
    """Returns the pooling that sentence-transformers puts behind a backbone without ``modules.json``."""
    architectures = settings.backbone.get("architectures") or [""]
    causal = architectures[0].endswith("ForCausalLM") and settings.backbone.get("is_causal", True)
    return "lasttoken" if causal else "mean"


def _check_query_side(settings: FolderSettings, query_dim: Any, dim: Any) -> None:
    """Checks the modules that a Router sends queries through.

    Raises:
        CheckpointError: If their vectors have another size than those of documents, or a table of query weights is
            elsewhere: sentence-transformers looks for it in the working directory.
    """
    if None not in (query_dim, dim) and query_dim != dim:
        raise CheckpointError(
            f"'{settings.folder}'의 Router는 질문을 {query_dim}차원, 문서를 {dim}차원 벡터로 만들어서 둘을 비교할 수 "
            "없습니다. 모델의 출처를 확인하고 다시 다운로드하세요.",
            f"The Router of '{settings.folder}' makes vectors of {query_dim} dimensions from queries and {dim} from "
            "documents, which cannot be compared. Check where the model comes from and download it again.",
        )
    for module in settings.modules:
        path = settings.home / module["path"] / "config.json"
        if str(module["type"]).endswith("SparseStaticEmbedding") and (table := read_json(path).get("path")):
            raise CheckpointError(
                f"'{path}'의 path={table!r:.80}은(는) 질문 가중치를 모델 폴더 밖에서 찾으라는 설정입니다. "
                "sentence-transformers로 한 번 불러와 save_pretrained로 저장하면 가중치가 폴더에 들어갑니다. 그 폴더를 "
                "쓰세요.",
                f"In '{path}', path={table!r:.80} looks for the weights of queries outside the model folder. Load the "
                "model with sentence-transformers, save it with save_pretrained, which puts them into the folder, and "
                "load that one.",
            )


def check_trainable(checkpoint: Checkpoint) -> None:
    """Checks that a model can be changed and saved.

    Raises:
        InvalidArgumentError: If it is only a head on the backbone of a dense model.
    """
    if checkpoint.head is not None:
        name, family, head = checkpoint.source.name, checkpoint.family, checkpoint.head
        raise InvalidArgumentError(
            f"'{name}'의 {family} 모델은 dense 모델에 딸린 헤드({head})라서 미세 조정할 수 없습니다. family='dense'인 "
            "레시피로 dense 모델을 미세 조정하거나 다른 모델을 쓰세요.",
            f"The {family} model of '{name}' is a head ({head}) on its dense model and cannot be fine-tuned; fine-tune "
            "the dense model with a recipe of family='dense', or use another model.",
        )


def check_saved_lengths(source: ModelFiles, **lengths: int | None) -> None:
    """Checks the lengths that a folder's settings say.

    Raises:
        CheckpointError: If one is not a number of tokens.
    """
    for name, length in lengths.items():
        if length is not None and not is_count(LONGEST)(length):
            raise CheckpointError(
                f"'{source.folder}'의 설정에 적힌 {name}={length!r:.80}은(는) 쓸 수 없는 값입니다. 모델을 다시 "
                "다운로드하세요.",
                f"The settings of '{source.folder}' say {name}={length!r:.80}, which is not a number of tokens; "
                "download the model again.",
            )


def _unknown_family(source: ModelFiles) -> CheckpointError:
    if not (source.folder / "config.json").exists():
        return no_model(source.name)
    return UnknownFamilyError(
        f"'{source.name}'의 파일만으로는 dense인지 sparse인지 late interaction인지 알 수 없습니다. 검색용으로 "
        "학습된 모델인지 확인하고, 맞다면 family='dense' 또는 family='sparse'를 넣으세요.",
        f"The files of '{source.name}' do not show whether it is dense, sparse or late interaction. If it was "
        "trained for retrieval, pass family='dense' or family='sparse'.",
    )


def _several_families(source: ModelFiles, families: Iterable[Family]) -> UnknownFamilyError:
    choices = ", ".join(f"family={family!r}" for family in families)
    return UnknownFamilyError(
        f"'{source.name}'에는 여러 종류의 모델이 함께 들어 있습니다. 하나를 고르세요: {choices}. family"
        f"=을 받지 않는 곳에는 load_encoder('{source.name}', family=...)로 불러온 인코더를 넣으세요.",
        f"'{source.name}' holds models of several families; choose one: {choices}. Where there is no family=, pass "
        f"what load_encoder('{source.name}', family=...) returns.",
    )


def no_model(name: str) -> CheckpointNotFoundError:
    """Returns the error for a folder without a model."""
    return CheckpointNotFoundError(
        f"'{name}' 폴더에 모델이 없습니다(config.json과 modules.json이 모두 없음).",
        f"The folder '{name}' contains no model (no config.json, no modules.json).",
    )


def _missing_heads(source: ModelFiles, reason: str) -> MissingHeadsError:
    return MissingHeadsError(
        f"'{source.name}'에 토큰 벡터를 만드는 헤드가 없습니다({reason}). matryoshka_heads.safetensors나 "
        "matryoshka_heads.pt, 또는 1_Dense를 모델 폴더에 넣으세요.",
        f"'{source.name}' lacks the head that makes token vectors ({reason}). Put matryoshka_heads.safetensors, "
        "matryoshka_heads.pt or 1_Dense into the folder.",
    )
