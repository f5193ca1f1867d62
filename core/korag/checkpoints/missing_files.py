"""Files without which no library can load a model folder. The libraries' own errors do not name them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from korag.checkpoints.files import model_files
from korag.checkpoints.settings import read_modules

_TOKENIZERS = ("tokenizer.json", "*vocab*", "*.model", "*tiktoken*", "*token*.py")
"""Names of files that hold the words or the code of a tokenizer."""


def find_missing_file(folder: Path) -> str | None:
    """Describes a file that a folder lacks; None if nothing is missing.

    For folders that could not be loaded: some models with code of their own do without.

    Args:
        folder: A whole folder, weights included.
    """
    for module in read_modules(folder):
        config = PurePosixPath(module["path"], "config.json")
        if str(module["type"]).endswith(("Pooling", "Dense")) and not (folder / config).exists():
            return f"it has no {config}"
    names = [PurePosixPath(file.name) for file in model_files(folder)]
    if not any(name.match(pattern) for name in names for pattern in _TOKENIZERS):
        return "it has no tokenizer.json, nor another file of a tokenizer"
    return None
