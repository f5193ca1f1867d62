"""The settings files of a model folder, read as JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from korag.checkpoints.files import LARGEST_FILE, LARGEST_SETTINGS, broken, parse_json
from korag.checkpoints.matryoshka import find_heads
from korag.checkpoints.routes import ROUTER_SETTINGS, Side, is_router, route_modules
from korag.checkpoints.rules import is_module
from korag.errors import CheckpointError, KoragError
from korag.storage import storage_errors

_TRANSFORMER_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names of the Transformer module's own settings, in sentence-transformers' order; only the first is current."""
_POSITION_OFFSET = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}  # position ids start after padding_idx
_UNSET_LENGTH = 1_000_000  # tokenizers without a limit save 1e30


@dataclass(frozen=True)
class FolderSettings:
    """All settings of a model folder; each file is read on first use.

    Attributes:
        folder: The model folder.
        base: The folder of the base model if this one is a PEFT adapter. An adapter without ``modules.json`` runs in
            its base's pipeline.
        side: Whose way through a Router to follow; documents' unless it is asked of `queries`.
    """

    folder: Path
    base: Path | None = None
    side: Side = "document"

    @cached_property
    def queries(self) -> FolderSettings:
        """The same folder on the way of queries; equal in all but its modules, and in these without a Router."""
        return replace(self, side="query")

    @cached_property
    def own_modules(self) -> list[dict[str, Any]]:
        """Entries of the folder's own ``modules.json``."""
        return read_modules(self.folder)

    @property
    def bare_adapter(self) -> bool:
        """True for an adapter without a pipeline of its own."""
        return self.base is not None and not self.own_modules

    @property
    def home(self) -> Path:
        """The folder of the pipeline: the base's for a bare adapter, otherwise this one."""
        return self.base if self.base is not None and not self.own_modules else self.folder

    @cached_property
    def modules(self) -> list[dict[str, Any]]:
        """Entries of the pipeline's ``modules.json``, with those of its `side` in the place of a Router."""
        return follow(self.home, self.side)

    @property
    def module_types(self) -> list[str]:
        """Class names of the pipeline's modules, e.g. ``"sentence_transformers.models.Pooling"``."""
        return [str(module["type"]) for module in self.modules]

    @property
    def is_normalized(self) -> bool:
        """True if the pipeline makes unit vectors."""
        if self.is_model2vec:
            return bool(self.backbone.get("normalize"))
        return any(name.endswith("Normalize") for name in self.module_types)

    @property
    def sized_by_weights(self) -> bool:
        """True if only the loaded model shows the size of its vectors."""
        return self.is_static or self.is_model2vec or not all(map(is_module, self.module_types[1:]))

    @property
    def is_static(self) -> bool:
        """True if the pipeline begins with a table of token vectors instead of a Transformer."""
        return bool(self.modules) and self.module_types[0].rpartition(".")[2] == "StaticEmbedding"

    @property
    def is_model2vec(self) -> bool:
        """True for model2vec's own layout, if it lacks the ``modules.json`` that newer versions add."""
        config = {} if self.own_modules else read_json(self.folder / "config.json")
        return config.get("model_type") == "model2vec" or "apply_pca" in config  # the first versions named no type

    @cached_property
    def module_settings(self) -> list[dict[str, Any]]:
        """``config.json`` of every module after the first, the Transformer."""
        return [read_json(self.home / module["path"] / "config.json") for module in self.modules[1:]]

    @cached_property
    def model(self) -> dict[str, Any]:
        """``config_sentence_transformers.json``: type, prompts, similarity."""
        name = "config_sentence_transformers.json"
        return read_json(self.home / name) | read_json(self.folder / name)

    @cached_property
    def backbone(self) -> dict[str, Any]:
        """Settings of the Transformer module and its tokenizer; an adapter's override its base's."""
        base = {} if self.base is None else backbone_settings(self.base, follow(self.base, self.side))
        return base | backbone_settings(self.folder, follow(self.folder, self.side))

    @cached_property
    def architectures(self) -> list[str]:
        """Class names in ``config.json``, e.g. ``"BertForMaskedLM"``."""
        return read_json(self.folder / "config.json").get("architectures") or []

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """``artifact.metadata``, as Stanford's ColBERT writes it."""
        return read_json(self.folder / "artifact.metadata")

    @cached_property
    def heads(self) -> Path | None:
        """The Matryoshka heads file."""
        return find_heads(self.folder)

    @cached_property
    def adapter(self) -> dict[str, Any] | None:
        """``adapter_config.json`` of a PEFT adapter; None if the folder is not one."""
        folder = find_adapter(self.folder)
        return None if folder is None else read_json(folder / "adapter_config.json")


def follow(folder: Path, side: Side) -> list[dict[str, Any]]:
    """Returns the modules that texts go through: the entries of ``modules.json``, with a Router's route in its place.

    Args:
        folder: The model folder.
        side: Queries or documents.

    Raises:
        CheckpointError: If a Router has no route for them.
    """
    followed: list[dict[str, Any]] = []
    for module in read_modules(folder):
        if not is_router(str(module["type"])):
            followed.append(module)
            continue
        place = folder / module["path"]
        path = next((place / name for name in ROUTER_SETTINGS if (place / name).exists()), place / ROUTER_SETTINGS[0])
        followed += (
            {"path": PurePosixPath(module["path"], name).as_posix(), "type": kind}
            for name, kind in route_modules(read_json(path), side, path)
        )
    return followed


def module_types(folder: Path) -> list[str]:
    """Returns the dotted names of the classes of all modules that texts go through."""
    sides: tuple[Side, ...] = ("query", "document")
    return [str(module["type"]) for side in sides for module in follow(folder, side)]


def find_adapter(folder: Path) -> Path | None:
    """Returns the folder with ``adapter_config.json``: the checkpoint's own or its Transformer module's."""
    modules = read_modules(folder)
    places = [folder, *(folder / module["path"] for module in modules[:1])]
    return next((place for place in places if (place / "adapter_config.json").exists()), None)


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Returns the entries of ``modules.json``, in order; an empty list if there is no such file.

    Raises:
        CheckpointError: If it is not a list of modules.
    """
    path = folder / "modules.json"
    modules: Any = parse_json(path) if path.exists() else []
    if not isinstance(modules, list) or not all(isinstance(m, dict) and {"path", "type"} <= m.keys() for m in modules):
        raise broken(path, "not a list of modules")
    return modules


def read_json(path: Path, *, limit: int = LARGEST_SETTINGS) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one if there is no such file.

    Args:
        path: The file.
        limit: Bytes it may have.

    Raises:
        CheckpointError: If it cannot be read or is not an object.
    """
    with storage_errors(path, writing=False):
        if not path.exists():
            return {}
    value = parse_json(path, limit=limit)
    if not isinstance(value, dict):
        raise broken(path, "not a JSON object")
    return value


def read_transformer_settings(folder: Path) -> dict[str, Any]:
    """Returns sentence-transformers' own settings of a Transformer module: maximum length, lower-casing."""
    return next((found for name in _TRANSFORMER_SETTINGS if (found := read_json(folder / name))), {})


def backbone_settings(folder: Path, modules: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the settings of a folder's Transformer module and tokenizer, merged.

    Args:
        folder: The model folder.
        modules: Its ``modules.json``; the Transformer is the first module, or the folder itself if there is none.
    """
    place = folder / (modules[0]["path"] if modules else "")
    merged: dict[str, Any] = {}
    for name in ("config.json", "tokenizer_config.json"):
        merged |= read_json(place / name)
    return merged | read_transformer_settings(place)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turns what a setting of the wrong kind raises inside the block into an error of the folder."""
    try:
        yield
    except KoragError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise CheckpointError(
            f"'{folder}'의 설정 파일에 알맞지 않은 값이 있습니다({type(error).__name__}: {error}). 모델을 다시 "
            "다운로드하세요.",
            f"The settings files of '{folder}' hold a value of the wrong kind ({type(error).__name__}: {error}); "
            "download the model again.",
        ) from error


def max_length(backbone: dict[str, Any]) -> int | None:
    """Returns a Transformer module's maximum length in tokens; None if it has no limit."""
    own = backbone.get("max_seq_length")
    if own is None:
        limits = [backbone.get("model_max_length"), max_positions(backbone)]
        own = min((int(limit) for limit in limits if limit and limit < _UNSET_LENGTH), default=None)
    return own


def tokenizer_limit(folder: Path) -> int | None:
    """Returns the number of tokens after which ``tokenizer.json`` itself truncates; None for no limit."""
    truncation = read_json(folder / "tokenizer.json", limit=LARGEST_FILE).get("truncation")
    return None if truncation is None else truncation["max_length"]


def max_positions(backbone: dict[str, Any]) -> int | None:
    """Returns the number of tokens the backbone has positions for; None if its settings do not say."""
    positions = backbone.get("max_position_embeddings") or 0
    return positions - _POSITION_OFFSET.get(str(backbone.get("model_type")), 0) if positions > 0 else None
