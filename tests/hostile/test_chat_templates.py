"""Chat templates of any shape: refused, or harmless when transformers renders them.

Every try puts a template together from what Jinja has, allowed or not. One that passes the check is rendered: its
result is no longer than promised, and it takes no time.
"""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from korag.checkpoints.chat_template import ChatTemplate, check_chat_template
from korag.errors import CheckpointError
from tests.hostile.conftest import Hostile

TEXT = "'\\\"가\x07나다" * 143 + "끝"
"""1,001 characters, many of which are escaped where a list is printed."""
MOST = 10 * 100_000
"""The result for such texts: ten times the bound, which counts letters as they come in, not as escapes."""
NAMES = [
    "messages",
    "m",
    "t",
    "u",
    "ns",
    "loop",
    "namespace",
    "raise_exception",
    "range",
    "bos_token",
    "add_generation_prompt",
]
ATTRIBUTES = ["content", "role", "t", "strip", "upper", "index0", "last", "format", "__class__", "items"]
CONSTANTS = ["''", "'가'", "'\\\\'", "1", "0", "'query'", "true", "none", "99999999", "'%99999d'"]
FILTERS = [
    "first",
    "list",
    "string",
    "trim",
    "upper",
    "lower",
    "title",
    "length",
    "join('ab')",
    "join",
    "reverse",
    "replace('가', '')",
    "replace('가', '나')",
    "replace('', '가')",
    "replace('가', '가가')",
    "default('가')",
    "default",
    "map(attribute='content')",
    "map('string')",
    "selectattr('role', 'eq', 'query')",
    "center(9999)",
    "selectattr('content')",
    "tojson",
    "last",
    "attr('content')",
    "batch(2)",
    "indent(99)",
    "unique",
    "sort",
]
OPERATORS = ["~", "~", "+", "+", "*", "**", "%", "-", "and", "or", "==", "!=", "in", "<", "//"]
METHODS = [
    "strip()",
    "upper()",
    "startswith('가')",
    "split('')",
    "join('가나')",
    "format(1)",
    "center(9999)",
    "items()",
]


class Writer:
    """Writes a random template; most parts are of the allowed kinds, so that whole templates often pass."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bold = self.rng.random() < 0.4  # mixes in what is refused

    def pick(self, choices: list[str], tame: int) -> str:
        return self.rng.choice(choices if self.bold and self.rng.random() < 0.3 else choices[:tame])

    def expression(self, depth: int = 0) -> str:
        what = self.rng.random()
        if depth > 3 or what < 0.25:
            return self.pick(NAMES, 6)
        if what < 0.35:
            return self.pick(CONSTANTS, 8)
        inner = self.expression(depth + 1)
        if what < 0.55:
            return (
                f"{inner}.{self.pick(ATTRIBUTES, 3)}"
                if self.rng.random() < 0.7
                else f"{inner}[{self.rng.choice('01')}]"
            )
        if what < 0.7:
            return f"({inner} | {self.pick(FILTERS, 7)})"
        if what < 0.75:
            return f"{inner}.{self.pick(METHODS, 3)}"
        if what < 0.8:
            return f"({inner} if {self.expression(depth + 1)} is defined else {self.expression(depth + 1)})"
        if what < 0.83 and self.bold:
            return f"{self.pick(NAMES, 9)}({inner})"
        return f"({inner} {self.pick(OPERATORS, 4)} {self.expression(depth + 1)})"

    def statement(self, depth: int = 0) -> str:
        what = self.rng.random()
        if what < 0.3 or depth > 3:
            return "{{ " + self.expression() + " }}"
        if what < 0.55:
            target = self.rng.choice(["t", "u", "ns.t", "ns.u", "m"])
            if self.rng.random() < 0.1:
                target = self.rng.choice(["t.t", "ns.content", "bos_token"])
            return f"{{% set {target} = {self.expression()} %}}"
        if what < 0.62:
            given = self.rng.choice(["t=", "t=", "content=", "t='', u=", "" if self.bold else "t="])
            return f"{{% set {self.rng.choice(['ns', 'ns', 't'])} = namespace({given}{self.expression()}) %}}"
        if what < 0.65:
            return f"{{% set {self.pick(NAMES, 5)} = {self.expression()} %}}"
        body = self.body(depth + 1)
        if what < 0.8:
            return f"{{% if {self.expression()} %}}{body}{{% else %}}{self.body(depth + 1)}{{% endif %}}"
        over = self.expression() if self.bold and self.rng.random() < 0.3 else "messages"
        return f"{{% for {self.rng.choice(['m', 'm', 't'])} in {over} %}}{body}{{% endfor %}}"

    def body(self, depth: int = 0) -> str:
        return "".join(self.statement(depth) for _ in range(self.rng.choice([1, 2, 3, 8])))

    def template(self) -> str:
        repeated = self.body()
        return "{% set ns = namespace(t='', u='') %}" + repeated * self.rng.choice([1, 1, 2, 30])


def render(text: str) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    pair = [{"role": role, "content": TEXT} for role in ("system", "query", "document")]
    rendered, _ = render_jinja_template([pair], chat_template=text, add_generation_prompt=True, bos_token="<s>")  # noqa: S106
    return str(rendered[0])


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_templates_of_any_shape(hostile: Hostile) -> None:
    import jinja2

    render("")  # imports
    passed = 0
    for seed in hostile.tries("chat templates", short=300, long=20_000):
        text = Writer(seed).template()
        start = time.process_time()
        try:
            check_chat_template(ChatTemplate(Path("chat_template.jinja"), text))
        except CheckpointError:
            continue
        finally:
            if (seconds := time.process_time() - start) > 5:
                hostile.failed(seed, f"{seconds:.0f} s for the check")
        passed += 1
        start = time.process_time()
        tracemalloc.start()
        try:
            length = len(render(text))
        except (jinja2.exceptions.TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            length = len(str(error)) if "digits" not in str(error) else 0
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        if length > MOST:
            hostile.failed(seed, f"{length:,} characters: {json.dumps(text, ensure_ascii=False)[:300]}")
        if peak > 2**28 or time.process_time() - start > 10:
            hostile.failed(seed, f"{peak:,} bytes: {json.dumps(text, ensure_ascii=False)[:300]}")
    assert passed > 30, passed
