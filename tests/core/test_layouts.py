"""The table of checkpoint layouts: how a folder is recognised, and what another layout takes."""

from dataclasses import replace

import pytest
from checkpoints import LAYOUTS as BUILT
from checkpoints import write_json

from korag.checkpoints import layouts
from korag.checkpoints.checkpoint import read_checkpoint
from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.layouts import LAYOUTS, Layout, find_layout
from korag.checkpoints.readers import DENSE

# peft's, where an adapter is made
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

ROWS = {
    "pylate": "PyLate",
    "stanford": "Stanford ColBERT",
    "matryoshka": "Matryoshka heads",
    "native": "sentence-transformers MultiVectorEncoder",
    "bare_lora": "PEFT adapter",
    "splade": "sentence-transformers SparseEncoder",
}


def test_rows_have_names_of_their_own_and_readers_of_vectors():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert all((layout.reader is None) == (layout.kind == "cross_encoder") for layout in LAYOUTS)


@pytest.mark.parametrize("layout", BUILT)
def test_every_folder_of_the_tests_has_a_row(built, layout):
    found = find_layout(built(layout))
    assert found is not None
    assert found.name == ROWS.get(layout, found.name)


def test_another_layout_is_a_row_and_a_reader(tmp_path, monkeypatch):
    write_json(tmp_path / "config.json", {"hidden_size": 8, "vocab_size": 100})
    write_json(tmp_path / "ours.json", {"size": 4})
    assert find_layout(tmp_path) is None
    row = Layout(
        "ours",
        "dense",
        matches=lambda settings: (settings.folder / "ours.json").exists(),
        reader=replace(DENSE, dim=lambda _: 4, prompts=lambda _: ("질의: ", "")),
    )
    monkeypatch.setattr(layouts, "LAYOUTS", (row, *LAYOUTS))
    checkpoint = read_checkpoint(ModelFiles("ours", tmp_path))
    assert (checkpoint.family, checkpoint.dim, checkpoint.query_prompt) == ("dense", 4, "질의: ")
