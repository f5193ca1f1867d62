"""Chat templates: small programs in Jinja, which come with a checkpoint and make a text of a query and a document.

transformers runs them in a sandbox that stops neither endless loops nor huge texts. So a template is parsed first, and
only used if it consists of what the templates of published rerankers need: it can put texts together and nothing else,
loops go over the messages only, and the length of the result is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, nodes

from korag.checkpoints.files import broken, read_text
from korag.checkpoints.settings import read_json
from korag.errors import CheckpointError

FILE = "chat_template.jinja"
_LONGEST = 16_384
"""Characters of a template; those of rerankers have less than a thousand."""
_DEEPEST = 24
"""Levels of nesting, of statements and expressions together."""
_LOOPS = 2
_MESSAGES = 4
"""Messages that a loop is assumed to go over: an instruction, a query and a document are three."""
_TEXT = 1_000
"""Characters of a text; also the most of a special token, which counts as much wherever a name may stand for one."""
_RESULT = 100_000
"""Characters that a template may make of texts of `_TEXT` characters each."""
_ROUNDS = 32
_ESCAPED = 10
"""Characters that one letter may become where something else than a text is printed."""
_PRINTED = 20
"""Characters of a number, of a list's brackets, of a name: what is printed although it has no text."""
_RESERVED = frozenset({"messages", "namespace", "raise_exception"})
"""Names that keep their meaning: loops go over the first, the others are called."""
_FILTERS = {
    "capitalize": 3, "d": 1, "default": 1, "first": 1, "list": _ESCAPED, "lower": 2, "map": 1, "rejectattr": 1,
    "replace": 1, "selectattr": 1, "string": _ESCAPED, "title": 3, "trim": 1, "upper": 3,
}  # fmt: skip
"""Filters, and how many times as long they can make a text. None looks at the end of a text only: very long texts are
cut before they get here."""
_METHODS = {"lower": 2, "lstrip": 1, "rstrip": 1, "startswith": 1, "strip": 1, "title": 3, "upper": 3}
_TESTS = frozenset({
    "!=", "==", "boolean", "defined", "eq", "equalto", "false", "iterable", "mapping", "ne", "none", "number",
    "sequence", "string", "true", "undefined",
})  # fmt: skip


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template.

    Attributes:
        path: The file it is in.
        text: The program.
    """

    path: Path
    text: str

    @property
    def names_roles(self) -> bool:
        """True if it knows the roles of the two halves of a pair."""
        return all(re.search(f"[\"']{role}[\"']", self.text) for role in ("query", "document"))


def find_chat_template(folder: Path) -> ChatTemplate | None:
    """Returns the template that transformers takes for a tokenizer's folder; None if there is none.

    Raises:
        CheckpointError: If it cannot be read, or there are several and none is the default.
    """
    path = folder / FILE
    if path.exists():
        return ChatTemplate(path, read_text(path))
    path = folder / "tokenizer_config.json"
    saved = read_json(path).get("chat_template")
    if isinstance(saved, list):  # several, by name
        saved = next((each.get("template") for each in saved if each.get("name") == "default"), "")
    if saved is None:
        return None
    if not isinstance(saved, str) or not saved:
        raise broken(path, "chat_template: not a template, and not a list with one named 'default'")
    return ChatTemplate(path, saved)


def check_chat_template(template: ChatTemplate) -> None:
    """Checks that a template can do nothing but put texts together.

    Raises:
        CheckpointError: If it contains anything else, or may make very long texts.
    """
    _Checker(template).check()


def find_long_token(tokens: Mapping[str, str]) -> str | None:
    """Describes a special token that is longer than `check_chat_template` assumes; None if there is none.

    Args:
        tokens: Special tokens of the loaded tokenizer, by the names that templates know them by.
    """
    return next(
        (
            f"its {name} has {len(token):,} characters; with a chat template, the limit is {_TEXT:,}"
            for name, token in tokens.items()
            if len(token) > _TEXT
        ),
        None,
    )


@dataclass
class _Checker:
    """Walks through a template, and bounds the number of characters that every part of it makes.

    A name that the template sets counts as the longest value it is set to anywhere, and so does ``name.attribute`` of a
    namespace. Where it may not be set yet, it stands for a special token, so it counts as a text at least. A namespace
    has one name: by a second one, its attributes would change unseen.
    """

    template: ChatTemplate
    lengths: dict[str, int] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)

    def check(self) -> None:
        if len(self.template.text) > _LONGEST:
            raise broken(self.template.path, f"a chat template of {len(self.template.text):,} characters")
        root = _parse(self.template)
        for _ in range(_ROUNDS):  # until no name gets longer; what is put to itself does so every time
            before = dict(self.lengths), len(self.namespaces)
            self._bounded(root, self._body(root.body))
            if before == (self.lengths, len(self.namespaces)):
                return
        raise self._refused(root, "계속 길어지는 텍스트", "a text that gets longer and longer")

    # -- statements: they return the characters that they print ----------------------------------------------------

    def _body(self, body: list[Any], times: int = 1, loops: int = 0, depth: int = 0) -> int:
        return sum(self._statement(node, times, loops, self._deeper(node, depth)) for node in body)

    def _statement(self, node: nodes.Node, times: int, loops: int, depth: int) -> int:
        match node:
            case nodes.Output():
                return times * self._sum(node.nodes, depth)
            case nodes.Assign(
                target=nodes.Name(name=name), node=nodes.Call(node=nodes.Name(name="namespace"), args=[]) as call
            ):
                self._set(node, name, 0)
                self.namespaces.add(name)
                self._arguments(call, depth)
                for each in call.kwargs:
                    self._set(node, f"{name}.{each.key}", self._length(each.value, depth))
                return 0
            case nodes.Assign(target=nodes.Name(name=name)):
                self._set(node, name, self._length(node.node, depth))
                return 0
            case nodes.Assign(target=nodes.NSRef(name=name, attr=attribute)):
                self._set(node, f"{name}.{attribute}", self._length(node.node, depth))
                return 0
            case nodes.If():
                self._length(node.test, depth)
                return sum(self._body(body, times, loops, depth) for body in (node.body, node.elif_, node.else_))
            case nodes.For(target=nodes.Name(name=name), recursive=False) if loops < _LOOPS:
                self._messages(node.iter, depth)
                self._set(node, name, _TEXT)
                if node.test is not None:
                    self._length(node.test, depth)
                printed = self._body(node.body, times * _MESSAGES, loops + 1, depth)
                return printed + self._body(node.else_, times, loops, depth)
            case nodes.Break() | nodes.Continue():
                return 0
        raise self._refused(node, *_named(node))

    def _set(self, node: nodes.Node, name: str, length: int) -> None:
        owner, _, attribute = name.partition(".")
        if owner in _RESERVED or attribute in _METHODS:  # what is called would be something else
            raise self._refused(node, f"{name}에 대입", f"setting {name}")
        self.lengths[name] = max(length, self.lengths.get(name, 0))

    def _messages(self, node: nodes.Node, depth: int) -> None:
        """Checks what a loop goes over: the messages, or some of them. A text would be gone over letter by letter."""
        self._length(node, depth)
        while isinstance(node, nodes.Filter) and node.name in ("selectattr", "rejectattr", "list") and node.node:
            node = node.node
        if not (isinstance(node, nodes.Name) and node.name == "messages"):
            raise self._refused(node, "messages가 아닌 것을 도는 반복문", "a loop over anything but messages")

    # -- expressions: they return the length of their value; 0 for what is no text -----------------------------------

    def _sum(self, parts: list[Any], depth: int) -> int:
        return sum(self._length(part, depth) for part in parts)

    def _longest(self, parts: list[Any], depth: int) -> int:
        return max(self._length(part, depth) for part in parts if part is not None)

    def _length(self, node: nodes.Node, depth: int) -> int:
        return self._bounded(node, self._expression(node, self._deeper(node, depth)))

    def _expression(self, node: nodes.Node, depth: int) -> int:
        match node:
            case nodes.TemplateData():
                return len(node.data)
            case nodes.Const():
                return len(node.value) if isinstance(node.value, str) else 0
            case nodes.Name():
                if node.name in self.namespaces:
                    raise self._refused(node, f"네임스페이스 {node.name} 전체", f"the whole namespace {node.name}")
                return self._name(node.name)
            case nodes.Getattr(node=nodes.Name(name=name), attr=attribute) if name in self.namespaces:
                return max(self.lengths.get(f"{name}.{attribute}", 0), self._name(name))
            case nodes.Getattr() | nodes.Getitem(arg=nodes.Const(value=str() | int())):
                return self._length(node.node, depth)
            case nodes.Concat():  # makes texts of whatever it joins
                return self._sum(node.nodes, depth) + _PRINTED * len(node.nodes)
            case nodes.Add():
                return self._sum([node.left, node.right], depth)
            case nodes.And() | nodes.Or():
                return self._longest([node.left, node.right], depth)
            case nodes.CondExpr():
                self._length(node.test, depth)
                return self._longest([node.expr1, node.expr2], depth)
            case nodes.Not():
                self._length(node.node, depth)
                return 0
            case nodes.Compare():
                self._compare(node, depth)
                return 0
            case nodes.Test() if node.name in _TESTS:
                self._length(node.node, depth)
                self._arguments(node, depth)
                return 0
            case nodes.Filter() if node.name in _FILTERS and node.node is not None:
                return self._filter(node, node.node, depth)
            case nodes.Call(node=nodes.Name(name="raise_exception")):
                return self._arguments(node, depth)
            case nodes.Call(node=nodes.Getattr(node=text, attr=name)) if name in _METHODS:
                return _METHODS[name] * self._length(text, depth) + self._arguments(node, depth)
        raise self._refused(node, *_named(node))

    def _name(self, name: str) -> int:
        return _TEXT * _MESSAGES if name == "messages" else max(_TEXT, self.lengths.get(name, 0))

    def _compare(self, node: nodes.Compare, depth: int) -> None:
        self._length(node.expr, depth)
        for operand in node.ops:
            if operand.op in ("in", "notin") and _is_constant_list(operand.expr):
                continue
            if operand.op not in ("eq", "ne"):
                raise self._refused(node, f"비교 '{operand.op}'", f"the comparison '{operand.op}'")
            self._length(operand.expr, depth)

    def _filter(self, node: nodes.Filter, text: nodes.Node, depth: int) -> int:
        values = [argument.value if isinstance(argument, nodes.Const) else None for argument in node.args]
        match node.name, values:
            case "replace", [str(old), str(new)] if old and len(new) <= len(old):
                allowed = True
            case "replace", _:
                allowed = False
            case "map", _:
                allowed = not values and [each.key for each in node.kwargs] == ["attribute"]
            case (("selectattr" | "rejectattr"), [_, test, *_]):
                allowed = test in _TESTS
            case _:
                allowed = True
        if not allowed:
            raise self._refused(node, f"이 형태의 {node.name} 필터", f"the filter {node.name} in this form")
        length, arguments = self._length(text, depth), self._arguments(node, depth)
        if _FILTERS[node.name] == _ESCAPED:
            length += _PRINTED
        return max(_FILTERS[node.name] * length, arguments)  # an argument may come in the place of the text

    def _arguments(self, node: nodes.Call | nodes.Filter | nodes.Test, depth: int) -> int:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise self._refused(node, "펼친 인수", "unpacked arguments")
        return self._sum([*node.args, *(each.value for each in node.kwargs)], depth)

    # -- limits ------------------------------------------------------------------------------------------------------

    def _deeper(self, node: nodes.Node, depth: int) -> int:
        if depth >= _DEEPEST:
            raise self._refused(node, "깊은 중첩", "deep nesting")
        return depth + 1

    def _bounded(self, node: nodes.Node, length: int) -> int:
        if length > _RESULT:
            raise self._refused(node, "매우 긴 텍스트를 만드는 부분", "something that makes very long texts")
        return length

    def _refused(self, node: nodes.Node, korean: str, english: str) -> CheckpointError:
        return CheckpointError(
            f"'{self.template.path}' {node.lineno}번째 줄: 채팅 템플릿에 {korean}이(가) 있습니다. 채팅 템플릿은 "
            "체크포인트에 딸려 오는 프로그램이어서, KoRAG는 메시지를 이어 붙이기만 하는 것만 실행합니다. 체크포인트를 "
            "믿을 수 있을 때만 trust_remote_code=True를 넣으세요.",
            f"'{self.template.path}', line {node.lineno}: the chat template contains {english}. A chat template is a "
            "program that comes with the checkpoint, so KoRAG runs only those that just put messages together. Pass "
            "trust_remote_code=True only if you trust the checkpoint.",
        )


def _parse(template: ChatTemplate) -> nodes.Template:
    # as transformers reads it; parsing runs nothing
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])  # noqa: S701
    try:
        return environment.parse(template.text)
    except Exception as error:  # also a ValueError for a number of thousands of digits, and a RecursionError
        raise broken(template.path, f"chat template: {type(error).__name__}: {error}") from error


def _is_constant_list(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Tuple | nodes.List) and all(isinstance(item, nodes.Const) for item in node.items)


def _named(node: nodes.Node) -> tuple[str, str]:
    """Names a kind of node, in Korean and in English."""
    name = f"{type(node).__name__} {getattr(node, 'name', '')}".strip()[:60]
    return f"허용되지 않는 구문({name})", f"a construct that is not allowed ({name})"
