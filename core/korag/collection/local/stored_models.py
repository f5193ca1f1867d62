"""Loading the models that a manifest names: what a folder decides, and what its caller must allow.

A folder may come from anywhere. It says which model its vectors are of, never how a model is run; and a model from
outside the folder is loaded only where the caller says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.presets import Family
from korag.checkpoints.settings import find_adapter, read_json
from korag.encoders.base import Encoder
from korag.encoders.load import load_encoder
from korag.encoders.options import PoolingMode
from korag.errors import IndexStateError, KoragError
from korag.storage import find_path

_LONGEST = 100_000
"""Of the texts in a manifest: names and prompts."""


def _text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value) <= _LONGEST


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_RECORDED: dict[str, Callable[[object], bool]] = {
    "model": lambda value: _text(value) and bool(value),
    "family": lambda value: value in get_args(Family),
    "revision": _or_none(_text),
    "dim": _or_none(_count),
    "query_prompt": _or_none(_text),
    "document_prompt": _or_none(_text),
    "max_length": _or_none(_count),
    "query_length": _or_none(_count),
    "adapter": _or_none(_text),
    "pooling": lambda value: value in (None, *get_args(PoolingMode)),
}
"""Keywords of `load_encoder` that a manifest may hold: those that change vectors, with checks of their values."""


@dataclass(frozen=True)
class StoredModels:
    """Loads the encoders of a collection that its caller did not name.

    Attributes:
        place: The collection, for messages.
        folder: Its folder; None for a collection in memory.
        allowed: The caller allows models from outside the folder.
    """

    place: str
    folder: Path | None = None
    allowed: bool = False

    def load(self, leg: str, recorded: Mapping[str, Any]) -> Encoder[Any]:
        """Loads the encoder of a leg.

        Bundled models and those inside the collection's folder are always loaded; others only if `allowed`.

        Args:
            leg: The leg's name.
            recorded: Its entry in the manifest.

        Raises:
            IndexStateError: If the entry holds anything but what changes vectors, names a model from outside that is
                not allowed, or the model cannot be loaded.
        """
        arguments = self._check(leg, recorded.get("load"))
        if not self.allowed and (outside := next(self._outside(arguments), None)):
            raise self._not_allowed(leg, outside)
        try:
            return load_encoder(**arguments)
        except KoragError as error:
            raise IndexStateError(
                f"{self.place}의 '{leg}' 인코더 {arguments['model']!r}을(를) 불러올 수 없습니다. 모델의 경로를 "
                f"지정하세요: encoders=[load_encoder('모델 폴더', ...)].\n{error.args[0]}",
                f"The '{leg}' encoder {arguments['model']!r} of {self.place} cannot be loaded. Pass it from where it "
                f"is now: encoders=[load_encoder('model folder', ...)].\n{error.args[1]}",
            ) from error

    def _check(self, leg: str, arguments: Any) -> dict[str, Any]:
        if not isinstance(arguments, dict) or "model" not in arguments:
            wrong = ["model"]
        else:
            wrong = sorted(
                name for name, value in arguments.items() if name not in _RECORDED or not _RECORDED[name](value)
            )
        if wrong:
            listed = ", ".join(f"{name:.80}" for name in wrong)
            raise IndexStateError(
                f"{self.place}의 '{leg}' 인코더 설정에 허용되지 않는 항목이나 값이 있습니다: {listed}. 폴더가 "
                "변조되었을 수 있으니 출처를 확인하고, 믿을 수 있다면 encoders=[load_encoder(...)]로 인코더를 직접 "
                "넣으세요.",
                f"The settings of the '{leg}' encoder of {self.place} hold entries or values that are not allowed: "
                f"{listed}. The folder may have been tampered with: check where it comes from. If you trust it, pass "
                "the encoder yourself: encoders=[load_encoder(...)].",
            )
        return dict(arguments)

    def _outside(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yields the models that would be loaded from outside the folder."""
        for name in filter(None, (arguments["model"], arguments.get("adapter"))):
            folder = find_path(name)  # in the order of `resolve_model`: a folder hides a bundled name
            if folder is None:
                if name not in shipped_models():
                    yield name
            elif not self._is_inside(folder):
                yield name
            elif arguments.get("adapter") is None and (adapter := find_adapter(folder)) is not None:
                base = str(read_json(adapter / "adapter_config.json").get("base_model_name_or_path"))
                inner = find_path(folder / base)
                if inner is None or not inner.is_dir() or not self._is_inside(inner):
                    yield base

    def _is_inside(self, path: Path) -> bool:
        return self.folder is not None and path.resolve().is_relative_to(self.folder.resolve())

    def _not_allowed(self, leg: str, model: str) -> IndexStateError:
        return IndexStateError(
            f"{self.place}의 '{leg}' 벡터를 만든 모델 '{model:.200}'은(는) 이 폴더 밖에 있으므로 폴더의 기록만 보고 "
            f"불러오지 않습니다. 모델을 직접 지정하세요: encoders=['{model:.200}'](LangChain은 model=이나 models=, "
            "LlamaIndex는 model_name=이나 models=). 믿을 수 있는 폴더라면 load_stored_models=True를 넣어도 됩니다.",
            f"The '{leg}' vectors of {self.place} were made by the model '{model:.200}', which is outside that folder "
            f"and is not loaded just because the folder names it. Name the model yourself: encoders=['{model:.200}'] "
            "(model= or models= in LangChain, model_name= or models= in LlamaIndex). If you trust the folder, pass "
            "load_stored_models=True instead.",
        )
