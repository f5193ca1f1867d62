"""``codec=``, ``keep_vectors=`` and ``pool_factor=`` of LangChain's classes make the collection that they describe."""

import pytest
import toy_token_codec
from langchain_core.documents import Document

from korag import Collection
from korag.errors import FingerprintError, InvalidArgumentError
from korag.legs.registry import temporary_registrations
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder
from langchain_korag import KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever, KoVectorStore

DOCUMENTS = [
    Document(
        id="수영", page_content="수영장은 매일 아침 여섯 시에 문을 열고, 샤워실 사물함에는 백 원짜리 동전이 필요하다."
    ),
    Document(id="헬스", page_content="헬스장 이용권은 석 달마다 갱신하며, 잃어버리면 안내 창구에서 다시 만들어 준다."),
]
QUESTION = "샤워실 사물함에 동전이 필요한가요?"
MAKERS = {
    "colbert": lambda **given: KoColBERTRetriever.from_documents(DOCUMENTS, model=FakeMultiVectorEncoder(), **given),
    "hybrid": lambda **given: KoHybridRetriever.from_documents(
        DOCUMENTS, models=[FakeDenseEncoder(), FakeMultiVectorEncoder()], bm25=False, **given
    ),
    "store": lambda **given: KoVectorStore.from_documents(DOCUMENTS, encoders=[FakeMultiVectorEncoder()], **given),
}
GIVEN = {"codec": "signs", "keep_vectors": True, "pool_factor": 2}


@pytest.fixture(autouse=True)
def _registered():
    with temporary_registrations():
        toy_token_codec.register()
        yield


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_the_collection_is_as_if_made_by_itself(kind, on_disk, tmp_path):
    place = {"path": tmp_path / "folder"} if on_disk else {}
    made = MAKERS[kind](**GIVEN, **place)
    with Collection.in_memory(encoders=[FakeMultiVectorEncoder()], **GIVEN) as own:
        own.add([document.page_content for document in DOCUMENTS], ids=[document.id for document in DOCUMENTS])
        assert made.collection.search(QUESTION, using="colbert") == own.search(QUESTION)
    if on_disk:
        MAKERS[kind](**GIVEN, **place)
        for other in ({"codec": "float16"}, {"pool_factor": 3}, {"codec": "signs", "keep_vectors": False}):
            with pytest.raises(FingerprintError):
                MAKERS[kind](**other, **place)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("wrong", [{"codec": "1-bit"}, {"keep_vectors": "yes"}, {"pool_factor": 0}, {"nbits": 1}])
def test_wrong_values_are_errors_before_a_folder_is_made(kind, wrong, tmp_path):
    name = next(iter(wrong)) if "nbits" not in wrong else "Did you mean codec"
    with pytest.raises(InvalidArgumentError, match=name):
        MAKERS[kind](**wrong, path=tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_they_belong_to_the_collection_and_to_colbert_models():
    collection = MAKERS["store"]().collection
    for name, value in GIVEN.items():
        with pytest.raises(InvalidArgumentError, match=f"collection cannot be combined with .*{name}"):
            KoVectorStore(collection=collection, **{name: value})
        with pytest.raises(InvalidArgumentError, match=f"{name}={value!r} is for ColBERT models"):
            KoVectorStore([FakeDenseEncoder()], **{name: value})
        with pytest.raises(InvalidArgumentError, match=f"takes no '{name}'"):
            KoSpladeRetriever.from_documents(DOCUMENTS, model="mini-splade", **{name: value})
