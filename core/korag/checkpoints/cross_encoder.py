"""Reading a cross-encoder's settings: number of labels, activation and lengths. Reads no weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from korag.checkpoints.checkpoint import check_saved_lengths, no_model
from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.layouts import find_layout, wrong_family
from korag.checkpoints.settings import FolderSettings, max_length, max_positions, reading
from korag.errors import CheckpointError, UnknownFamilyError

SIGMOID = "torch.nn.modules.activation.Sigmoid"
_DEFAULT_LABELS = 2  # of transformers, for a config.json without the key


@dataclass(frozen=True, kw_only=True)
class CrossEncoderCheckpoint:
    """The settings of a cross-encoder's folder.

    Attributes:
        source: The model's files.
        activation: Dotted name of the activation applied to the logits.
        max_length: Maximum length of a pair in tokens, special tokens included; None for no limit.
        max_positions: Number of tokens the backbone has positions for; None if unknown.
    """

    source: ModelFiles
    activation: str
    max_length: int | None
    max_positions: int | None

    def without_token(self) -> CrossEncoderCheckpoint:
        """Returns a copy without the Hub token, safe to pickle."""
        return replace(self, source=replace(self.source, token=None))


def read_cross_encoder(source: ModelFiles) -> CrossEncoderCheckpoint:
    """Reads the settings of a cross-encoder's folder.

    Args:
        source: The model's files.

    Raises:
        WrongFamilyError: If it is a dense, sparse or late-interaction model; the message names its classes.
        UnknownFamilyError: If it has no classification head.
        CheckpointNotFoundError: If the folder contains no model.
        CheckpointError: If it does not give exactly one score, or cannot be run here.
    """
    with reading(source.folder):
        return _read(source)


def _read(source: ModelFiles) -> CrossEncoderCheckpoint:
    settings = FolderSettings(source.folder)
    layout = find_layout(source.folder)
    if layout is None:
        if not settings.modules and not (source.folder / "config.json").exists():
            raise no_model(source.name)
        raise UnknownFamilyError(
            f"'{source.name}'에는 점수를 내는 분류 헤드가 없습니다(config.json의 architectures가 "
            "…ForSequenceClassification이 아님). 재순위용으로 학습된 크로스 인코더를 넣으세요.",
            f"'{source.name}' has no classification head (the architectures of its config.json are not "
            "…ForSequenceClassification); pass a cross-encoder trained for reranking.",
        )
    if layout.kind != "cross_encoder":
        raise wrong_family(source.name, layout.kind, "cross_encoder")
    if settings.adapter is not None:
        raise CheckpointError(
            f"'{source.name}'은(는) 크로스 인코더의 PEFT 어댑터입니다. 베이스에 합쳐 저장한 폴더를 쓰세요"
            "(peft의 merge_and_unload).",
            f"'{source.name}' is a PEFT adapter of a cross-encoder; merge it into its base (peft's merge_and_unload), "
            "save that, and pass the saved folder.",
        )
    _check_labels(source, settings)
    longest = max_length(settings.backbone)
    check_saved_lengths(source, max_length=longest)
    return CrossEncoderCheckpoint(
        source=source,
        activation=_activation(settings),
        max_length=longest,
        max_positions=max_positions(settings.backbone),
    )


def _check_labels(source: ModelFiles, settings: FolderSettings) -> None:
    if any(name.endswith("LogitScore") for name in settings.module_types):
        raise CheckpointError(
            f"'{source.name}'은(는) 생성 모델의 답(yes/no)으로 점수를 내는 재순위 모델입니다. 여기서는 분류 헤드가 "
            "있는 크로스 인코더만 쓸 수 있습니다.",
            f"'{source.name}' scores with a generative model's answer (yes or no); only cross-encoders with a "
            "classification head can be used here.",
        )
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
