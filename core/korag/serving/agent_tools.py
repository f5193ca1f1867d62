"""Tools of agents that take only the arguments they have, and say what is wrong with a call in both languages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ConfigDict, ValidationError

from korag.checks import reject_unknown
from korag.errors import KoragError
from korag.serving.validation import of_invalid_body, shown

P = ParamSpec("P")
R = TypeVar("R")
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class CheckedTool(Tool):
    """A tool whose arguments are checked: one that was ignored, such as a filter's, would change what is found."""

    async def run(
        self,
        arguments: dict[str, Any],
        context: Any,
        convert_result: bool = False,  # noqa: FBT001, FBT002 (as its base has it)
    ) -> Any:
        """Runs the tool.

        Raises:
            ToolError: If an argument is unknown or has another type, or the tool says what is wrong.
        """
        model = self.fn_metadata.arg_model
        try:
            reject_unknown(model, map(shown, arguments), list(model.model_fields))
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            refused = of_invalid_body(error.errors(include_url=False, include_input=False), within=0)
            raise ToolError(str(refused)) from error
        except KoragError as error:
            raise ToolError(str(error)) from error
        return await super().run(arguments, context, convert_result=convert_result)


def make_tool(function: Callable[..., Any], *, title: str) -> Tool:
    """Makes a tool that only reads.

    Args:
        function: What it does; its name, arguments and documentation are the tool's.
        title: For people.
    """
    tool = CheckedTool.from_function(_says_errors(function), title=title, annotations=_READS)
    model = tool.fn_metadata.arg_model
    config = ConfigDict(**{**model.model_config, "extra": "forbid", "strict": True})
    strict: Any = type(tool.name, (model,), {"model_config": config, "__module__": __name__})
    tool.fn_metadata.arg_model = strict
    tool.parameters = strict.model_json_schema(by_alias=True)
    return tool


def _says_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a tool: an agent is told what is wrong with its call."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except KoragError as error:
            raise ToolError(str(error)) from error

    return called
