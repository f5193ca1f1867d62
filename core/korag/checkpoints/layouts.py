"""The layouts of model folders on disk. To add one, add a row to `LAYOUTS`, and a reader if it keeps things elsewhere.

Rows are tried in order, so the more specific comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from korag.checkpoints.presets import Family
from korag.checkpoints.readers import DENSE, LATE_INTERACTION, MODEL2VEC, SPARSE, STANFORD, Reader
from korag.checkpoints.settings import FolderSettings
from korag.errors import WrongFamilyError

Kind = Family | Literal["cross_encoder"]
"""The kinds of models: three families that make vectors, and cross-encoders, which score pairs."""


@dataclass(frozen=True)
class Layout:
    """A layout of model folders.

    Attributes:
        name: Who writes it.
        kind: What such a folder contains.
        matches: Recognises it by its settings files.
        reader: Reads its settings; None for cross-encoders, which `korag.checkpoints.cross_encoder` reads.
    """

    name: str
    kind: Kind
    matches: Callable[[FolderSettings], bool]
    reader: Reader | None


def _model_type(*names: str) -> Callable[[FolderSettings], bool]:
    return lambda settings: str(settings.model.get("model_type")) in names


def _module(*parts: str) -> Callable[[FolderSettings], bool]:
    return lambda settings: any(part in name for name in settings.module_types for part in parts)


def _module_ending(*ends: str) -> Callable[[FolderSettings], bool]:
    return lambda settings: any(name.endswith(ends) for name in settings.module_types)


def _architecture(end: str) -> Callable[[FolderSettings], bool]:
    return lambda settings: any(name.endswith(end) for name in settings.architectures)


def _is_stanford(settings: FolderSettings) -> bool:
    return "HF_ColBERT" in settings.architectures


LAYOUTS: tuple[Layout, ...] = (
    Layout("sentence-transformers CrossEncoder", "cross_encoder", _model_type("CrossEncoder"), None),
    Layout(
        "PEFT adapter of a cross-encoder", "cross_encoder",
        lambda settings: (settings.adapter or {}).get("task_type") == "SEQ_CLS", None,
    ),
    Layout(
        "Stanford ColBERT", "late_interaction",
        lambda settings: _is_stanford(settings) and not settings.modules, STANFORD,
    ),
    Layout("Stanford ColBERT in a pipeline", "late_interaction", _is_stanford, LATE_INTERACTION),
    Layout(
        "ColBERT artifact", "late_interaction",
        lambda settings: (settings.folder / "artifact.metadata").exists(), LATE_INTERACTION,
    ),
    Layout("Matryoshka heads", "late_interaction", lambda settings: settings.heads is not None, LATE_INTERACTION),
    Layout("sentence-transformers MultiVectorEncoder", "late_interaction", _model_type("MultiVectorEncoder"),
           LATE_INTERACTION),
    Layout("PyLate", "late_interaction", _model_type("ColBERT"), LATE_INTERACTION),
    Layout("sentence-transformers SparseEncoder", "sparse", _model_type("SparseEncoder"), SPARSE),
    Layout("sentence-transformers SentenceTransformer", "dense", _model_type("SentenceTransformer"), DENSE),
    Layout(
        "PyLate modules", "late_interaction",
        lambda settings: any(name.startswith("pylate.") for name in settings.module_types), LATE_INTERACTION,
    ),
    Layout("multi-vector modules", "late_interaction", _module_ending("MultiVectorMask"), LATE_INTERACTION),
    Layout("sparse modules", "sparse", _module("SpladePooling", "MLMTransformer", "Sparse"), SPARSE),
    Layout("generative cross-encoder modules", "cross_encoder", _module_ending("LogitScore"), None),
    Layout("dense modules", "dense", _module_ending("Pooling", "StaticEmbedding"), DENSE),
    Layout("model2vec", "dense", lambda settings: settings.is_model2vec, MODEL2VEC),
    Layout("PEFT adapter", "dense", lambda settings: settings.adapter is not None, DENSE),
    Layout(
        "transformers sequence classification", "cross_encoder", _architecture("ForSequenceClassification"), None,
    ),
)  # fmt: skip


def find_layout(folder: Path) -> Layout | None:
    """Returns the layout of a model folder; None if its settings files do not show it."""
    settings = FolderSettings(folder)
    return next((layout for layout in LAYOUTS if layout.matches(settings)), None)


# -- errors ---------------------------------------------------------------------------------------------------

_CALLED: dict[Kind, str] = {"late_interaction": "ColBERT(late_interaction)"}
_USE_INSTEAD: dict[Kind, str] = {
    "dense": "korag.DenseEncoder, korag.Collection, KoEmbeddings (LangChain), KoEmbedding (LlamaIndex)",
    "sparse": "korag.SparseEncoder, korag.Collection, KoSparseEmbeddings (LangChain), KoSparseEmbedding (LlamaIndex)",
    "late_interaction": "korag.LateInteractionEncoder, korag.Collection, KoColBERTRetriever, KoColBERTReranker "
    "(LangChain), KoColBERTRetriever, KoColBERTIndex, KoColBERTRerank (LlamaIndex)",
    "cross_encoder": "korag.CrossEncoderReranker, KoCrossEncoderReranker (LangChain), KoCrossEncoderRerank "
    "(LlamaIndex)",
}


def cross_encoder_error(name: object) -> WrongFamilyError:
    """Returns the error for a cross-encoder where vectors are needed; it names the classes to use."""
    return WrongFamilyError(
        f"'{name}'은(는) 크로스 인코더라서 벡터를 만들지 않습니다. 검색 모델을 넣거나, 재순위에는 다음을 쓰세요: "
        f"{_USE_INSTEAD['cross_encoder']}.",
        f"'{name}' is a cross-encoder, which makes no vectors; pass a retrieval model, or rerank with: "
        f"{_USE_INSTEAD['cross_encoder']}.",
    )


def wrong_family(name: str, found: Kind, wanted: Kind) -> WrongFamilyError:
    """Returns the error for a model of another family than needed; it names the classes to use."""
    own, needed = _CALLED.get(found, found), _CALLED.get(wanted, wanted)
    return WrongFamilyError(
        f"여기에는 {needed} 모델이 필요한데 '{name}'은(는) {own} 모델입니다. 대신 쓸 클래스: {_USE_INSTEAD[found]}.",
        f"'{name}' is a {own} model, but a {needed} model is needed here. Use instead: {_USE_INSTEAD[found]}.",
    )
