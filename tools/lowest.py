"""Prints the lower bound of every direct dependency in pyproject.toml as a pin: the constraints of `make test-lowest`.

torch is left out: the Makefile's TORCH chooses its version and build. So are the releases that only PyLate needs:
``make pylate-env`` tries those.
"""

import re
import tomllib
from pathlib import Path

_PYLATES = {"sentence-transformers": "6.2"}
"""The oldest release for the tests, which compare with it, of packages whose lower bound is PyLate's."""
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)")


def lower_bounds(pyproject: Path) -> dict[str, str]:
    """Returns the oldest version that is admitted of each dependency, extras and groups included.

    Raises:
        ValueError: If a dependency has no lower bound, or has two.
    """
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = settings["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    bounds: dict[str, str] = {}
    for requirement in (item for items in lists for item in items if isinstance(item, str)):
        if requirement.startswith(f"{project['name']}["):
            continue
        match = _REQUIREMENT.match(requirement)
        if match is None:
            raise ValueError(f"{requirement}: no lower bound")
        name, version = match.groups()
        if bounds.setdefault(name, version) != version:
            raise ValueError(f"{name}: two lower bounds, {bounds[name]} and {version}")
    return bounds


if __name__ == "__main__":
    bounds = lower_bounds(Path(__file__).parents[1] / "pyproject.toml") | _PYLATES
    for name, version in sorted(bounds.items()):
        if name != "torch":
            print(f"{name}=={version}")
