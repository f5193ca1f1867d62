"""Translation of HuggingFaceEmbeddings' keyword dictionaries.

Its ``model_kwargs`` are those of ``SentenceTransformer(…)`` and its ``encode_kwargs`` those of ``encode(…)``.
Keys with a KoRAG equivalent are mapped, keywords of `korag.load_encoder` are passed through, and any other key is an
error, because an ignored setting would go unnoticed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from korag.checks import check_choice, check_count, check_flag
from korag.encoders.load import load_encoder
from korag.errors import InvalidArgumentError

TOKENS_A_TEXT = 128
"""Tokens per text of `batch_size`: sentence-transformers' default of 32 texts is KoRAG's of 4,096 tokens."""
_QUERY_NAMES = ("query",)
_DOCUMENT_NAMES = ("document", "passage", "corpus")
_LOADING = set(inspect.signature(load_encoder).parameters) - {"model", "family", "cache_folder"}
_TOKENS = ("token", "use_auth_token")
_INNER = {"dtype": "dtype", "torch_dtype": "dtype"}
_MODEL_KEYS = {"truncate_dim", "use_auth_token", "prompts", "default_prompt_name", "model_kwargs"}
_ENCODE_KEYS = {"prompt", "prompt_name", "batch_size", "normalize_embeddings", "truncate_dim", "device"}
_AS_THEY_ARE: dict[str, tuple[object, ...]] = {
    "convert_to_numpy": (True, False),  # the result is Python floats either way
    "convert_to_tensor": (True, False),
    "output_value": ("sentence_embedding",),
    "precision": ("float32",),
}
"""Keys of ``encode(…)`` that have no effect here, with the values that are accepted."""


@dataclass(frozen=True)
class Settings:
    """The translated settings.

    Attributes:
        loading: Keywords of `korag.load_encoder`.
        normalize_queries: Scale query vectors to unit length, even if the model does not.
        normalize_documents: The same for documents.
    """

    loading: dict[str, Any]
    normalize_queries: bool
    normalize_documents: bool


def read_settings(
    model_kwargs: Mapping[str, Any],
    encode_kwargs: Mapping[str, Any] = MappingProxyType({}),
    query_encode_kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Translates HuggingFaceEmbeddings' dictionaries.

    Args:
        model_kwargs: Keywords of ``SentenceTransformer(…)``, or of `korag.load_encoder`.
        encode_kwargs: Keywords of ``encode(…)`` for documents, and for queries if the next is empty.
        query_encode_kwargs: Keywords of ``encode(…)`` for queries.

    Raises:
        InvalidArgumentError: If a key is unknown, or two keys contradict each other.
    """
    loading: dict[str, Any] = {}
    _read_model(loading, model_kwargs)
    prompts = model_kwargs.get("prompts") or {}
    _read_encode(loading, encode_kwargs, "encode_kwargs")
    _read_encode(loading, query_encode_kwargs, "query_encode_kwargs")
    for_queries = query_encode_kwargs or encode_kwargs
    document_prompt = _prompt(encode_kwargs, prompts, "encode_kwargs", _DOCUMENT_NAMES)
    query_prompt = document_prompt if "prompt" in encode_kwargs else None
    if query_encode_kwargs:
        query_prompt = _prompt(query_encode_kwargs, prompts, "query_encode_kwargs", _QUERY_NAMES)
    _put(loading, "document_prompt", document_prompt, "encode_kwargs")
    _put(loading, "query_prompt", query_prompt, "query_encode_kwargs" if query_encode_kwargs else "encode_kwargs")
    return Settings(
        loading,
        normalize_queries=bool(for_queries.get("normalize_embeddings")),
        normalize_documents=bool(encode_kwargs.get("normalize_embeddings")),
    )


def hide_tokens(model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy with a Hub token wrapped in `SecretStr`."""
    return {
        name: SecretStr(value) if name in _TOKENS and isinstance(value, str) else value
        for name, value in model_kwargs.items()
    }


def without_tokens(state: dict[Any, Any]) -> dict[Any, Any]:
    """Returns the state that pydantic would pickle, without a Hub token."""
    fields = dict(state["__dict__"])
    fields["model_kwargs"] = {name: v for name, v in fields["model_kwargs"].items() if name not in _TOKENS}
    return {**state, "__dict__": fields}


def _read_model(loading: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in _LOADING:
            _put(loading, name, _token(value) if name == "token" else value, "model_kwargs")
        elif name not in _MODEL_KEYS:
            raise _unknown("model_kwargs", name, sorted(_LOADING | _MODEL_KEYS))
    _put(loading, "dim", given.get("truncate_dim"), "model_kwargs")
    _put(loading, "token", _token(given.get("use_auth_token")), "model_kwargs")
    for name, value in (given.get("model_kwargs") or {}).items():
        if name not in _INNER:
            raise _unknown("model_kwargs['model_kwargs']", name, sorted(_INNER))
        _put(loading, _INNER[name], str(value).removeprefix("torch."), "model_kwargs['model_kwargs']")
    prompts = given.get("prompts") or {}
    if unknown := [name for name in prompts if name not in (*_QUERY_NAMES, *_DOCUMENT_NAMES)]:
        used = {given.get("default_prompt_name")}
        if not set(unknown) <= used:
            raise _unknown("model_kwargs['prompts']", unknown[0], [*_QUERY_NAMES, *_DOCUMENT_NAMES])
    default = given.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise InvalidArgumentError(
            f"default_prompt_name={default!r}이(가) prompts에 없습니다. prompts={{{default!r}: '...'}}도 넣거나 "
            "빼세요. 모델의 프롬프트는 자동으로 쓰입니다.",
            f"default_prompt_name={default!r} is not among `prompts`; pass prompts={{{default!r}: '...'}} too, or "
            "leave it out: the model's own prompts are used anyway.",
        )
    for slot, names in (("query_prompt", _QUERY_NAMES), ("document_prompt", _DOCUMENT_NAMES)):
        named = next((prompts[name] for name in names if name in prompts), prompts.get(default))
        _put(loading, slot, named, "model_kwargs['prompts']")


def _read_encode(loading: dict[str, Any], given: Mapping[str, Any], where: str) -> None:
    for name, value in given.items():
        if name in _AS_THEY_ARE:
            check_choice(f"{where}[{name!r}]", value, _AS_THEY_ARE[name])
        elif name == "show_progress_bar":
            raise InvalidArgumentError(
                f"{where}의 show_progress_bar 대신 show_progress={value!r}을(를) 넣으세요.",
                f"Pass show_progress={value!r} instead of show_progress_bar in {where}.",
            )
        elif name not in _ENCODE_KEYS:
            raise _unknown(where, name, sorted([*_ENCODE_KEYS, *_AS_THEY_ARE]))
    _put(loading, "dim", given.get("truncate_dim"), where)
    _put(loading, "device", given.get("device"), where)
    normalize = given.get("normalize_embeddings", False)
    check_flag(f"{where}['normalize_embeddings']", normalize)
    size = check_count(f"{where}['batch_size']", given.get("batch_size", 1), at_least=1)
    if "batch_size" in given and where == "encode_kwargs":  # a query is one text, whatever its batch size
        _put(loading, "batch_tokens", TOKENS_A_TEXT * size, where)


def _prompt(given: Mapping[str, Any], prompts: Mapping[str, str], where: str, natural: tuple[str, ...]) -> str | None:
    """Returns the prompt set in a dictionary of ``encode(…)``; None for the model's own."""
    if given.get("prompt") is not None:
        return str(given["prompt"])
    name = given.get("prompt_name")
    if name is None or (name in natural and name not in prompts):
        return None
    if name in prompts:
        return prompts[name]
    raise InvalidArgumentError(
        f"{where}의 prompt_name={name!r}은(는) 쓸 수 없습니다. 질문과 문서의 프롬프트는 자동으로 붙습니다. 빼거나 "
        f"prompt='...'에 프롬프트 문장을 넣으세요.",
        f"prompt_name={name!r} in {where} is invalid: prompts are added to queries and documents automatically, so "
        "leave it out, or pass the text as prompt='...'.",
    )


def _put(loading: dict[str, Any], name: str, value: Any, where: str) -> None:
    if value is None:
        return
    if name in loading and loading[name] != value:
        raise InvalidArgumentError(
            f"{name}이(가) {loading[name]!r}이면서 {where}에서는 {value!r}입니다. 하나만 넣으세요.",
            f"{name} is {loading[name]!r}, but {value!r} in {where}; give only one.",
        )
    loading[name] = value


def _token(value: Any) -> str | None:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if value in (None, True):  # True: the token stored by `hf auth login`, the default
        return None
    if not isinstance(value, str):
        raise InvalidArgumentError(
            "token은 허브 토큰 문자열이어야 합니다. 저장된 토큰을 쓰려면 빼세요.",
            "token must be a Hub token; leave it out to use the stored one.",
        )
    return value


def _unknown(where: str, name: str, known: list[str]) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{where}의 {name!r}은(는) KoRAG에서 쓰지 않는 설정입니다. 빼세요. 쓸 수 있는 것: {', '.join(known)}.",
        f"{name!r} in {where} has no meaning in KoRAG; leave it out. Valid keys: {', '.join(known)}.",
    )
