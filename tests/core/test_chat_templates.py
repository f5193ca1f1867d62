"""Chat templates of checkpoints: those of published rerankers are used, and nothing that does more is ever run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from assertions import assert_bilingual
from chat_checkpoints import TEMPLATE
from checkpoints import edit_json

from korag import CrossEncoderReranker
from korag.checkpoints.chat_template import ChatTemplate, check_chat_template, find_chat_template
from korag.errors import CheckpointError

Build = Callable[[str], Path]
QUERY, TEXT = "보증금은 언제 돌려받나요?", "보증금은 이사하는 날 돌려받는다."
_QUERY = 'messages | selectattr("role", "eq", "query") | map(attribute="content") | first'
_CONTENT = "{% set t = messages[0].content %}"
_LETTERS = "{% for a in messages[0].content %}"
HARMLESS = {
    "roles by selectattr": TEMPLATE,
    "messages by place": "{{ messages[0]['content'] }}\n{{ messages[1].content }}",
    "a dictionary in an expression": '{{ (messages | selectattr("role", "eq", "document") | first).content }}',
    "parts of a message": '{{ (messages | selectattr("role", "equalto", "query") | list | first).content[0].text }}',
    "an instruction by another name": "{{ instruction | default(instruct | default('찾으세요')) }}{{ " + _QUERY + " }}",
    "a loop with its condition": "{% for m in messages if m.role == 'query' %}{{ m.content }}{% endfor %}",
    "a loop with what ends it": (
        "{%- for m in messages -%}{%- if m.role not in ['query', 'document'] -%}{%- continue -%}{%- endif -%}"
        "{{- '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>' + '\\n' -}}"
        "{%- if loop.last -%}{%- break -%}{%- endif -%}{%- else -%}없음{%- endfor -%}"
    ),
    "a namespace": (
        "{% set ns = namespace(query='', n=0) %}{% for m in messages %}{% if m.role == 'query' %}"
        "{% set ns.query = m.content %}{% endif %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.query }}"
    ),
    "an error for other roles": "{% if messages[0].role != 'query' %}{{ raise_exception('질의가 없음') }}{% endif %}",
    "what is cleaned up": "{{ messages[0].content.strip() | replace('<image>', '') | upper }}{{ bos_token }}",
    "a choice": "{{ 'A' if add_generation_prompt is defined and not messages[0] is string else 'B' }}",
    "names set again": (
        "{% set t = t | default('찾으세요') %}{% set t = t if t is defined else '' %}{% set t = t or '없음' %}"
        "{% set t = t | trim %}{{ t }}"
    ),
    "a comment": "{# for x in range(10) #}{% raw %}{{ range(10) }}{% endraw %}",
}
HOSTILE = {
    "endless work": "{% for a in range(99999999) %}{% endfor %}",
    "endless work inside": "{% for m in messages %}{% for a in range(99999999) %}{% endfor %}{% endfor %}",
    "letters of a text": _LETTERS * 2 + "." + "{% endfor %}" * 2,
    "letters by a name": _CONTENT + "{% for a in t %}{{ t }}{% endfor %}",
    "letters by the name of the messages": "{% set messages = messages[0].content %}" + _LETTERS + "{% endfor %}",
    "letters by a loop's name": (
        "{% for messages in messages %}{% for a in messages.content %}{% endfor %}{% endfor %}"
    ),
    "many loops": "{% for a in messages %}" * 3 + "{% endfor %}" * 3,
    "recursion": "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "a long text": "{{ '가' * 10 ** 9 }}",
    "a long number": "{{ 9 ** 9 ** 9 }}",
    "a long format": "{{ '%999999999d' % 1 }}",
    "a long format by filter": "{{ '%999999999d' | format(1) }}",
    "a wide text": "{{ messages[0].content | center(999999999) }}",
    "doubling": _CONTENT + "{% set t = t ~ t %}" * 40 + "{{ t }}",
    "doubling of a constant": "{% set t = '가나다라' %}" + "{% set t = t + t %}" * 40 + "{{ t }}",
    "doubling by other names": _CONTENT
    + "".join(f"{{% set t{n + 1} = t{n} ~ t{n} %}}" for n in range(40)).replace("t0 ", "t ")
    + "{{ t40 }}",
    "doubling in a loop": (
        "{% set ns = namespace(t='가') %}{% for m in messages %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}"
    ),
    "growing by one": "{% set t = '가' %}{% set t = t ~ '나' %}{{ t }}",
    "copies": "{{ " + " ~ ".join(["messages[0].content"] * 400) + " }}",
    "copies of copies": _CONTENT + "{% set u = " + " ~ ".join(["t"] * 30) + " %}" + "{{ u }}" * 30,
    "doubling of a number": "{% set t = 1 %}" + "{% set t = t ~ t %}" * 40 + "{{ t }}",
    "doubling of nothing": "{% set t = '' %}" + "{% set t = t | list | string %}" * 40 + "{{ t }}",
    "doubling of a sum": "{% set t = 1 | string %}" + "{% set t = t + t %}" * 40 + "{{ t }}",
    "escapes of escapes": (
        "{% set ns = namespace(t='') %}" + "{% set ns.t = ns ~ '' %}" * 40 + "{{ ns.t }}"
    ),
    "escapes by other names": "".join(
        f"{{% set n{n} = namespace(t=n{n - 1} ~ '') %}}" for n in range(1, 40)
    ).replace("n0", "''") + "{{ n39.t }}",
    "doubling of what a message has": "{% set ns = namespace(messages[0]) %}"
    + "{% set ns.content = ns.content + ns.content %}" * 40
    + "{{ ns.content }}",
    "a namespace's second name": (
        "{% set ns = namespace(t='') %}{% set x = ns %}{% set x.t = messages[0].content %}"
        + "{% set ns.t = ns.t + ns.t %}" * 40 + "{{ ns.t }}"
    ),
    "a name before it is one of a namespace": (
        "{% set x = ns %}{% set ns = namespace(t='') %}{% set x = ns %}{{ ns['t'] }}"
    ),
    "doubling of what is set in no case": "{% if false %}{% set bos_token = '' %}{% endif %}"
    + "{% set bos_token = bos_token + bos_token %}" * 40
    + "{{ bos_token }}",
    "doubling of what is set in a loop": "{% for m in messages %}{% set bos_token = '' %}{% endfor %}"
    + "{% set bos_token = bos_token + bos_token %}" * 40
    + "{{ bos_token }}",
    "many names": "".join(f"{{%set n{n}=1%}}" for n in range(400))
    + "{%set z=z~1%}{{" + "~".join(["n1"] * 3_500) + "}}",
    "a namespace inside": "{{ namespace(t=messages) }}",
    "a function by another name": "{% set raise_exception = range %}{{ raise_exception(999999999) | list }}",
    "a function by a loop's name": (
        "{% for namespace in messages %}{% set ns = namespace(n=10000000) %}{% endfor %}"
    ),
    "a function as an attribute": "{% set ns = namespace(strip=range) %}{{ ns.strip(999999999) | list }}",
    "a function set as an attribute": (
        "{% set ns = namespace() %}{% set ns.strip = messages[0].content.center %}{{ ns.strip(999999999) }}"
    ),
    "replacing by more": "{{ messages[0].content | replace('가', '나나나나') }}",
    "replacing nothing": "{{ messages[0].content | replace('', '나') }}",
    "replacing by a text": "{{ messages[0].content | replace('가', messages[0].content) }}",
    "lists of letters": "{{ messages[0].content" + " | list | string" * 5 + " }}",
    "joined letters": "{{ messages[0].content | join('가나다라') }}",
    "a filter on each": "{{ messages | map('string') }}",
    "a filter by a name": "{{ messages | selectattr('content', 'match', '(a+)+') }}",
    "a macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a call with a block": "{% call raise_exception() %}{% endcall %}",
    "a block": "{% set t %}{{ messages }}{% endset %}",
    "a filter block": "{% filter upper %}{{ messages }}{% endfilter %}",
    "a file": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}",
    "a parent": "{% extends 'other' %}",
    "the sandbox's edges": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "an attribute by filter": "{{ messages | attr('__class__') }}",
    "a dictionary": "{{ dict(a=1) }}",
    "made-up words": "{{ lipsum(n=10000000) }}",
    "a cycle": "{{ cycler('a').next() }}",
    "today's date": "{{ strftime_now('%Y') }}",
    "unpacked": "{{ raise_exception(*messages) }}",
    "formatting": "{{ '{0:>999999999}'.format(1) }}",
    "a method of lists": "{{ messages.append(messages) }}",
    "splitting": "{{ messages[0].content.split('') }}",
    "the end of a text": "{{ messages[0].content[-1] }}",
    "a slice": "{{ messages[0].content[::-1] }}",
    "a length": "{{ messages[0].content | length }}",
    "a part of a text": "{% if '가' in messages[0].content %}{% endif %}",
    "an order": "{% if messages[0].content > messages[1].content %}{% endif %}",
    "deep nesting": "{{ " + "(" * 200 + "1" + ")" * 200 + " }}{{ " + "not " * 200 + "1 }}",
    "very deep nesting": "{{ " + "(" * 8_000 + "1" + ")" * 8_000 + " }}",
    "deep statements": "{% if a %}" * 200 + "{% endif %}" * 200,
    "deep filters": "{{ a" + " | trim" * 2_000 + " }}",
    "a long sum": "{{ 1" + " + 1" * 3_000 + " }}",
    "a long template": "가" * 20_000,
    "digits": "{{ " + "9" * 10_000 + " }}",
    "no template": "{% if %}",
    "an unknown word": "{% generation %}{% endgeneration %}",
    "two targets": "{% set a, b = messages %}",
}  # fmt: skip


def check(text: str) -> None:
    check_chat_template(ChatTemplate(Path("model/chat_template.jinja"), text))


@pytest.mark.parametrize("name", HARMLESS)
def test_what_rerankers_have_is_used(name: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    check(HARMLESS[name])
    pair = [{"role": "query", "content": QUERY}, {"role": "document", "content": TEXT}]
    render_jinja_template([pair], chat_template=HARMLESS[name], add_generation_prompt=False)


@pytest.mark.parametrize("name", HOSTILE)
def test_everything_else_is_refused_at_once(name: str) -> None:
    start = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        check(HOSTILE[name])
    assert time.process_time() - start < 5
    assert_bilingual(caught.value, "model/chat_template.jinja")


def test_the_error_names_the_line_and_the_way_out() -> None:
    with pytest.raises(CheckpointError) as caught:
        check("질문\n\n{{ range(9) }}")
    assert_bilingual(caught.value, "chat_template.jinja", "3", "trust_remote_code=True")
    assert "line 3" in str(caught.value)
    assert "3번째 줄" in str(caught.value)


class TestFiles:
    def test_the_file_comes_before_the_tokenizers_settings(self, tmp_path: Path) -> None:
        """As transformers has it."""
        assert find_chat_template(tmp_path) is None
        settings = tmp_path / "tokenizer_config.json"
        settings.write_text(json.dumps({"chat_template": "하나"}), encoding="utf-8")
        found = find_chat_template(tmp_path)
        assert found == ChatTemplate(settings, "하나")
        several = [{"name": "tool_use", "template": "둘"}, {"name": "default", "template": "셋"}]
        settings.write_text(json.dumps({"chat_template": several}), encoding="utf-8")
        assert find_chat_template(tmp_path) == ChatTemplate(settings, "셋")
        (tmp_path / "chat_template.jinja").write_text("넷", encoding="utf-8")
        assert find_chat_template(tmp_path) == ChatTemplate(tmp_path / "chat_template.jinja", "넷")

    @pytest.mark.parametrize("saved", [7, {"default": "x"}, [{"name": "other", "template": "x"}], [], ""])
    def test_settings_of_the_wrong_kind(self, copied: Build, saved: object) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").unlink()
        edit_json(folder / "tokenizer_config.json", chat_template=saved)
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "tokenizer_config.json")

    def test_a_damaged_file(self, copied: Build) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").write_bytes(b"\xff\xfe{{ 1 }}")
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "chat_template.jinja")


class TestLoading:
    @pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
    def test_a_hostile_template_is_an_error_before_weights_are_read(self, copied: Build, place: str) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").unlink()
        (folder / "model.safetensors").write_bytes(b"damaged")
        if place.endswith(".json"):
            edit_json(folder / place, chat_template=HOSTILE["endless work"])
        else:
            (folder / place).write_text(HOSTILE["endless work"], encoding="utf-8")
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, place, "trust_remote_code=True")

    def test_special_tokens_are_no_longer_than_the_check_assumes(self, copied: Build) -> None:
        """A template may contain them, and they come from the checkpoint too."""
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").write_text("{{ eos_token }}" * 50 + TEMPLATE, encoding="utf-8")
        CrossEncoderReranker(folder, dtype="float32").rerank(QUERY, [TEXT])
        for name in ("tokenizer.json", "tokenizer_config.json"):
            text = (folder / name).read_text(encoding="utf-8").replace("<|im_end|>", "가" * 1_001)
            (folder / name).write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder, dtype="float32").rerank(QUERY, [TEXT])
        assert_bilingual(caught.value, str(folder), "eos_token", "1,001")

    def test_trusting_the_checkpoint_runs_it(self, copied: Build) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").write_text(
            TEMPLATE + "{% for i in range(3) %}{{ i }}{% endfor %}", encoding="utf-8"
        )
        trusting = CrossEncoderReranker(folder, trust_remote_code=True, dtype="float32")
        assert len(trusting.rerank(QUERY, [TEXT])) == 1

    def test_what_is_checked_is_what_runs(self, copied: Build) -> None:
        """A template that is put there after the check, or beside the one that was checked, is not used."""
        folder = copied("chat_cross_encoder")
        expected = CrossEncoderReranker(folder, dtype="float32").rerank(QUERY, [TEXT])
        reranker = CrossEncoderReranker(folder, dtype="float32")
        (folder / "chat_template.jinja").write_text("{{ raise_exception('run') }}", encoding="utf-8")
        other = folder / "additional_chat_templates" / "tool_use.jinja"
        other.parent.mkdir()
        other.write_text("{{ raise_exception('run') }}", encoding="utf-8")
        assert reranker.rerank(QUERY, [TEXT]) == expected

    def test_without_a_template(self, copied: Build) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").unlink()
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder)
        assert_bilingual(caught.value, "chat_template.jinja", "modality_config")

    def test_a_template_without_the_document(self, copied: Build) -> None:
        folder = copied("chat_cross_encoder")
        (folder / "chat_template.jinja").write_text("{{ " + _QUERY + " }} document", encoding="utf-8")
        with pytest.raises(CheckpointError) as caught:
            CrossEncoderReranker(folder, dtype="float32").rerank(QUERY, [TEXT])
        assert_bilingual(caught.value, str(folder), "'document'")

    def test_the_template_of_a_chat_model_changes_no_classifier(self, copied: Build) -> None:
        """It is in the tokenizer of many; they were trained on the two texts as they are."""
        folder = copied("cross_encoder")
        before = CrossEncoderReranker(folder, dtype="float32")
        expected, fingerprint = before.rerank(QUERY, [TEXT]), before.fingerprint
        (folder / "chat_template.jinja").write_text(HOSTILE["a macro"], encoding="utf-8")
        after = CrossEncoderReranker(folder, dtype="float32")
        assert after.rerank(QUERY, [TEXT]) == expected
        assert after.fingerprint == fingerprint
