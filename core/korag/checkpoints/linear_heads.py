"""BGE-M3's heads: linear layers beside a dense model that make sparse weights and token vectors of the same backbone.

``sparse_linear.pt`` and ``colbert_linear.pt`` are state dicts of `torch.nn.Linear`, as FlagEmbedding writes them
(https://arxiv.org/abs/2402.03216, section 3.2). They are read with ``weights_only=True``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag.checkpoints.presets import Family
from korag.checkpoints.settings import FolderSettings
from korag.checkpoints.torch_files import load_state
from korag.errors import MissingHeadsError

if TYPE_CHECKING:
    import torch

HEAD_FILES: dict[Family, str] = {"sparse": "sparse_linear.pt", "late_interaction": "colbert_linear.pt"}
"""The head of each family that a dense model can have beside it."""


def head_files(family: Family | None) -> tuple[str, ...]:
    """Returns the names of the heads that matter if a family is asked for; None for any."""
    return tuple(name for of, name in HEAD_FILES.items() if family in (None, of))


def find_linear_heads(folder: Path) -> dict[Family, Path]:
    """Returns the heads in a model folder by family."""
    return {family: folder / name for family, name in HEAD_FILES.items() if (folder / name).exists()}


def read_linear_head(path: Path, hidden_size: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads a head.

    Args:
        path: Its file.
        hidden_size: Hidden size of the backbone.

    Returns:
        (weight, bias) in float32. Shapes: (outputs, hidden size), (outputs,).

    Raises:
        MissingHeadsError: If the file cannot be read, its shapes do not fit, or it holds NaN or infinity.
    """
    try:
        saved: Any = load_state(path)
        weight, bias = saved["weight"], saved["bias"]
        shapes = tuple(weight.shape), tuple(bias.shape)
        outputs = 1 if path.name == HEAD_FILES["sparse"] else shapes[0][0]
        if len(saved) != 2 or shapes != ((outputs, hidden_size), (outputs,)):
            raise ValueError(f"shapes {shapes[0]} and {shapes[1]}, not ({outputs}, {hidden_size}) and ({outputs},)")
        weight, bias = weight.float(), bias.float()
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise ValueError("it holds NaN or infinity")
    except Exception as error:  # torch.load may raise anything for damaged bytes
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    return weight, bias


def linear_dim(family: Family, settings: FolderSettings) -> Any:
    """Returns the size of the vectors that a head makes, after checking it: the vocabulary, or its outputs."""
    backbone = settings.backbone
    weight, _ = read_linear_head(settings.folder / HEAD_FILES[family], backbone.get("hidden_size"))
    return backbone.get("vocab_size") if family == "sparse" else len(weight)


def _unreadable(path: Path, reason: str) -> MissingHeadsError:
    reason = " ".join(reason.split())[:300]
    return MissingHeadsError(
        f"헤드 '{path}'을(를) 이 모델에 쓸 수 없습니다({reason}). 헤드는 같은 폴더의 모델과 함께 학습된 것이어야 "
        "합니다. 파일을 다시 다운로드하거나, dense 모델로만 쓰려면 family='dense'를 넣으세요.",
        f"The head '{path}' cannot be used with this model ({reason}); it must have been trained with the model in its "
        "folder. Download the file again, or pass family='dense' to use the dense model only.",
    )
