"""The layouts of rerankers: generative ones with a chat template, modular ones, and classifiers on any backbone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import checkpoints
from chat_checkpoints import TEMPLATE, chat_cross_encoder, qwen

from korag.errors import CheckpointError, UnknownFamilyError, WrongFamilyError
from layouts import references
from layouts.case import DOCUMENTS, QUERIES, LayoutCase, RefusalCase, load, load_reranker
from layouts.saving import plain, random, save, transformer

HIDDEN = checkpoints.HIDDEN
_ROLES = """\
{%- if not add_generation_prompt is defined -%}{%- set add_generation_prompt = true -%}{%- endif -%}
{%- for message in messages -%}
{%- if message.role == "query" -%}{{- '<|im_start|>system\n' + message['content'].strip() + '<|im_end|>\n' -}}
{%- elif message.role == "document" -%}{{- '<|im_start|>user\n' ~ message['content'] | trim ~ '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""
_STRUCTURED = """\
<Query>: {{ (messages | selectattr("role", "eq", "query") | first).content[0].text }}
<Document>: {{ (messages | selectattr("role", "eq", "document") | first).content[0].text }}
답:"""


def _modular(folder: Path) -> None:
    """The Ettin rerankers' layout: the head of a ModernBERT classifier as modules."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
    from torch import nn

    head = Dense(
        HIDDEN, HIDDEN, bias=False, activation_function=nn.GELU(), init_weight=random(HIDDEN, HIDDEN),
        module_input_name="sentence_embedding", module_output_name="sentence_embedding",
    )  # fmt: skip
    score = Dense(
        HIDDEN, 1, activation_function=nn.Identity(), init_weight=random(1, HIDDEN), init_bias=random(1, seed=2),
        module_input_name="sentence_embedding", module_output_name="scores",
    )  # fmt: skip
    with transformer("modernbert") as first:
        first.model.config.num_labels = 1
        modules = [first, Pooling(HIDDEN, "cls"), head, LayerNorm(HIDDEN), score]
        save(CrossEncoder(modules=modules, num_labels=1, activation_fn=nn.Identity(), device="cpu"), folder)


def _last_token(folder: Path) -> None:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import AutoModel

    qwen(folder / "plain", AutoModel)
    score = Dense(
        HIDDEN, 1, activation_function=None, init_weight=random(1, HIDDEN), init_bias=random(1, seed=2),
        module_output_name="scores",
    )  # fmt: skip
    modules = [Transformer(str(folder / "plain")), Pooling(HIDDEN, "lasttoken"), score]
    save(CrossEncoder(modules=modules, device="cpu"), folder)


def _nano(folder: Path) -> None:
    from sentence_transformers import CrossEncoder
    from torch import nn
    from transformers import AutoModelForSequenceClassification

    with plain("modernbert", auto=AutoModelForSequenceClassification, num_labels=1) as backbone:
        save(CrossEncoder(str(backbone), activation_fn=nn.Identity(), device="cpu", local_files_only=True), folder)


def _classifier(folder: Path, *, template: str | None = None, **settings: Any) -> None:
    from transformers import AutoModelForSequenceClassification

    qwen(folder, AutoModelForSequenceClassification, num_labels=1, **settings)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _saved_classifier(folder: Path) -> None:
    from sentence_transformers import CrossEncoder

    _classifier(folder / "plain", template=TEMPLATE)
    save(CrossEncoder(str(folder / "plain"), device="cpu", local_files_only=True), folder)


def _modernbert(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    checkpoints.backbone(folder, "modernbert", auto=AutoModelForSequenceClassification, num_labels=1)


def _generator(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    qwen(folder, AutoModelForCausalLM)


def _one_by_one(folder: Path) -> Any:
    """The reference takes no more than one pair at a time where it does not know which token is padding."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    return [model.predict([(query, text) for text in DOCUMENTS], batch_size=1) for query in QUERIES]


_case = partial(LayoutCase, reference=references.cross_encoder, load=load_reranker)

CASES = [
    _case(name="LogitScore with a chat template", build=chat_cross_encoder, note="KURE-Reranker-base, Qwen3-Reranker"),
    _case(
        name="LogitScore of one answer, options of the chat template",
        build=partial(
            chat_cross_encoder,
            template=_ROLES,
            one_logit=True,
            options={"processing_kwargs": {"chat_template": {"add_generation_prompt": True}}},
        ),
        note="zerank-2",
    ),
    _case(
        name="LogitScore with an instruction of its own",
        build=partial(
            chat_cross_encoder, prompts={"공지": "공지에 맞는 문서인지 판단하세요"}, default_prompt_name="공지"
        ),
    ),
    _case(
        name="LogitScore, messages in parts", build=partial(chat_cross_encoder, template=_STRUCTURED, kind="structured")
    ),
    _case(name="LogitScore without a chat template", build=partial(chat_cross_encoder, template=None)),
    _case(name="ModernBERT classifier without an activation", build=_nano, note="KURE-Reranker-nano"),
    _case(name="ModernBERT classifier of transformers", build=_modernbert),
    _case(name="CrossEncoder of modules: pooling, Dense, LayerNorm, Dense", build=_modular, note="Ettin rerankers"),
    _case(name="CrossEncoder of modules: last token, Dense", build=_last_token),
    _case(name="Qwen3 classifier", build=_classifier),
    _case(
        name="Qwen3 classifier without a padding token",
        build=partial(_classifier, pad_token_id=None),
        reference=_one_by_one,
    ),
    _case(name="Qwen3 classifier with a chat template", build=partial(_classifier, template=TEMPLATE)),
    _case(
        name="Qwen3 classifier with a chat template, saved with modules",
        build=_saved_classifier,
        note="Qwen3-Reranker converted to a classifier",
    ),
]  # fmt: skip
REFUSALS = [
    RefusalCase(
        name="a chat template that does more than put messages together",
        build=partial(chat_cross_encoder, template=TEMPLATE + "{% for i in range(9) %}{{ i }}{% endfor %}"),
        error=CheckpointError,
        use=load_reranker,
    ),
    RefusalCase(
        name="a generative reranker without `LogitScore`", build=_generator, error=UnknownFamilyError, use=load_reranker
    ),
    RefusalCase(
        name="a classifier with two labels",
        build=checkpoints.two_label_cross_encoder,
        error=CheckpointError,
        use=load_reranker,
    ),
    RefusalCase(
        name="a generative reranker where vectors are needed",
        build=chat_cross_encoder,
        error=WrongFamilyError,
        use=load,
    ),
]  # fmt: skip
