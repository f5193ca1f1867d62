"""constraints.txt pins what pyproject.toml asks for; `make lock` writes it."""

import runpy
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LEFT_OUT = {"torch", "openvino"}  # chosen by the Makefile's TORCH; an extra that the tests do without


def _direct() -> list[Requirement]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        settings["build-system"]["requires"],
        settings["project"]["dependencies"],
        *settings["project"]["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    found = [Requirement(item) for items in lists for item in items if isinstance(item, str)]
    return [item for item in found if item.name not in {"korag", *LEFT_OUT}]


def _pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate()]
    assert len({pin.name for pin in pins}) == len(pins)
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    pins = _pins()
    for requirement in _direct():
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_pins_can_be_installed_anywhere() -> None:
    for version in _pins().values():
        assert Version(version).local is None
    assert not [name for name in _pins() if name == "torch" or name.startswith(("nvidia-", "cuda-"))]


def test_every_direct_dependency_has_a_lower_bound() -> None:
    bounds = runpy.run_path(str(ROOT / "tools" / "lowest.py"))["lower_bounds"](ROOT / "pyproject.toml")
    for requirement in _direct():
        assert bounds.get(requirement.name, "0") in requirement.specifier, requirement
        assert requirement.name in bounds or requirement.name == "hatchling"
