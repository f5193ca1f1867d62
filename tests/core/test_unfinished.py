"""Files and folders are written under a temporary name first, which is never that of somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from korag import Collection, load_encoder
from korag.cli import main
from korag.errors import StorageError
from korag.storage import atomic_folder, write_text


def test_saving_a_model_leaves_a_folder_of_another_name_alone(tmp_path: Path) -> None:
    notes = tmp_path / "모델.tmp" / "메모.txt"
    write_text(notes, "내 것")
    encoder = load_encoder("mini-dense")
    encoder.save(tmp_path / "모델")
    assert notes.read_text(encoding="utf-8") == "내 것"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["모델", "모델.tmp"]
    assert (load_encoder(tmp_path / "모델").encode_queries(["글"]) == encoder.encode_queries(["글"])).all()


def test_a_page_of_a_search_leaves_a_file_of_another_name_alone(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(["전세 계약의 보증금"])
    mine = tmp_path / "왜.html.tmp"
    mine.write_text("내 것", encoding="utf-8")
    assert main(["search", str(tmp_path / "색인"), "보증금", "--html", str(tmp_path / "왜.html")]) == 0
    assert mine.read_text(encoding="utf-8") == "내 것"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["색인", "왜.html", "왜.html.tmp"]


def test_long_names_have_room(tmp_path: Path) -> None:
    name = "가" * 84  # 252 of 255 bytes
    write_text(tmp_path / name, "글")
    assert (tmp_path / name).read_text(encoding="utf-8") == "글"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError), atomic_folder(tmp_path / "폴더") as folder:
        (folder / "없는 글.txt").read_text(encoding="utf-8")
    assert not list(tmp_path.iterdir())
