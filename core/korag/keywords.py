"""Keywords of functions: other names for the same thing, and errors that name the right one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from korag.checks import called, reject_unknown
from korag.errors import InvalidArgumentError

P = ParamSpec("P")
R = TypeVar("R")
Class = TypeVar("Class", bound=type)
MODEL_NAMES = {"model": "model_name", "model_name": "model"}
"""Both are taken wherever one of them is: LangChain's classes say the first, LlamaIndex's the second."""


def replace_names(
    keywords: Mapping[str, Any], names: Mapping[str, str], twice: Callable[[str, str], InvalidArgumentError]
) -> dict[str, Any]:
    """Returns keywords with other names replaced by the one used here.

    Args:
        keywords: The keywords of the call.
        names: The name used here, by other name.
        twice: Makes the error for a keyword given under both, from the other name and the one used here.
    """
    replaced = dict(keywords)
    for other, name in names.items():
        if other in replaced:
            if name in replaced:
                raise twice(other, name)
            replaced[name] = replaced.pop(other)
    return replaced


def one_name(keywords: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Returns keywords with other names replaced by the one used here.

    Args:
        keywords: The keywords of the call.
        names: The name used here, by other name.

    Raises:
        InvalidArgumentError: If a keyword is given under both names.
    """
    return replace_names(keywords, names, _same)


def _same(other: str, name: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{other}=과 {name}=은 같은 인수입니다. 둘 다 넣지 말고 하나만 넣으세요.",
        f"{other} and {name} are the same argument; give only one of them.",
    )


def checks_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a method: it takes `model` and `model_name` for each other, and wrong calls are KoRAG's errors.

    A method with ``**keywords`` checks those itself.

    Raises:
        InvalidArgumentError: If the call names an argument that there is not, has more arguments without a name than
            may be, or leaves a required one out.
    """
    return _checked(function, owned=True)


def checks_call(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function as `checks_keywords` does a method; one with ``**keywords`` passes them on unchecked."""
    return _checked(function, owned=False)


def _checked(function: Callable[P, R], *, owned: bool) -> Callable[P, R]:
    parameters = list(inspect.signature(function).parameters.values())[owned:]
    known = [given.name for given in parameters if given.kind in (given.KEYWORD_ONLY, given.POSITIONAL_OR_KEYWORD)]
    takes_any = any(given.kind is given.VAR_KEYWORD for given in parameters)
    unnamed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [given.name for given in parameters if given.kind in unnamed]
    required = [given for given in parameters if given.default is given.empty and given.name in known]
    names = {other: name for other, name in MODEL_NAMES.items() if name in known and other not in known}

    def place(args: tuple[Any, ...]) -> str:
        return _place(args[0], function) if owned else function.__name__

    @functools.wraps(function)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        renamed: Any = one_name(keywords, names)
        unknown = [name for name in renamed if name not in known]
        given = len(args) - owned  # without self or cls
        if given > len(positional):
            raise _unnamed(place(args), given, positional, known)
        if twice := [name for name in positional[:given] if name in renamed]:
            raise InvalidArgumentError(
                f"{twice[0]}을(를) 두 번 넣었습니다. 이름 없이 넣은 인수도 {twice[0]}입니다. 하나만 넣으세요.",
                f"{twice[0]} is given twice: the argument without a name is {twice[0]} too. Give only one of them.",
            )
        missing = [each.name for index, each in enumerate(required) if index >= given and each.name not in renamed]
        if unknown and ((missing and owned) or not takes_any):
            reject_unknown(args[0] if owned else function.__name__, unknown, known)
        if missing:
            raise InvalidArgumentError(
                f"{place(args)}에 {', '.join(missing)}이(가) 없습니다. 쓸 수 있는 것: {', '.join(known)}.",
                f"{place(args)} lacks {', '.join(missing)}. It takes: {', '.join(known)}.",
            )
        return function(*args, **renamed)  # pyright: ignore[reportCallIssue]  # the names of the function's own

    return checked


def checks_fields(cls: Class) -> Class:
    """Decorates a dataclass of settings: wrong calls of its constructor are KoRAG's errors, as of `checks_keywords`."""
    cls.__init__ = checks_keywords(cls.__init__)  # type: ignore[misc]
    return cls


def _place(owner: object, function: Callable[..., Any]) -> str:
    """Returns the name of a method as its caller wrote it."""
    name = called(owner)
    return name if function.__name__ == "__init__" else f"{name}.{function.__name__}"


def _unnamed(place: str, given: int, positional: list[str], known: list[str]) -> InvalidArgumentError:
    named = ", ".join(f"{name}=" for name in known if name not in positional)
    if not positional:
        return InvalidArgumentError(
            f"{place}의 인수에는 모두 이름을 붙이세요. 쓸 수 있는 것: {named}.",
            f"{place} takes arguments by name only: {named}.",
        )
    return InvalidArgumentError(
        f"{place}에 이름 없이 넣은 인수가 {given}개입니다. {', '.join(positional)}만 이름 없이 넣을 수 있습니다. "
        f"나머지는 이름을 붙이세요: {named}.",
        f"{place} was given {given} arguments without a name; it takes {', '.join(positional)} so, and the rest by "
        f"name: {named}.",
    )
