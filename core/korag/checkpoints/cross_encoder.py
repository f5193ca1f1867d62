"""Reading a cross-encoder's settings: number of labels, activation, lengths, template. Reads no weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from korag.checkpoints.checkpoint import check_saved_lengths, no_model
from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.layouts import find_layout, wrong_family
from korag.checkpoints.settings import FolderSettings, max_length, max_positions, reading
from korag.errors import CheckpointError, UnknownFamilyError

SIGMOID = "torch.nn.modules.activation.Sigmoid"
_DEFAULT_LABELS = 2  # of transformers, for a config.json without the key
_LARGEST_VOCABULARY = 2**26


@dataclass(frozen=True, kw_only=True)
class CrossEncoderCheckpoint:
    """The settings of a cross-encoder's folder.

    Attributes:
        source: The model's files.
        activation: Dotted name of the activation applied to the logits.
        max_length: Maximum length of a pair in tokens, special tokens included; None for no limit.
        max_positions: Number of tokens the backbone has positions for; None if unknown.
        prompt: Instruction that comes with every pair: before the query, or as a message of its own.
        chat_template: The program that makes one text of a pair; None if the model reads the two as they are.
        generative: True for a language model, whose score is the logit of an answer such as "yes".
    """

    source: ModelFiles
    activation: str
    max_length: int | None
    max_positions: int | None
    prompt: str
    chat_template: str | None
    generative: bool

    def without_token(self) -> CrossEncoderCheckpoint:
        """Returns a copy without the Hub token, safe to pickle."""
        return replace(self, source=replace(self.source, token=None))


def read_cross_encoder(source: ModelFiles, *, remote_code: bool = False) -> CrossEncoderCheckpoint:
    """Reads the settings of a cross-encoder's folder.

    Args:
        source: The model's files.
        remote_code: The caller lets code that comes with the model run, whatever its chat template does included.

    Raises:
        WrongFamilyError: If it is a dense, sparse or late-interaction model; the message names its classes.
        UnknownFamilyError: If it has no classification head.
        CheckpointNotFoundError: If the folder contains no model.
        CheckpointError: If it does not give exactly one score, or cannot be run here.
    """
    with reading(source.folder):
        return _read(source, remote_code=remote_code)


def _read(source: ModelFiles, *, remote_code: bool) -> CrossEncoderCheckpoint:
    settings = FolderSettings(source.folder)
    layout = find_layout(source.folder)
    if layout is None:
        raise _no_head(source, settings)
    if layout.kind != "cross_encoder":
        raise wrong_family(source.name, layout.kind, "cross_encoder")
    if settings.adapter is not None:
        raise CheckpointError(
            f"'{source.name}'은(는) 크로스 인코더의 PEFT 어댑터입니다. 베이스에 병합해 저장한 폴더를 쓰세요"
            "(peft의 merge_and_unload).",
            f"'{source.name}' is a PEFT adapter of a cross-encoder; merge it into its base (peft's merge_and_unload), "
            "save that, and pass the saved folder.",
        )
    generative = any(name.endswith("LogitScore") for name in settings.module_types)
    (_check_answers if generative else _check_labels)(source, settings)
    longest = _pair_length(settings.backbone)
    check_saved_lengths(source, max_length=longest)
    return CrossEncoderCheckpoint(
        source=source,
        activation=_activation(settings),
        max_length=longest,
        max_positions=max_positions(settings.backbone),
        prompt=_prompt(settings),
        chat_template=_chat_template(source, settings, remote_code=remote_code),
        generative=generative,
    )


def _no_head(source: ModelFiles, settings: FolderSettings) -> CheckpointError:
    if not settings.modules and not (source.folder / "config.json").exists():
        return no_model(source.name)
    if any(name.endswith("ForCausalLM") for name in settings.architectures):
        return UnknownFamilyError(
            f"'{source.name}'은(는) 생성 모델이고, 어떤 답의 로짓이 점수인지 적혀 있지 않습니다. 재순위용으로 학습된 "
            "모델이라면 질문과 문서를 담는 chat_template을 넣고 sentence-transformers 형식으로 저장해서 그 폴더를 "
            "쓰세요: CrossEncoder(modules=[Transformer(이름, transformer_task='text-generation'), "
            "LogitScore(true_token_id=…, false_token_id=…)]).save_pretrained(폴더).",
            f"'{source.name}' is a generative model, and its files do not say which answer's logit is the score. If it "
            "was trained for reranking, give it a chat_template with query and document, save it in the layout "
            "of sentence-transformers and pass that folder: CrossEncoder(modules=[Transformer(name, "
            "transformer_task='text-generation'), LogitScore(true_token_id=…, false_token_id=…)])"
            ".save_pretrained(folder).",
        )
    return UnknownFamilyError(
        f"'{source.name}'에는 점수를 내는 분류 헤드가 없습니다(config.json의 architectures가 "
        "…ForSequenceClassification이 아님). 재순위용으로 학습된 크로스 인코더를 넣으세요.",
        f"'{source.name}' has no classification head (the architectures of its config.json are not "
        "…ForSequenceClassification); pass a cross-encoder trained for reranking.",
    )


def _check_labels(source: ModelFiles, settings: FolderSettings) -> None:
    backbone = settings.backbone
    sizes = [
        head.get("out_features") for head in settings.module_settings if head.get("module_output_name") == "scores"
    ]
    labels = sizes[-1] if sizes else len(backbone.get("id2label") or ()) or backbone.get("num_labels", _DEFAULT_LABELS)
    if labels != 1:
        raise CheckpointError(
            f"'{source.name}'은(는) 점수를 {labels}개 냅니다(num_labels={labels}). 순위를 매기려면 하나여야 합니다. "
            "재순위용으로 num_labels=1로 학습된 크로스 인코더를 넣으세요.",
            f"'{source.name}' gives {labels} scores (num_labels={labels}); ranking needs exactly one. Pass a "
            "cross-encoder trained for reranking with num_labels=1.",
        )


def _check_answers(source: ModelFiles, settings: FolderSettings) -> None:
    """Checks the tokens whose logits are the score. A negative number would count from the end of the vocabulary."""
    heads = zip(settings.modules[1:], settings.module_settings, strict=True)
    head = next((config for module, config in heads if str(module["type"]).endswith("LogitScore")), {})
    answers = {"true_token_id": head.get("true_token_id"), "false_token_id": head.get("false_token_id")}
    terms = settings.backbone.get("vocab_size") or _LARGEST_VOCABULARY
    for name, token in answers.items():
        optional = token is None and name == "false_token_id"
        if not optional and not (isinstance(token, int) and 0 <= token < terms):
            raise CheckpointError(
                f"'{source.name}'의 LogitScore 설정에 적힌 {name}={token!r:.80}은(는) 어휘({terms:,}개)에 없는 "
                "토큰입니다. 모델을 다시 다운로드하세요.",
                f"The LogitScore settings of '{source.name}' say {name}={token!r:.80}, which is no token of its "
                f"vocabulary ({terms:,} tokens); download the model again.",
            )


def _pair_length(backbone: dict[str, Any]) -> int | None:
    """Returns the maximum length of a pair: what the tokenizer is called with, before the model's own."""
    called_with = (backbone.get("processing_kwargs") or {}).get("text") or {}
    if called_with.get("truncation") is False:
        return None
    length: int | None = called_with.get("max_length") or max_length(backbone)
    return length


def _prompt(settings: FolderSettings) -> str:
    name = settings.model.get("default_prompt_name")
    return (settings.model.get("prompts") or {}).get(name) or "" if name is not None else ""


def _chat_template(source: ModelFiles, settings: FolderSettings, *, remote_code: bool) -> str | None:
    """Returns the template that pairs go through, after checking it.

    A pipeline says whether they do. In a bare folder, a template counts if it is one for pairs: what chat models have
    knows neither queries nor documents.
    """
    if settings.modules and "message" not in (settings.backbone.get("modality_config") or {}):
        return None
    from korag.checkpoints.chat_template import FILE, check_chat_template, find_chat_template  # imports jinja2

    template = find_chat_template(settings.folder / (settings.modules[0]["path"] if settings.modules else ""))
    if template is None and settings.modules:
        raise CheckpointError(
            f"'{source.name}'은(는) 질문과 문서를 채팅 메시지로 받는데(modality_config) 채팅 템플릿이 없습니다. "
            f"{FILE}을(를) 폴더에 넣거나 모델을 다시 다운로드하세요.",
            f"'{source.name}' takes queries and documents as chat messages (modality_config), but has no chat "
            f"template; put {FILE} into the folder, or download the model again.",
        )
    if template is None or not (settings.modules or template.names_roles):
        return None
    if not remote_code:
        check_chat_template(template)
    return template.text


def _activation(settings: FolderSettings) -> str:
    """Returns the saved activation, in sentence-transformers' order of precedence; a sigmoid if none is saved."""
    backbone = settings.backbone
    saved = (
        settings.model.get("activation_fn")
        or (backbone.get("sentence_transformers") or {}).get("activation_fn")
        or backbone.get("sbert_ce_default_activation_function")
        or SIGMOID
    )
    return str(saved)
