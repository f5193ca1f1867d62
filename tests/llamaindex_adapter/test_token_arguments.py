"""``codec=``, ``keep_vectors=`` and ``pool_factor=`` of LlamaIndex's classes make the collection that they describe."""

import pytest
import toy_token_codec
from llama_index.core.schema import TextNode

from korag import Collection
from korag.errors import FingerprintError, InvalidArgumentError
from korag.legs.registry import temporary_registrations
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder
from llamaindex_korag import KoColBERTIndex, KoColBERTRetriever, KoHybridRetriever, KoVectorStore

NODES = [
    TextNode(id_="기차", text="기차표는 출발 한 시간 전까지 수수료 없이 바꿀 수 있고, 그 뒤에는 역 창구로 가야 한다."),
    TextNode(id_="버스", text="시외버스 짐칸에는 자전거를 실을 수 없으나 접는 자전거는 가방에 넣으면 된다."),
]
QUESTION = "접는 자전거를 버스에 실을 수 있나요?"


def store(**given):
    made = KoVectorStore([FakeMultiVectorEncoder()], **given)
    made.add(NODES)
    return made


MAKERS = {
    "colbert": lambda **given: KoColBERTRetriever.from_defaults(NODES, model_name=FakeMultiVectorEncoder(), **given),
    "hybrid": lambda **given: KoHybridRetriever.from_defaults(
        NODES, models=[FakeDenseEncoder(), FakeMultiVectorEncoder()], bm25=False, **given
    ),
    "index": lambda **given: KoColBERTIndex(NODES, model_name=FakeMultiVectorEncoder(), **given),
    "store": store,
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
        own.add([node.text for node in NODES], ids=[node.id_ for node in NODES])
        expected = [(hit.id, hit.score) for hit in own.search(QUESTION)]
    assert [(hit.id, hit.score) for hit in made.collection.search(QUESTION, using="colbert")] == expected
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


@pytest.mark.parametrize("name", GIVEN)
def test_they_belong_to_the_collection_and_to_colbert_models(name):
    collection = MAKERS["store"]().collection
    for make in (KoVectorStore, KoColBERTIndex):
        with pytest.raises(InvalidArgumentError, match=name):
            make(collection=collection, **{name: GIVEN[name]})
    with pytest.raises(InvalidArgumentError, match=f"{name}={GIVEN[name]!r} is for ColBERT models"):
        KoVectorStore([FakeDenseEncoder()], **{name: GIVEN[name]})
