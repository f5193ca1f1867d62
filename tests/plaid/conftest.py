"""Every test of an index runs with a small stand-in for fast-plaid, and with fast-plaid itself where it is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plaid_sites import install

from korag.errors import MissingDependencyError
from korag.plaid.release import check_release


@pytest.fixture(scope="module", params=["stand-in", "fast-plaid"])
def fast_plaid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The folder of the stand-in for ``sys.path``; None for fast-plaid itself."""
    if request.param == "fast-plaid":
        try:
            check_release()
        except MissingDependencyError as error:
            pytest.skip(str(error).splitlines()[-1])
        yield None
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "fast_plaid"]:
            patch.delitem(sys.modules, name)
        folder = install(tmp_path_factory.mktemp("site"))
        patch.syspath_prepend(str(folder))
        yield folder
        for name in [name for name in sys.modules if name.partition(".")[0] == "fast_plaid"]:
            del sys.modules[name]
