"""What a cross-encoder's folder holds: labels, activation and lengths. Reads no weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.layouts import (
    backbone_settings,
    detect_kind,
    find_adapter,
    own_length,
    read_json,
    read_modules,
    wrong_family,
)
from korag.errors import CheckpointError, CheckpointNotFoundError, UnknownFamilyError

SIGMOID = "torch.nn.modules.activation.Sigmoid"
_DEFAULT_LABELS = 2  # transformers', where a config.json does not say


@dataclass(frozen=True, kw_only=True)
class CrossEncoderCheckpoint:
    """A cross-encoder's folder, described.

    Attributes:
        source: Where the files are.
        activation: Dotted name of what is applied to the logits.
        max_length: Longest pair in tokens, special tokens included; None if it does not say.
        max_positions: What the backbone can take at most; None if it does not say.
    """

    source: ModelFiles
    activation: str
    max_length: int | None
    max_positions: int | None

    def without_token(self) -> CrossEncoderCheckpoint:
        """Returns it without the Hub token, to be pickled."""
        return replace(self, source=replace(self.source, token=None))


def read_cross_encoder(source: ModelFiles, *, remote_code: bool = False) -> CrossEncoderCheckpoint:
    """Describes the cross-encoder in a folder.

    Args:
        source: Its files.
        remote_code: Whether an activation that is not torch's own may be imported.

    Raises:
        WrongFamilyError: If it is a dense, sparse or late-interaction model; the message names its classes.
        UnknownFamilyError: If it has no classification head.
        CheckpointError: If it does not give exactly one score, or is of a kind that cannot be run here.
    """
    folder = source.folder
    kind = detect_kind(folder)
    if kind is not None and kind != "cross_encoder":
        raise wrong_family(source.name, kind, "cross_encoder")
    modules = read_modules(folder)
    if kind is None:
        if not modules and not (folder / "config.json").exists():
            raise CheckpointNotFoundError(
                f"'{source.name}' 폴더에는 모델이 없습니다(config.json도 modules.json도 없음).",
                f"The folder '{source.name}' holds no model (no config.json, no modules.json).",
            )
        raise UnknownFamilyError(
            f"'{source.name}'에는 점수를 내는 분류 헤드가 없습니다(config.json의 architectures가 "
            "…ForSequenceClassification이 아님). 재순위용으로 학습된 크로스 인코더를 넣으세요.",
            f"'{source.name}' has no classification head to make scores (the architectures of its config.json are not "
            "…ForSequenceClassification); pass a cross-encoder that was trained for reranking.",
        )
    if find_adapter(folder) is not None:
        raise CheckpointError(
            f"'{source.name}'은(는) 크로스 인코더의 PEFT 어댑터입니다. 베이스에 합쳐 저장한 폴더를 쓰세요"
            "(peft의 merge_and_unload).",
            f"'{source.name}' is a PEFT adapter of a cross-encoder; merge it into its base (peft's merge_and_unload), "
            "save that, and pass the saved folder.",
        )
    backbone = backbone_settings(folder, modules)
    _check_labels(source, modules, backbone)
    return CrossEncoderCheckpoint(
        source=source,
        activation=_activation(source, backbone, remote_code=remote_code),
        max_length=own_length(backbone)[0],
        max_positions=own_length(backbone)[1],
    )


def _check_labels(source: ModelFiles, modules: list[dict[str, Any]], backbone: dict[str, Any]) -> None:
    if any(str(module["type"]).endswith("LogitScore") for module in modules):
        raise CheckpointError(
            f"'{source.name}'은(는) 생성 모델의 답(yes/no)으로 점수를 내는 재순위 모델입니다. 여기서는 분류 헤드가 "
            "있는 크로스 인코더만 쓸 수 있습니다.",
            f"'{source.name}' scores by a generative model's answer (yes or no); only cross-encoders with a "
            "classification head can be used here.",
        )
    heads = [read_json(source.folder / module["path"] / "config.json") for module in modules[1:]]
    sizes = [head.get("out_features") for head in heads if head.get("module_output_name") == "scores"]
    labels = sizes[-1] if sizes else len(backbone.get("id2label") or ()) or backbone.get("num_labels", _DEFAULT_LABELS)
    if labels != 1:
        raise CheckpointError(
            f"'{source.name}'은(는) 점수를 {labels}개 냅니다(num_labels={labels}). 순위를 매기려면 하나여야 합니다. "
            "재순위용으로 num_labels=1로 학습된 크로스 인코더를 넣으세요.",
            f"'{source.name}' gives {labels} scores (num_labels={labels}); ranking needs exactly one. Pass a "
            "cross-encoder that was trained for reranking with num_labels=1.",
        )


def _activation(source: ModelFiles, backbone: dict[str, Any], *, remote_code: bool) -> str:
    """The saved activation, looked up in sentence-transformers' own order; a sigmoid where nothing is saved."""
    settings = read_json(source.folder / "config_sentence_transformers.json")
    saved = (
        settings.get("activation_fn")
        or (backbone.get("sentence_transformers") or {}).get("activation_fn")
        or backbone.get("sbert_ce_default_activation_function")
        or SIGMOID
    )
    if not remote_code and not str(saved).startswith("torch."):
        # sentence-transformers would take a sigmoid in its place, and say so in a log only
        raise CheckpointError(
            f"'{source.name}'의 활성화 함수 '{saved}'은(는) torch의 것이 아니라서 체크포인트의 코드를 실행해야 합니다. "
            "그 코드를 믿을 수 있을 때만 trust_remote_code=True를 넣으세요.",
            f"The activation '{saved}' of '{source.name}' is not one of torch's: using it means running the "
            "checkpoint's code. Pass trust_remote_code=True only if you trust it.",
        )
    return str(saved)
