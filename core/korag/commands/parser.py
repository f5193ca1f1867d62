"""A parser whose errors are in Korean and English."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from korag.checks import closest_keyword, meant_name

_KOREAN = (
    (r"the following arguments are required: (?P<what>.+)", "꼭 필요한 인수가 없습니다: {what}"),
    (r"unrecognized arguments: (?P<what>.+)", "없는 인수입니다: {what}"),
    (r"invalid choice: (?P<value>.+?),? \(choose from (?P<what>.+)\)", "{value}: 다음 중 하나여야 합니다: {what}"),
    (r"invalid int value: (?P<value>.+)", "{value}: 정수여야 합니다"),
    (r"invalid float value: (?P<value>.+)", "{value}: 수여야 합니다"),
    (r"invalid \w+ value: (?P<value>.+)", "{value}: 쓸 수 없는 값입니다"),
    (r"expected one argument", "값이 하나 있어야 합니다"),
    (r"expected (?:at least one argument|\d+ arguments?)", "값이 모자랍니다"),
    (r"not allowed with argument (?P<what>.+)", "{what}: 함께 쓸 수 없습니다"),
    (r"ignored explicit argument (?P<value>.+)", "{value}: 값을 받지 않는 인수입니다"),
    (r"ambiguous option: (?P<value>.+?) could match (?P<what>.+)", "{value}: 어느 것인지 알 수 없습니다: {what}"),
)
"""Messages of `argparse` by pattern."""
_ARGUMENT = re.compile(r"argument (?P<name>.+?): ")
_CHOICE = re.compile(r"invalid choice: '(?P<value>.+?)',? \(choose from (?P<choices>.+)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that explains mistakes in Korean first; so do those of its subcommands."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **(settings | {"add_help": False}))
        self._positionals.title, self._optionals.title = "인수 / arguments", "옵션 / options"
        self.add_argument("-h", "--help", action="help", help="도움말을 봅니다. Shows this help.")

    def parse_known_args(self, *arguments: Any, **settings: Any) -> Any:
        """Parses; what is unknown is the subcommand's mistake, and is explained with its usage."""
        found, unknown = super().parse_known_args(*arguments, **settings)
        if unknown:
            korean, english = self._advice(unknown)
            self._fail(f"unrecognized arguments: {' '.join(unknown)}", korean, english)
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Prints usage and message, and exits with 2."""
        choice = _CHOICE.search(message)
        meant = meant_name(choice["value"], re.findall(r"[\w./-]+", choice["choices"])) if choice else ("", "")
        self._fail(message, *meant)

    def _fail(self, message: str, korean: str, english: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(
            2,
            f"{self.prog}: {_in_korean(message)}{korean and f'.{korean}'}\n"
            f"{self.prog}: {message}{english and f'.{english}'}\n",
        )

    def _advice(self, unknown: Sequence[str]) -> tuple[str, str]:
        """Returns what to do about the first unknown argument, in Korean and English: an option, or a word."""
        if unknown[0].startswith("-"):
            options = {name.lstrip("-").replace("-", "_"): name for name in self._option_string_actions}
            known = closest_keyword(unknown[0].partition("=")[0].lstrip("-").replace("-", "_"), list(options))
            return (f" 혹시 {options[known]}인가요?", f" Did you mean {options[known]}?") if known else ("", "")
        has_query = any(action.dest == "query" for action in self._actions)
        korean, english = ("질문", "question") if has_query else ("이름", "name")
        return f" {korean}에 빈칸이 있으면 따옴표로 묶으세요.", f" Put a {english} with spaces in quotes."


def _in_korean(message: str) -> str:
    argument = _ARGUMENT.match(message)
    rest = message if argument is None else message[argument.end() :]
    place = "" if argument is None else f"{argument['name']} "
    for pattern, korean in _KOREAN:
        if found := re.fullmatch(pattern, rest, re.DOTALL):
            return place + korean.format(**found.groupdict())
    return f"{place}명령이 잘못되었습니다. 도움말: korag --help"
