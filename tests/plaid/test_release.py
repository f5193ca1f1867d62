"""fast-plaid beside the torch that it was compiled for, and nothing imported otherwise."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from assertions import assert_bilingual
from plaid_sites import install

from korag.errors import MissingDependencyError
from korag.plaid import PlaidIndex, release
from korag.plaid.release import check_release

TORCH = version("torch").partition("+")[0]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    def make(**metadata: str) -> Path:
        folder = install(tmp_path / "site", **metadata)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return make


def test_a_fast_plaid_for_this_torch_is_taken(installed) -> None:
    installed(release="1.4.6.2110")
    assert check_release() == ("1.4.6.2110", version("torch"))


@pytest.mark.parametrize("requires", ["torch==2.5.1", "torch (==2.5.1)", ""])
def test_another_torch_is_an_error_with_the_command_that_helps(installed, requires, tmp_path) -> None:
    installed(release="1.7.0.251", requires=requires)
    for call in (check_release, lambda: PlaidIndex.open(tmp_path, encoder="mini-colbert")):
        with pytest.raises(MissingDependencyError) as caught:
            call()
        command = "pip install 'torch==2.5.1' 'fast-plaid==1.7.0.251'"
        assert_bilingual(caught.value, "1.7.0.251", "2.5.1", TORCH, command)
    assert not any(path.startswith(str(tmp_path)) for path in getattr(sys.modules.get("fast_plaid"), "__path__", ()))


def test_one_too_old_and_one_for_an_unknown_torch(installed) -> None:
    folder = installed(release="1.4.5.2110")
    with pytest.raises(MissingDependencyError, match=r"1\.4\.6 or later") as caught:
        check_release()
    assert_bilingual(caught.value, "1.4.5.2110", "fast-plaid==1.7.0.2110")
    (told,) = folder.glob("*.dist-info")
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: fast-plaid\nVersion: 1.8.0\nRequires-Dist: torch>=2\n")
    with pytest.raises(MissingDependencyError, match="not known") as caught:
        check_release()
    assert_bilingual(caught.value, "1.8.0", "fast-plaid==1.7.0.2110")


@pytest.mark.parametrize("missing", ["fast-plaid", "torch"])
def test_without_one_of_them_the_error_has_the_command(installed, monkeypatch, missing) -> None:
    installed()

    def some(name: str) -> str:
        if name == missing:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(release, "version", some)
    with pytest.raises(MissingDependencyError) as caught:
        check_release()
    assert_bilingual(caught.value, f"'{missing}'", "pip install 'torch==2.11.0' 'fast-plaid==1.7.0.2110'")


def test_importing_the_package_loads_neither_torch_nor_fast_plaid() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\nfrom korag.plaid import PlaidIndex\n"
    code += "print([name for name in ('torch', 'fast_plaid') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
