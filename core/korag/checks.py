"""Argument checks: each returns the checked value or raises `InvalidArgumentError`, before any work starts.

The first argument of a check is the argument's name as the caller wrote it, for the message. Checks of texts are in
`korag.text`, those of metadata in `korag.metadata`, those of `where` filters in `korag.filters`.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from korag.errors import InvalidArgumentError
from korag.text import check_texts, to_nfc

T = TypeVar("T")
FusionMethod: TypeAlias = Literal["auto", "anchored", "rrf", "weighted"]
_FUSION_METHODS: tuple[FusionMethod, ...] = get_args(FusionMethod)
_SYNONYMS = (
    ("k", "top_k", "topk", "top_n", "n_results", "limit", "size", "similarity_top_k"),
    ("fetch_k", "prefetch_k", "num_candidates", "candidates", "sparse_top_k", "hybrid_top_k"),
    ("where", "filter", "filters", "pre_filter", "expr", "where_filter"),
    ("fusion", "method", "fusion_mode", "fusion_type", "ranker_type"),
    ("weights", "alpha", "retriever_weights", "ranker_params"),
    ("using", "mode", "vector_query_mode", "retrieval_mode", "query_type"),
    ("lambda_mult", "mmr_threshold", "mmr_lambda"),
    ("embedding", "embeddings", "embedding_function"),
    (
        *("model", "model_name", "models", "encoders", "encoder", "embedding", "embeddings", "embed_model"),
        *("embedding_function", "reranker_model", "cross_encoder", "retrievers"),
    ),
    ("reranker", "base_compressor", "compressor", "node_postprocessor"),
    ("base_retriever", "retriever"),
    ("documents", "nodes", "texts", "docs", "chunks"),
    ("ids", "id", "doc_ids", "node_ids", "document_ids", "uuids"),
    ("metadata", "metadatas", "payloads"),
    (
        *("collection", "vectorstore", "vector_store", "index", "docstore", "store", "client", "storage_context"),
        *("faiss_index", "chroma_collection"),
    ),
    (
        *("path", "persist_directory", "persist_dir", "persist_path", "folder_path", "folder", "index_path"),
        *("location", "collection_name", "index_name", "table_name", "uri", "url"),
    ),
    ("bm25", "enable_hybrid"),
    ("tokenizer", "preprocess_func", "analyzer", "stemmer", "language", "token_pattern"),
    (
        *("min_relevance", "score_threshold", "threshold", "similarity_cutoff", "similarity_threshold", "cutoff"),
        "min_score",
    ),
    ("score_key", "score_field", "score_name"),
    ("cache_folder", "cache_dir"),
    ("show_progress", "show_progress_bar"),
    ("codec", "quantization", "quantization_config", "nbits", "bits", "vector_dtype", "compression"),
    ("pool_factor", "token_pool_factor", "pooling_factor", "document_pool_factor"),
    ("window", "chunk_size"),
    ("stride", "chunk_overlap"),
    ("query_prompt", "query_instruction", "query_prompt_name"),
    ("document_prompt", "text_instruction", "text_prompt", "embed_instruction", "passage_prompt"),
    ("fusion", "mode"),
)
"""Names that KoRAG, LangChain, LlamaIndex and others have for the same keyword; of several real ones, the first."""


# -- single values --------------------------------------------------------------------------------------------


def check_count(name: str, value: object, *, at_least: int = 0) -> int:
    """Returns an integer that is not below `at_least`, as an int; numpy's are integers too, a bool is none.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < at_least:
        raise InvalidArgumentError(
            f"{name}={value!r:.80}: {at_least} 이상의 정수여야 합니다.",
            f"{name}={value!r:.80} is invalid; it must be an integer of at least {at_least}.",
        )
    return int(value)


def check_flag(name: str, value: object) -> bool:
    """Returns a bool.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if not isinstance(value, bool):
        raise InvalidArgumentError(
            f"{name}={value!r:.80}: True 또는 False여야 합니다.",
            f"{name}={value!r:.80} is invalid; it must be True or False.",
        )
    return value


def check_fraction(name: str, value: object) -> float:
    """Returns a relevance threshold, a number in [0, 1]; None counts as 0.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgumentError(
            f"{name}={value!r:.80}: 0과 1 사이의 수여야 합니다. 점수(score)가 아니라 관련도(relevance)의 기준값입니다.",
            f"{name}={value!r:.80} is invalid; it must be a number between 0 and 1. It applies to the relevance, not "
            "the score.",
        )
    return float(value)


def check_choice(name: str, value: object, choices: Collection[T]) -> T:
    """Returns the choice equal to `value`.

    Args:
        name: The argument.
        value: Its value.
        choices: The values allowed. None may be one of them and is not listed in the message.

    Raises:
        InvalidArgumentError: If it is none of them.
    """
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    listed = ", ".join(repr(choice) for choice in choices if choice is not None)
    raise InvalidArgumentError(
        f"{name}={value!r:.80}: 다음 중 하나여야 합니다: {listed}.",
        f"{name}={value!r:.80} is invalid; it must be one of: {listed}.",
    )


def check_fusion(value: object) -> FusionMethod:
    """Returns a fusion method.

    Raises:
        InvalidArgumentError: If there is no such method.
    """
    return check_choice("fusion", value, _FUSION_METHODS)


# -- lists ----------------------------------------------------------------------------------------------------


def check_list(name: str, value: Iterable[T], *, example: str | None = None) -> list[T]:
    """Returns an iterable's items as a list; a single item is refused. A string is one item, not its letters.

    Args:
        name: The argument.
        value: Its value.
        example: A correct value for the message; None puts brackets around the value.

    Raises:
        InvalidArgumentError: If it is a single string, path, dict or another single object.
    """
    if isinstance(value, str | bytes | os.PathLike | Mapping) or not isinstance(value, Iterable):
        example = f"[{value!r:.80}]" if example is None else example
        raise InvalidArgumentError(
            f"{name}={value!r:.80}: {name}={example}처럼 리스트로 넣으세요.",
            f"{name}={value!r:.80} must be a list: {name}={example}.",
        )
    return list(value)


def check_lengths(**lists: Sized) -> None:
    """Raises unless all lists are as long as the first.

    Raises:
        InvalidArgumentError: If one is shorter or longer; the message has both lengths.
    """
    (first, reference), *others = lists.items()
    for name, values in others:
        if len(values) != len(reference):
            raise InvalidArgumentError(
                f"{first}: {len(reference)}개, {name}: {len(values)}개. 개수가 같아야 합니다.",
                f"There are {len(reference)} {first} and {len(values)} {name}; the counts must match.",
            )


def check_ids(ids: Iterable[str], name: str = "ids", *, first: int = 0) -> list[str]:
    """Returns ids as a list of non-empty strings without NUL.

    Args:
        ids: The ids.
        name: The argument, for the message.
        first: Position of the first in it.

    Raises:
        InvalidTextError: If one is not a string.
        InvalidArgumentError: If one is empty or contains NUL, where SQLite would cut it off.
    """
    checked = check_texts(ids, name)
    for index, id_ in enumerate(checked, first):
        if not id_ or "\0" in id_:
            raise InvalidArgumentError(
                f"{name}[{index}]={id_!r:.80}: 비어 있지 않고 NUL 문자가 없는 문자열이어야 합니다.",
                f"{name}[{index}]={id_!r:.80} is invalid; an id must be a non-empty string without NUL.",
            )
    return checked


def check_distinct(name: str, ids: Iterable[str], *, first: int = 0) -> None:
    """Raises if an id occurs twice; ids are the same if their NFC form is.

    Args:
        name: The list that the ids are of, or belong to.
        ids: The ids in its order.
        first: Position of the first.

    Raises:
        InvalidArgumentError: If one does; the message has both positions.
    """
    seen: dict[str, int] = {}
    for index, id_ in enumerate(ids, first):
        before = seen.setdefault(to_nfc(id_), index)
        if before != index:
            raise InvalidArgumentError(
                f"{name}[{index}]의 id {id_!r:.80}이(가) {name}[{before}]에도 있습니다. 한 번에 넣는 id는 서로 달라야 "
                "합니다.",
                f"{name}[{index}] and {name}[{before}] have the same id {id_!r:.80}; ids must differ within a call.",
            )


# -- keywords -------------------------------------------------------------------------------------------------


def called(owner: object) -> str:
    """Returns the name under which users know the class of an object, or a class."""
    cls = owner if isinstance(owner, type) else type(owner)
    name: str = getattr(cls, "_called", cls.__name__)
    return name


def reject_unknown(
    owner: object,
    given: Iterable[str],
    known: Sequence[str],
    *,
    loader: str = "load_encoder",
    takes: str | None = None,
) -> None:
    """Raises for a keyword that would otherwise be dropped silently.

    Args:
        owner: Whose method it is: an object, or the class of a class method; or the name of a function.
        given: Names of the keywords passed.
        known: Names of the keywords accepted.
        loader: The name in `korag` of what loads a model to pass here.
        takes: The keyword that takes a loaded model; None for the usual ones.

    Raises:
        InvalidArgumentError: If one is unknown; the message suggests the closest match.
    """
    owner_name = owner if isinstance(owner, str) else called(owner)
    for name in given:
        if name not in known:
            meant = closest_keyword(name, known)
            korean, english = (
                (f" 혹시 {meant}인가요?", f" Did you mean {meant}?")
                if meant
                else _of_a_model(name, known, loader, takes)
            )
            raise InvalidArgumentError(
                f"{owner_name}에는 '{name}' 인수가 없습니다.{korean} 쓸 수 있는 것: {', '.join(known)}.",
                f"{owner_name} takes no '{name}'.{english} It takes: {', '.join(known)}.",
            )


def _of_a_model(name: str, known: Sequence[str], loader: str, takes: str | None) -> tuple[str, str]:
    """Returns the advice for a setting of a model where loaded models are passed, which have settings of their own."""
    takes = takes or next((each for each in ("encoders", "models", "model_name") if each in known), None)
    if takes is None or name not in _MODEL_SETTINGS[loader]:
        return "", ""
    loaded = f"korag.{loader}('…', {name}=…)"
    call = f"{takes}=[{loaded}]" if takes in ("encoders", "models") else f"{takes}={loaded}"
    return (
        f" 모델의 설정이니 모델을 불러올 때 넣으세요: {call}.",
        f" It is a setting of a model, for where that is loaded: {call}.",
    )


def closest_keyword(name: object, known: Sequence[str]) -> str | None:
    """Returns the known keyword that `name` is a synonym or a misspelling of."""
    if not isinstance(name, str):  # a key of a dict of keywords
        return None
    for synonyms in _SYNONYMS:
        if name in synonyms and (found := [other for other in synonyms if other in known]):
            return found[0]
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff=0.65)), None)


_OF_EVERY_MODEL = (
    *(
        "max_length",
        "dtype",
        "device",
        "backend",
        "batch_tokens",
        "revision",
        "cache_folder",
        "local_files_only",
        "token",
    ),
    "trust_remote_code",
)
_MODEL_SETTINGS = {
    "CrossEncoderReranker": _OF_EVERY_MODEL,
    "load_encoder": (
        *(*_OF_EVERY_MODEL, "query_length", "dim", "query_prompt", "document_prompt", "adapter", "pooling"),
        *("query_cache", "family", "like", "canaries", "server"),
    ),
}
"""Keywords of what loads a model, by its name in `korag`."""
_OTHER_NAMES = {
    "late_interaction": "colbert", "multi_vector": "colbert", "multivector": "colbert", "maxsim": "colbert",
    "splade": "sparse", "vector": "dense", "embedding": "dense", "semantic": "dense", "similarity": "dense",
    "lexical": "bm25", "keyword": "bm25", "text_search": "bm25", "all": "hybrid", "rrf": "hybrid", "fusion": "hybrid",
    "colbert": "late_interaction",
}  # fmt: skip
"""Legs and families by what else they are called: kinds of models, each other's names, and other stores'."""


def meant_name(name: object, known: Collection[str]) -> tuple[str, str]:
    """Returns " 혹시 …인가요?" and " Did you mean …?" for a leg or choice that there is not; empty if none is like it.

    Args:
        name: What was given.
        known: The names there are.
    """
    plain = str(name).strip().lower().replace("-", "_").replace(" ", "_")
    lower = {each.lower(): each for each in known}
    meant = lower.get(plain) or lower.get(_OTHER_NAMES.get(plain, ""))
    if meant is None:
        meant = next(iter(difflib.get_close_matches(plain, list(known), 1, cutoff=0.65)), None)
    return (f" 혹시 {meant}인가요?", f" Did you mean {meant}?") if meant else ("", "")


def check_deletion(everything: str, **selectors: object) -> None:
    """Raises unless something says which documents to delete.

    Args:
        everything: How to delete all documents, e.g. ``"where={}"``.
        selectors: The arguments that select documents; None means not given.

    Raises:
        InvalidArgumentError: If none is given.
    """
    if all(value is None for value in selectors.values()):
        names = list(selectors)
        raise InvalidArgumentError(
            f"지울 대상이 없습니다. {', '.join(names)} 중 하나는 넣어야 합니다. 모두 지우려면: {everything}.",
            f"Nothing to delete: neither {' nor '.join(names)} is given. To delete everything, pass {everything}.",
        )


# -- weights --------------------------------------------------------------------------------------------------


def check_weights(legs: Collection[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Returns the weight of every leg, 1 where none is given.

    Raises:
        InvalidArgumentError: If `weights` names an unknown leg, a weight is negative or not finite, or all are 0.
    """
    if weights is not None and not isinstance(weights, Mapping):
        raise InvalidArgumentError(
            f"weights={weights!r:.80}: dict여야 합니다. 예: {{'dense': 1.0, 'bm25': 0.5}}",
            f"weights={weights!r:.80} must be a dict, for example {{'dense': 1.0, 'bm25': 0.5}}.",
        )
    weights = weights or {}
    for leg, weight in weights.items():
        if leg not in legs:
            korean, english = meant_name(leg, legs)
            raise InvalidArgumentError(
                f"weights에 없는 검색 방식 '{leg}'이(가) 있습니다.{korean} 쓸 수 있는 이름: {', '.join(legs)}.",
                f"weights names '{leg}', which is not a leg.{english} The legs are: {', '.join(legs)}.",
            )
        if not isinstance(weight, numbers.Real) or not 0 <= weight < math.inf:
            raise InvalidArgumentError(
                f"weights['{leg}']={weight!r:.80}: 0 이상의 유한한 수여야 합니다.",
                f"weights['{leg}']={weight!r:.80} is invalid; it must be a finite number of at least 0.",
            )
    checked = {leg: float(weights.get(leg, 1.0)) for leg in legs}
    if checked and not any(checked.values()):
        raise InvalidArgumentError(
            f"weights={weights!r:.80}: 모두 0이면 순위를 정할 수 없습니다. 하나는 0보다 커야 합니다.",
            f"weights={weights!r:.80} are all 0, so nothing can be ranked; at least one must be greater than 0.",
        )
    return checked


def name_weights(legs: Sequence[str], weights: Mapping[str, float] | Sequence[float] | None) -> dict[str, float] | None:
    """Returns checked weights by leg, given by name or as a list.

    Args:
        legs: The legs to fuse, in the collection's order: the encoders', then ``"bm25"``.
        weights: By name, or a list in that order; None for equal weights.

    Raises:
        InvalidArgumentError: If a list has another length, or for the reasons of `check_weights`.
    """
    if weights is None:
        return None
    if isinstance(weights, Sequence) and not isinstance(weights, str):
        if len(weights) != len(legs):
            raise InvalidArgumentError(
                f"weights가 {len(weights)}개인데 검색 방식은 {len(legs)}개입니다({', '.join(legs)}). 개수를 맞추거나 "
                "이름을 적은 dict를 넣으세요.",
                f"There are {len(weights)} weights for {len(legs)} legs ({', '.join(legs)}); give one for each, or a "
                "dict by name.",
            )
        return check_weights(legs, dict(zip(legs, weights, strict=True)))
    mapping: Any = weights  # possibly a string; the check reports it
    return check_weights(legs, mapping)
