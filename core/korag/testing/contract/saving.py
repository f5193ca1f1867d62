"""The contract of a store on this machine: copies in folders, pickles, compaction."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from korag.collection.local.collection import LocalCollection
from korag.errors import ForeignFolderError, InvalidArgumentError
from korag.testing.contract.fixtures import ContractFixtures
from korag.testing.contract.samples import DOCUMENTS, IDS, LEGS


class SavingContract(ContractFixtures):
    """The part of `LocalCollection` beyond `CollectionContract`; a store behind a server has no folder to save.

    Override `make`, as for `CollectionContract`.
    """

    def test_a_saved_copy_is_the_same_collection(self, filled: LocalCollection, tmp_path: Path) -> None:
        folder = filled.save(tmp_path / "깊은 곳" / "사본")
        with reopen(filled, folder) as copied:
            assert copied.get() == filled.get()
            for using in (*LEGS, "hybrid"):
                query = "보증금은 언제 돌려받나요?"
                assert copied.search(query, using=using) == filled.search(query, using=using)
            copied.add(["더한 문서"], ids=["새"])
            assert len(copied) == len(filled) + 1
        assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]

    def test_a_copy_of_a_changed_collection(self, small: LocalCollection, tmp_path: Path) -> None:
        small.add(DOCUMENTS, ids=IDS)
        small.delete(IDS[:3])
        small.add(["바뀐 문서"], ids=[IDS[4]])
        with reopen(small, small.save(tmp_path / "사본")) as copied:
            assert copied.get() == small.get()
            assert copied.search("바뀐 문서") == small.search("바뀐 문서")

    def test_saving_over_a_collection_needs_overwrite(self, small: LocalCollection, tmp_path: Path) -> None:
        small.add(["첫째"], ids=["1"])
        folder = small.save(tmp_path / "사본")
        small.add(["둘째"], ids=["2"])
        with pytest.raises(InvalidArgumentError, match="overwrite=True"):
            small.save(folder)
        with reopen(small, folder) as copied:
            assert len(copied) == 1
        assert small.save(folder, overwrite=True) == folder
        with reopen(small, folder) as copied:
            assert copied.get() == small.get()
        assert [path.name for path in tmp_path.iterdir()] == ["사본"]

    def test_saving_never_replaces_anything_else(self, small: LocalCollection, tmp_path: Path) -> None:
        (tmp_path / "일기.txt").write_text("내 것", encoding="utf-8")
        for target in (tmp_path, tmp_path / "일기.txt"):
            with pytest.raises(ForeignFolderError):
                small.save(target, overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["일기.txt"]

    def test_an_empty_folder_is_free(self, small: LocalCollection, tmp_path: Path) -> None:
        small.add(["하나"])
        with reopen(small, small.save(tmp_path)) as copied:
            assert len(copied) == 1

    def test_compaction_changes_no_answer(self, small: LocalCollection) -> None:
        small.add(DOCUMENTS, ids=IDS)
        small.delete(IDS[:2])
        small.add(["바뀐 문서"], ids=[IDS[4]])
        before = small.get(), [small.search_many(DOCUMENTS, using=using) for using in (*small.legs, "hybrid")]
        small.compact()
        after = small.get(), [small.search_many(DOCUMENTS, using=using) for using in (*small.legs, "hybrid")]
        assert after == before

    def test_a_pickle_holds_the_same_documents(self, filled: LocalCollection) -> None:
        with pickle.loads(pickle.dumps(filled)) as copied:  # noqa: S301 (written above)
            assert copied.get() == filled.get()
            for using in (*LEGS, "hybrid"):
                assert copied.search(DOCUMENTS[0], using=using) == filled.search(DOCUMENTS[0], using=using)

    def test_a_copied_object_answers_alike(self, filled: LocalCollection) -> None:
        with copy.deepcopy(filled) as copied:
            assert copied.path == filled.path
            assert copied.search(DOCUMENTS[0]) == filled.search(DOCUMENTS[0])


def reopen(collection: LocalCollection, folder: Path) -> LocalCollection:
    """Opens a copy; encoders are passed because the folder cannot name fake ones."""
    return LocalCollection.open(folder, encoders=list(collection.encoders.values()))
