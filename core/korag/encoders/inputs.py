"""The modules that texts enter a loaded model by, and their tokenizers; with a Router, queries have their own."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from korag.checkpoints.routes import find_route
from korag.encoders.base import Task
from korag.encoders.kinds import is_kind

TASKS: tuple[Task, ...] = ("query", "document")
_wrapped: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Static embeddings have a tokenizer of the tokenizers library; this is the same for transformers' interface."""


def chains(model: Any) -> list[Any]:
    """Returns the chains of modules in a model: itself, and the routes of its Routers."""
    routers = [module for module in model.children() if is_kind(module, "Router")]
    return [model, *(route for router in routers for route in router.sub_modules.values())]


def tasks_of(model: Any) -> tuple[Task, ...]:
    """Returns the tasks for which a model runs different modules; documents stand for both if it has no Router."""
    return TASKS if len(chains(model)) > 1 else ("document",)


def input_module(model: Any, task: Task) -> Any:
    """Returns the module that tokenizes the texts of a task."""
    first: Any = model[0]
    if not is_kind(first, "Router"):
        return first
    routes: dict[str | None, Any] = dict(first.sub_modules.items())
    return routes[find_route(task, first.sub_modules, first.route_mappings)][0]


def input_tokenizer(model: Any, task: Task) -> Any:
    """Returns the tokenizer for the texts of a task; one of transformers, for counting and showing tokens."""
    module = input_module(model, task)
    if not _is_static(module):
        return module.tokenizer
    if module not in _wrapped:
        from transformers import PreTrainedTokenizerFast

        _wrapped[module] = PreTrainedTokenizerFast(tokenizer_object=module.tokenizer)  # type: ignore[no-untyped-call]
    return _wrapped[module]


def adds_special_tokens(model: Any, task: Task) -> bool:
    """Returns False if the texts of a task are looked up in a table, token by token."""
    module = input_module(model, task)
    return not _is_static(module) and not is_kind(module, "SparseStaticEmbedding")


def limit_length(model: Any, task: Task, length: int) -> None:
    """Sets the number of tokens after which the texts of a task are truncated."""
    module = input_module(model, task)
    if _is_static(module):
        module.tokenizer.enable_truncation(length)
        return
    if task == "document" and getattr(module, "document_length", None) is not None:
        module.document_length = length  # it comes before the other, which queries may go by
    else:
        module.max_seq_length = length
    if is_kind(module, "SparseStaticEmbedding"):
        input_tokenizer(model, task).model_max_length = length


def _is_static(module: Any) -> bool:
    return is_kind(module, "StaticEmbedding")
