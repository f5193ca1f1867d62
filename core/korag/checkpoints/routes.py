"""Routers: modules of sentence-transformers that send queries and documents through modules of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from korag.checkpoints.files import broken
from korag.errors import CheckpointError

Side = Literal["query", "document"]
"""Texts that have a route: the tasks of encoders."""
ROUTER_SETTINGS = ("router_config.json", "config.json")
"""Files with a Router's settings; the second is that of its predecessor, ``Asym``."""
_ROUTERS = ("Router", "Asym")
_MODALITY = "text"


def is_router(module_type: str) -> bool:
    """Returns True for the class name of a Router, e.g. ``"sentence_transformers.models.Router"``."""
    return module_type.rpartition(".")[2] in _ROUTERS


def find_route(
    side: Side, routes: Iterable[str], mappings: Mapping[tuple[str | None, Any], str] | None = None
) -> str | None:
    """Returns the route of a Router for texts, in sentence-transformers' order of precedence; None if it has none.

    Args:
        side: Queries or documents.
        routes: Names of its routes.
        mappings: Its ``route_mappings``: (task, modality) → route, where None stands for any.
    """
    keys = ((side, _MODALITY), (side, None), (None, _MODALITY), (None, None))
    mapped = next((mappings[key] for key in keys if key in mappings), None) if mappings else None
    return mapped if mapped is not None else next((name for name in (side, _MODALITY) if name in routes), None)


def route_modules(settings: Mapping[str, Any], side: Side, path: Path) -> list[tuple[str, str]]:
    """Returns the modules of one route of a Router.

    Args:
        settings: The Router's settings.
        side: Queries or documents.
        path: The file with the settings, for messages.

    Returns:
        (folder inside the Router's, class name) of each module, in order.

    Raises:
        CheckpointError: If it has no such route, or its settings are damaged.
    """
    types, structure = settings.get("types"), settings.get("structure")
    if not isinstance(types, dict) or not isinstance(structure, dict):
        raise broken(path, "not the settings of a Router: types or structure is missing")
    parameters = settings.get("parameters") or {}
    route = find_route(side, structure, _read_mappings(parameters.get("route_mappings") or {}, path))
    if route is None:
        raise _no_route(path, side, structure)
    modules = structure.get(route)
    if not modules or not isinstance(modules, list) or not all(name in types for name in modules):
        raise broken(path, f"the route {route!r} has no modules, or one without a type")
    found = [(name, str(types[name])) for name in modules]
    if any(is_router(kind) for _, kind in found):
        raise broken(path, "a Router inside a Router")
    return found


def _read_mappings(saved: Mapping[str, str], path: Path) -> dict[tuple[str | None, Any], str]:
    """Reads the keys of saved mappings, which are the text of a tuple: ``"('query', None)"``."""
    try:
        return {ast.literal_eval(key): route for key, route in saved.items()}
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise broken(path, f"route_mappings: {error}") from error


def _no_route(path: Path, side: Side, routes: Iterable[str]) -> CheckpointError:
    korean = "질문" if side == "query" else "문서"
    there = ", ".join(map(repr, routes))
    return CheckpointError(
        f"'{path}'의 Router에 {korean}({side}) 경로가 없습니다. 있는 경로: {there}. 질문과 문서를 모두 "
        f"처리하는 모델인지 확인하고, 맞다면 {korean}에 쓸 경로를 route_mappings에 넣으세요"
        f'(예: {{"(\'{side}\', None)": "경로 이름"}}).',
        f"The Router in '{path}' has no route for {side} texts; it has {there}. Check that the model is for queries "
        f"and documents. If it is, name the route for {side} texts in route_mappings, e.g. "
        f'{{"(\'{side}\', None)": "name of the route"}}.',
    )
