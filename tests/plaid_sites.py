"""Folders for ``sys.path`` in which a stand-in for fast-plaid is installed."""

import shutil
from importlib.metadata import version
from pathlib import Path


def install(folder: Path, *, release: str = "1.7.0.2110", requires: str | None = None) -> Path:
    """Makes one; `requires` None stands for the torch that is here, and an empty one for no requirement."""
    package = folder / "fast_plaid"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("fake_fast_plaid.py"), package / "search.py")
    required = f"torch=={version('torch').partition('+')[0]}" if requires is None else requires
    told = folder / f"fast_plaid-{release}.dist-info"
    told.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: fast-plaid", f"Version: {release}"]
    (told / "METADATA").write_text("\n".join([*lines, *([f"Requires-Dist: {required}"] if required else []), ""]))
    return folder
