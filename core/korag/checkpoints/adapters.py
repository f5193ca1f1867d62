"""PEFT adapters: whether one fits a base, as far as the headers of the weight files tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from korag.checkpoints.settings import find_adapter, read_json, read_modules
from korag.checkpoints.weights import tensor_shapes
from korag.errors import CheckpointError

ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_WRAPPERS = "base_model.model."
"""PEFT puts this before every name of the base."""
_FIRST, _SECOND = ".lora_A.weight", ".lora_B.weight"
Sizes = tuple[int, ...]


def check_fits(adapter: Path, base: Path) -> None:
    """Checks that the layers an adapter changes are in its base, in the same sizes.

    Adapters that are not of the LoRA kind, and folders whose headers are not here or cannot be read, are checked by
    PEFT when it loads them.

    Args:
        adapter: Folder of the adapter.
        base: Folder of its base.

    Raises:
        CheckpointError: If a layer is missing or of another size.
    """
    place = find_adapter(adapter) or adapter
    modules = read_modules(base)
    files = (base / (modules[0]["path"] if modules else "")).glob("model*.safetensors")
    try:
        layers = _changed_layers(tensor_shapes([place / ADAPTER_WEIGHTS[0]]))
        present = {name.removesuffix(".weight"): shape for name, shape in tensor_shapes(files).items()}
    except CheckpointError:
        return
    if not layers or not present:
        return
    found = {layer: _find(layer, present) for layer in layers}
    for layer, sizes in layers.items():
        there = found[layer]
        if there is None:
            if any(found.values()) or not _has_part(layer.rpartition(".")[2], present):
                raise misfit(adapter, base, f"베이스에 {layer}이(가) 없음", f"the base has no {layer}")
        elif len(there) == 2 and there not in (sizes, sizes[::-1]):  # some store the transposed matrix
            own, other = (" × ".join(map(str, shape)) for shape in (sizes, there))
            raise misfit(
                adapter,
                base,
                f"{layer}의 크기가 어댑터에서는 {own}, 베이스에서는 {other}",
                f"{layer} has the size {own} in the adapter and {other} in the base",
            )


def misfit(adapter: Path, base: Path, korean: str, english: str) -> CheckpointError:
    """Returns the error for an adapter and a base that do not belong together."""
    named = read_json((find_adapter(adapter) or adapter) / "adapter_config.json").get("base_model_name_or_path")
    return CheckpointError(
        f"어댑터 '{adapter}'은(는) 베이스 '{base}'에 맞지 않습니다({korean}). 이 어댑터를 학습한 베이스"
        f"({named!r:.200})를 쓰세요.",
        f"The adapter '{adapter}' does not fit the base '{base}' ({english}). Use the base that it was trained on "
        f"({named!r:.200}).",
    )


def _changed_layers(shapes: dict[str, Sizes]) -> dict[str, Sizes]:
    """Returns the (output, input) sizes of the layers that a LoRA changes, by their names in the base."""
    return {
        name.removeprefix(_WRAPPERS).removesuffix(_FIRST): (shapes[second][0], shape[1])
        for name, shape in shapes.items()
        if name.endswith(_FIRST) and len(shape) == 2
        if len(shapes.get(second := name.removesuffix(_FIRST) + _SECOND, ())) == 2
    }


def _find(layer: str, present: dict[str, Sizes]) -> Sizes | None:
    """Returns the sizes of a layer, whose name may have the prefix of a model with a head."""
    return next((shape for name, shape in present.items() if name == layer or name.endswith(f".{layer}")), None)


def _has_part(part: str, names: Iterable[str]) -> bool:
    return any(part in name.split(".") for name in names)
