"""Finds a model's files: bundled with the package, in a local folder, or on the Hugging Face Hub."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.files import model_files
from korag.checkpoints.presets import PRESETS
from korag.checkpoints.unreachable import explain_missing, no_download
from korag.checkpoints.vetting import check_folder
from korag.checks import check_flag
from korag.errors import CheckpointNotFoundError, HubUnreachableError, InvalidArgumentError
from korag.storage import check_readable, find_path

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SETTINGS = ["*.json", "*.jinja", "artifact.metadata", "matryoshka_heads.*"]
"""Configuration and tokenizer files, a few hundred kB: family, lengths, prompts, chat templates and dims."""
_WEIGHTS = ["*.safetensors", "*.txt", "*.model"]
_WEIGHT_SUFFIXES = (".safetensors", ".bin")
_NOT_A_BACKBONE = re.compile(
    r"[1-9]\d*_[^/]+/.*|\w+_\d+_(SparseStaticEmbedding|Dense)/.*|matryoshka_heads\..*|training_args\.bin"
)
"""Weight files without a backbone: later modules such as ``1_Dense``, a Router's tables of token weights, heads, a
trainer's settings."""


@dataclass(frozen=True)
class ModelFiles:
    """A model's files.

    Attributes:
        name: The name or path given by the caller.
        folder: Local folder; for a model on the Hub, its snapshot in the cache.
        revision: The Hub commit; None for a local folder.
        cache_folder: The Hub cache; None for the default one.
        local_files_only: Never contact the Hub.
        token: Hub token; not part of the repr.
        heads: Names of heads to download too (see `korag.checkpoints.linear_heads`).
    """

    name: str
    folder: Path
    revision: str | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False)
    heads: tuple[str, ...] = ()

    @property
    def portable_name(self) -> str:
        """A name valid in any working directory: the Hub id, the bundled model's name, or the absolute path."""
        shipped = shipped_models().get(self.name) == self.folder
        return self.name if self.revision or shipped else str(self.folder)

    def fetch_weights(self, *, remote_code: bool) -> ModelFiles:
        """Downloads the weights; for a local folder, checks that they still exist.

        Args:
            remote_code: Also fetch the repository's Python files.

        Raises:
            HubUnreachableError: If the weights are not in the cache and cannot be downloaded.
            CheckpointNotFoundError: If a local folder no longer has weights.
            CheckpointError: If a file or setting is not allowed.
        """
        if self.revision is None:
            self.check_weights()
            check_folder(self.folder, remote_code=remote_code)
            return self
        patterns = _SETTINGS + _WEIGHTS + (["*.py"] if remote_code else [])
        source = _snapshot(self, patterns)
        if not has_weights(source.folder):  # an older repository: only pickled weights, read as tensors only
            source = _snapshot(self, [*patterns, "*.bin"])
        source.check_weights()
        check_folder(source.folder, remote_code=remote_code)
        return source

    def check_weights(self) -> None:
        """Checks that the folder has weights, not only settings.

        Raises:
            CheckpointNotFoundError: If a local folder has no weights.
            HubUnreachableError: If they are missing from the cache.
            AccessError: If a file may not be read.
        """
        for path in model_files(self.folder):
            check_readable(path)
        if has_weights(self.folder):
            return
        kind = CheckpointNotFoundError if self.revision is None else HubUnreachableError
        wanted = "adapter_model" if (self.folder / "adapter_config.json").exists() else "model"
        korean, english = no_download(self) if self.revision is not None else ("", "")
        raise kind(
            f"'{self.name}'의 설정 파일은 있지만 가중치 파일({wanted}.safetensors)이 없습니다. "
            f"{korean or '모델을 다시 다운로드하세요.'}",
            f"'{self.name}' has configuration files but no weights ({wanted}.safetensors); "
            f"{english or 'download the model again.'}",
        )


def has_weights(folder: Path) -> bool:
    """Returns True if a folder has the weights of a backbone or adapter, not only those of projections or heads."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in _WEIGHT_SUFFIXES)
    return not all(map(_NOT_A_BACKBONE.fullmatch, files))


def resolve_model(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_folder: str | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    remote_code: bool = False,
    heads: tuple[str, ...] = (),
) -> ModelFiles:
    """Finds and checks a model's files: a local folder, then a bundled model, then the Hub (configuration only).

    Args:
        model: A path, the name of a bundled model, or a Hub id ``owner/name``.
        revision: Hub branch, tag or commit. A folder or bundled model has only one.
        cache_folder: Hub cache; by default ``SENTENCE_TRANSFORMERS_HOME``, then the Hub's own.
        local_files_only: Use the cache only; no network access.
        token: Hub token.
        remote_code: The caller lets Python files that come with the model run.
        heads: Names of heads to download too (see `korag.checkpoints.linear_heads`).

    Raises:
        CheckpointError: If a file or setting of the model is not allowed.
        InvalidArgumentError: If `model` is neither a string nor a path, or a folder or bundled model is given with a
            `revision`.
        CheckpointNotFoundError: If there is no such path, name or repository.
        AccessError: If its folder may not be read.
        HubUnreachableError: If the model is not in the cache and the Hub cannot be reached.
        StorageError: If the cache is full or cannot be written.
    """
    if not isinstance(model, str | os.PathLike):
        # a dict of settings may hold a token
        shown = repr(model) if isinstance(model, int | float | None) else f"<{type(model).__name__}>"
        raise InvalidArgumentError(
            f"model={shown}: 모델 이름이나 경로(str)여야 합니다. 예: 'mini-colbert'.",
            f"model={shown} is invalid; pass the name or path of a model, for example 'mini-colbert'.",
        )
    check_flag("local_files_only", local_files_only)
    name = os.fspath(model)
    folder = find_path(name) if name else None  # "" would be the working directory
    if folder is not None and folder.is_dir():
        _check_no_revision(name, revision)
        check_readable(folder)
        return _checked(ModelFiles(name, folder.resolve()), remote_code=remote_code)
    if folder is not None:
        raise CheckpointNotFoundError(
            f"'{name}'은(는) 파일입니다. 모델 폴더의 경로를 넣으세요.",
            f"'{name}' is a file; pass the model's folder.",
        )
    if name in (shipped := shipped_models()):
        _check_no_revision(name, revision)
        return ModelFiles(name, shipped[name])
    if not _HUB_ID.fullmatch(name) or name.startswith("."):
        close = difflib.get_close_matches(name, PRESETS, n=1)
        raise CheckpointNotFoundError(
            f"'{name}' 모델을 찾을 수 없습니다. 같은 이름의 폴더나 내장 모델({', '.join(shipped)})이 없고, "
            "Hub 이름(owner/name) 형식도 아닙니다." + (f" 혹시 '{close[0]}'인가요?" if close else ""),
            f"There is no model '{name}': it is neither a folder nor a bundled model "
            f"({', '.join(shipped)}), and it does not have the form owner/name of a Hub id."
            + (f" Did you mean '{close[0]}'?" if close else ""),
        )
    cache = cache_folder or os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    source = _snapshot(ModelFiles(name, Path(name), revision, cache, local_files_only, token, heads), _SETTINGS)
    if not any(source.folder.glob("*.json")):
        raise explain_missing(source)
    return _checked(source, remote_code=remote_code)


def _check_no_revision(name: str, revision: object) -> None:
    if revision is not None:
        raise InvalidArgumentError(
            f"revision={revision!r:.80}: '{name}'은(는) 이 컴퓨터에 있는 모델이라 버전이 하나뿐입니다. revision은 Hub "
            "모델에만 쓰니 빼세요.",
            f"revision={revision!r:.80}: '{name}' is on this machine and has only one version. A revision is for "
            "models of the Hub; leave it out.",
        )


def _checked(source: ModelFiles, *, remote_code: bool) -> ModelFiles:
    check_folder(source.folder, remote_code=remote_code)
    return source


def _snapshot(source: ModelFiles, patterns: list[str]) -> ModelFiles:
    from huggingface_hub import errors, snapshot_download

    try:
        folder = snapshot_download(
            source.name,
            revision=source.revision,
            cache_dir=source.cache_folder,
            local_files_only=source.local_files_only,
            token=source.token,
            allow_patterns=[*patterns, *source.heads],
        )
    except errors.HFValidationError as error:
        raise CheckpointNotFoundError(
            f"'{source.name}'은(는) 폴더가 아니며 Hub 이름(owner/name)으로도 올바르지 않습니다.",
            f"'{source.name}' is neither a folder nor a valid Hub id (owner/name).",
        ) from error
    except Exception as error:  # refused, not in the cache, offline, or whatever this version's HTTP library raises
        raise explain_missing(source, error) from error
    return replace(source, folder=Path(folder), revision=Path(folder).name)
