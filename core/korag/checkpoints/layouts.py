"""What a model folder holds: on-disk layout → family, dims, prompts and lengths. Reads no weights.

Layouts: sentence-transformers (``modules.json``; dense, sparse and multi-vector), PyLate (``model_type``
``"ColBERT"``), Stanford-NLP ColBERT (``HF_ColBERT``, ``artifact.metadata``), Matryoshka heads beside either,
and a PEFT adapter whose base is a checkpoint of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.matryoshka import find_heads, read_dims
from korag.checkpoints.presets import SPECS, Family, ModelSpec
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MissingHeadsError,
    UnknownFamilyError,
    WrongFamilyError,
)

Kind = Family | Literal["cross_encoder"]
"""What a folder can hold: a model that makes vectors, or one that scores pairs."""
_USE_INSTEAD: dict[Kind, str] = {
    "dense": "korag.DenseEncoder, korag.Collection, KoEmbeddings (LangChain), KoEmbedding (LlamaIndex)",
    "sparse": "korag.SparseEncoder, korag.Collection, KoSparseEmbeddings (LangChain), KoSparseEmbedding (LlamaIndex)",
    "late_interaction": "korag.LateInteractionEncoder, korag.Collection, KoColBERTRetriever and KoColBERTReranker "
    "(LangChain), KoColBERTRerank (LlamaIndex)",
    "cross_encoder": "korag.CrossEncoderReranker, KoCrossEncoderReranker (LangChain), KoCrossEncoderRerank "
    "(LlamaIndex)",
}
_FAMILY_OF_TYPE: dict[str, Family] = {
    "SentenceTransformer": "dense",
    "SparseEncoder": "sparse",
    "MultiVectorEncoder": "late_interaction",
    "ColBERT": "late_interaction",
}
_POSITION_OFFSET = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}  # position ids start after padding_idx
_UNSET_LENGTH = 1_000_000  # a tokenizer without a limit says 1e30
_TRANSFORMER_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names of the Transformer module's own settings, in sentence-transformers' order; all but the first are old."""
_PYLATE_KEYS = {
    "query_length", "document_length", "do_query_expansion", "attend_to_expansion_tokens", "attend_to_mask_tokens",
    "query_prefix", "document_prefix", "skiplist_words",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model folder, described.

    Attributes:
        source: Where the files are.
        family: Which encoder it is for.
        dim: Size of its vectors as saved (of the vocabulary for sparse).
        heads: The Matryoshka heads file, if any.
        dims: Dimensions to choose from: the heads', or `dim` alone.
        query_prompt: Put before every query.
        document_prompt: Put before every document.
        query_length: Longest query in tokens, prompt and special tokens included.
        document_length: Longest document in tokens, likewise.
        max_positions: What the backbone can take at most; None if it does not say.
        normalized: Whether the model itself makes unit vectors.
        similarity: ``"cosine"`` or ``"dot"``.
        base: The base checkpoint of a PEFT adapter.
    """

    source: ModelFiles
    family: Family
    dim: int
    heads: Path | None
    dims: tuple[int, ...]
    query_prompt: str
    document_prompt: str
    query_length: int | None
    document_length: int | None
    max_positions: int | None
    normalized: bool
    similarity: str
    base: Checkpoint | None = None

    def without_token(self) -> Checkpoint:
        """Returns it (and its base) without the Hub token, to be pickled."""
        base = self.base.without_token() if self.base else None
        return replace(self, source=replace(self.source, token=None), base=base)


def detect_family(folder: Path) -> Family | None:
    """Tells a checkpoint's family from its settings files; None if they do not say.

    Raises:
        WrongFamilyError: If it is a cross-encoder, which has no vectors at all.
    """
    kind = detect_kind(folder)
    if kind == "cross_encoder":
        raise cross_encoder_error(folder)
    return kind


def detect_kind(folder: Path) -> Kind | None:
    """`detect_family`, with cross-encoders among what it can be."""
    settings = read_json(folder / "config_sentence_transformers.json")
    adapter = find_adapter(folder)
    task = read_json(adapter / "adapter_config.json").get("task_type") if adapter else None
    if settings.get("model_type") == "CrossEncoder" or task == "SEQ_CLS":
        return "cross_encoder"
    if find_heads(folder) or _says_colbert(folder) or (folder / "artifact.metadata").exists():
        return "late_interaction"
    if family := _FAMILY_OF_TYPE.get(str(settings.get("model_type"))):
        return family
    types = [str(module["type"]) for module in read_modules(folder)]
    if any(name.startswith("pylate.") or name.endswith("MultiVectorMask") for name in types):
        return "late_interaction"
    if any("SpladePooling" in name or "MLMTransformer" in name or "Sparse" in name for name in types):
        return "sparse"
    if any(name.endswith(("Pooling", "StaticEmbedding")) for name in types) or adapter is not None:
        return "dense"
    if any(name.endswith("ForSequenceClassification") for name in _architectures(folder)):
        return "cross_encoder"
    return None


def read_checkpoint(source: ModelFiles, *, family: Family | None = None, base: Checkpoint | None = None) -> Checkpoint:
    """Describes the checkpoint in a folder.

    Args:
        source: Its files.
        family: What the caller needs it to be; None to take what it is.
        base: The base, if the folder is a PEFT adapter.

    Raises:
        UnknownFamilyError: If the files do not tell the family and the caller does not either.
        WrongFamilyError: If it is of another family than `family`.
        MissingHeadsError: If it must have Matryoshka heads and they are missing or unreadable.
        CheckpointError: If a settings file is missing or broken.
    """
    folder = source.folder
    found = detect_family(folder)
    family = _agree(source, found, family)
    own_modules = read_modules(folder)
    bare = base is not None and not own_modules  # an adapter without a pipeline of its own runs in its base's
    home = base.source.folder if base is not None and bare else folder
    settings = read_json(home / "config_sentence_transformers.json") | read_json(
        folder / "config_sentence_transformers.json"
    )
    modules = read_modules(home)
    stanford = _says_colbert(folder) and not modules
    metadata = read_json(folder / "artifact.metadata") if stanford else {}
    module_settings = [read_json(home / module["path"] / "config.json") for module in modules[1:]]
    backbone = backbone_settings(folder, own_modules, base)
    spec = SPECS.get(source.name) or (base if bare else None)

    if family == "late_interaction" and not (
        stanford or find_heads(folder) or any("out_features" in module for module in module_settings)
    ):
        raise _no_heads(source, "no 1_Dense, and no HF_ColBERT in config.json")
    dim = metadata.get("dim") or 128 if stanford else _dim(module_settings, backbone, family)
    if not isinstance(dim, int):
        raise CheckpointError(
            f"'{folder}'에서 벡터의 차원을 읽을 수 없습니다. config.json이 있는지 확인하세요.",
            f"The vector size of '{folder}' cannot be read; is its config.json there?",
        )

    heads = find_heads(folder) if family == "late_interaction" else None
    if heads is None and isinstance(spec, ModelSpec) and spec.dims:
        raise _no_heads(source, f"{source.name} has the heads {', '.join(map(str, spec.dims))}")
    dims = read_dims(heads, backbone.get("hidden_size")) if heads else (dim,)
    query_prompt, document_prompt = _prompts(settings, metadata, stanford=stanford)
    query_length, document_length = _lengths(settings, metadata, backbone, family, stanford=stanford)
    return Checkpoint(
        source=source,
        family=family,
        dim=max(dims) if heads and dim not in dims else dim,
        heads=heads,
        dims=dims,
        query_prompt=query_prompt or (spec.query_prompt if spec else ""),
        document_prompt=document_prompt or (spec.document_prompt if spec else ""),
        query_length=query_length,
        document_length=document_length,
        max_positions=_max_positions(backbone),
        normalized=family == "late_interaction" or any(str(m["type"]).endswith("Normalize") for m in modules),
        similarity="dot" if str(settings.get("similarity_fn_name")) == "dot" or family == "sparse" else "cosine",
        base=base,
    )


def find_adapter(folder: Path) -> Path | None:
    """Returns the folder with ``adapter_config.json``: the checkpoint's own or its Transformer module's."""
    modules = read_modules(folder)
    places = [folder, *(folder / module["path"] for module in modules[:1])]
    return next((place for place in places if (place / "adapter_config.json").exists()), None)


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Returns the entries of ``modules.json``, in order; none where there is no such file."""
    path = folder / "modules.json"
    modules: Any = _parse(path) if path.exists() else []
    if not isinstance(modules, list) or not all(isinstance(m, dict) and {"path", "type"} <= m.keys() for m in modules):
        raise _broken(path, "not a list of modules")
    return modules


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one where there is no such file."""
    if not path.exists():
        return {}
    value = _parse(path)
    if not isinstance(value, dict):
        raise _broken(path, "not a JSON object")
    return value


def read_transformer_settings(folder: Path) -> dict[str, Any]:
    """Returns sentence-transformers' own settings of a Transformer module: lengths, lower-casing."""
    return next((found for name in _TRANSFORMER_SETTINGS if (found := read_json(folder / name))), {})


def _architectures(folder: Path) -> list[str]:
    return read_json(folder / "config.json").get("architectures") or []


def _says_colbert(folder: Path) -> bool:
    return "HF_ColBERT" in _architectures(folder)


def _dim(modules: list[dict[str, Any]], backbone: dict[str, Any], family: Family) -> Any:
    """Size of the vectors that leave the last module which changes it."""
    sizes = [
        module.get("out_features") or module.get("hidden_dim") or _pooled_size(module) for module in modules
    ]  # Dense, SparseAutoEncoder, (Splade)Pooling
    size = next((size for size in reversed(sizes) if size), None)
    return size or backbone.get("vocab_size" if family == "sparse" else "hidden_size")


def _pooled_size(module: dict[str, Any]) -> int | None:
    size = module.get("embedding_dimension") or module.get("word_embedding_dimension")
    modes = module.get("pooling_mode")  # several modes are concatenated; until 5.4 each was a key of its own
    flags = [value is True for name, value in module.items() if name.startswith("pooling_mode_")]
    return size * max(len(modes) if isinstance(modes, list) else sum(flags), 1) if isinstance(size, int) else None


def cross_encoder_error(name: object) -> WrongFamilyError:
    """The error for a cross-encoder where vectors are needed; it names the classes to use."""
    return WrongFamilyError(
        f"'{name}'은(는) 크로스 인코더라서 벡터를 만들지 않습니다. 검색 모델을 넣거나, 재순위라면 다음을 쓰세요: "
        f"{_USE_INSTEAD['cross_encoder']}.",
        f"'{name}' is a cross-encoder, which makes no vectors; pass a retrieval model, or rerank with: "
        f"{_USE_INSTEAD['cross_encoder']}.",
    )


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _broken(path, str(error)) from error


def _broken(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"설정 파일 '{path}'을(를) 읽을 수 없습니다({reason}). 모델을 다시 받으세요.",
        f"The settings file '{path}' cannot be read ({reason}); fetch the model again.",
    )


def _agree(source: ModelFiles, found: Family | None, wanted: Family | None) -> Family:
    if found is None:
        if wanted is None or (wanted == "late_interaction"):
            if not (source.folder / "config.json").exists():
                raise CheckpointNotFoundError(
                    f"'{source.name}' 폴더에는 모델이 없습니다(config.json도 modules.json도 없음).",
                    f"The folder '{source.name}' holds no model (no config.json, no modules.json).",
                )
            raise UnknownFamilyError(
                f"'{source.name}'의 파일만으로는 dense인지 sparse인지 late interaction인지 알 수 없습니다. 검색용으로 "
                "학습된 모델인지 확인하고, 맞다면 family='dense' 또는 family='sparse'를 넣으세요.",
                f"The files of '{source.name}' do not tell whether it is dense, sparse or late interaction. If it "
                "was trained for retrieval, pass family='dense' or family='sparse'.",
            )
        return wanted
    if wanted is not None and wanted != found:
        raise wrong_family(source.name, found, wanted)
    return found


def wrong_family(name: str, found: Kind, wanted: Kind) -> WrongFamilyError:
    """The error for a model of one family put where another belongs; it names the classes to use."""
    return WrongFamilyError(
        f"'{name}'은(는) {found} 모델인데 {wanted} 자리에 넣었습니다. 그대로 쓰면 오류 없이 "
        f"점수만 나빠집니다. 대신 쓸 클래스: {_USE_INSTEAD[found]}.",
        f"'{name}' is a {found} model put where a {wanted} one belongs; it would give poor "
        f"scores and no error. Use instead: {_USE_INSTEAD[found]}.",
    )


def _no_heads(source: ModelFiles, reason: str) -> MissingHeadsError:
    return MissingHeadsError(
        f"'{source.name}'에 토큰 벡터를 만드는 헤드가 없습니다({reason}). matryoshka_heads.safetensors나 "
        "matryoshka_heads.pt, 또는 1_Dense를 함께 두세요.",
        f"'{source.name}' lacks the head that makes token vectors ({reason}). Put matryoshka_heads.safetensors, "
        "matryoshka_heads.pt or 1_Dense beside it.",
    )


def backbone_settings(folder: Path, modules: list[dict[str, Any]], base: Checkpoint | None = None) -> dict[str, Any]:
    """Settings of the Transformer module; an adapter's own go over those of its base."""
    merged: dict[str, Any] = {}
    if base is not None:
        merged = backbone_settings(base.source.folder, read_modules(base.source.folder))
    place = folder / (modules[0]["path"] if modules else "")
    for name in ("config.json", "tokenizer_config.json"):
        merged |= read_json(place / name)
    return merged | read_transformer_settings(place)


def _prompts(settings: dict[str, Any], metadata: dict[str, Any], *, stanford: bool) -> tuple[str, str]:
    """The saved prompts, looked up in sentence-transformers' own order; empty where nothing is saved."""
    saved = settings.get("prompts") or {}
    default = saved.get(settings.get("default_prompt_name") or "")
    query = saved.get("query", default)
    document = next((saved[name] for name in ("document", "passage", "corpus") if name in saved), default)
    if "query_prefix" in settings:  # PyLate: the marker goes before the prompt
        query = (settings["query_prefix"] or "") + (query or "").removeprefix(settings["query_prefix"] or "")
    if "document_prefix" in settings:
        prefix = settings["document_prefix"] or ""
        document = prefix + (document or "").removeprefix(prefix)
    if stanford:  # markers as token ids
        query = (metadata.get("query_token_id") or "[unused0]") + " "
        document = (metadata.get("doc_token_id") or "[unused1]") + " "
    return query or "", document or ""


def _lengths(
    settings: dict[str, Any], metadata: dict[str, Any], backbone: dict[str, Any], family: Family, *, stanford: bool
) -> tuple[int | None, int | None]:
    """Longest query and document, by sentence-transformers' own order of precedence."""
    own, _ = own_length(backbone)
    if family != "late_interaction":
        return own, own
    document = backbone.get("document_length") or settings.get("document_length") or metadata.get("doc_maxlen") or own
    query = backbone.get("query_length") or settings.get("query_length")
    if "query_expansion" in backbone or "query_expansion" in settings:
        expansion = backbone.get("query_expansion", settings.get("query_expansion")) or {}
        if expansion.get("strategy") == "fixed":
            return expansion.get("length"), document
        return max(query, expansion.get("length", 0)) if query else own, document  # "min" is a floor, no limit
    if stanford:
        return metadata.get("query_maxlen") or 32, document  # 32: ColBERT's own
    if _PYLATE_KEYS & settings.keys() and settings.get("do_query_expansion") is not False:
        return settings.get("query_length") or 32, document  # 32: PyLate's default
    return query or own, document


def own_length(backbone: dict[str, Any]) -> tuple[int | None, int | None]:
    """Longest text of a Transformer module in tokens, and what its positions can take at most."""
    positions = _max_positions(backbone)
    own = backbone.get("max_seq_length")
    if own is None:
        limits = [backbone.get("model_max_length"), positions]
        own = min((int(limit) for limit in limits if limit and limit < _UNSET_LENGTH), default=None)
    return own, positions


def _max_positions(backbone: dict[str, Any]) -> int | None:
    positions = backbone.get("max_position_embeddings")
    return positions - _POSITION_OFFSET.get(str(backbone.get("model_type")), 0) if positions else None
