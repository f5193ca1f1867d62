"""Invalid input to retrievers and the store: a bilingual error before anything is changed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from retriever_kinds import QUERY, Kind

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.collection.local import database, saving
from korag.encoders.pretrained import PretrainedEncoder
from korag.errors import (
    FilterError,
    FingerprintError,
    ForeignFolderError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    KoragError,
    ReadOnlyError,
    WrongFamilyError,
)
from korag.testing.encoders import FakeDenseEncoder, FakeSparseEncoder
from langchain_korag import KoBM25Retriever, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever, KoVectorStore
from langchain_korag.collection_retriever import CollectionRetriever

LONE = "가\ud800나"


def bilingual(error: BaseException) -> bool:
    """Returns True if a message has a Korean line followed by an English one (which may quote Korean)."""
    lines = str(error).splitlines()
    korean = [number for number, line in enumerate(lines) if re.search("[가-힣]", line)]
    english = [number for number, line in enumerate(lines) if re.search("[A-Za-z]+ [a-z]+ [a-z]+", line)]
    return bool(korean) and any(number > korean[0] for number in english)


@pytest.fixture(scope="module")
def store(colbert: LateInteractionEncoder, papers: list[Document]) -> KoVectorStore:
    return KoVectorStore.from_documents(papers, encoders=[colbert], bm25=True)


# -- keywords of a search ---------------------------------------------------------------------------------

SEARCHES: list[tuple[dict[str, Any], type[KoragError], str]] = [
    ({"k": -1}, InvalidArgumentError, "k=-1"),
    ({"k": "3"}, InvalidArgumentError, "k='3'"),
    ({"k": True}, InvalidArgumentError, "k=True"),
    ({"k": 2.0}, InvalidArgumentError, r"k=2\.0"),
    ({"filter": {"주제": {"$like": "규"}}}, FilterError, r"\$like"),
    ({"filter": {"$nor": []}}, FilterError, r"\$nor"),
    ({"filter": "주제"}, FilterError, "filter"),
    ({"filter": [{"주제": "규정"}]}, FilterError, "filter"),
    ({"filter": {"주제": LONE}}, FilterError, "surrogate"),
    ({"filter": {"주제": "\0"}}, FilterError, r"U\+0000"),
    ({"score_threshold": 1.5}, InvalidArgumentError, r"score_threshold=1\.5"),
    ({"score_threshold": "높게"}, InvalidArgumentError, "score_threshold='높게'"),
    ({"score_threshold": True}, InvalidArgumentError, "score_threshold=True"),
    ({"exact": "yes"}, InvalidArgumentError, "exact='yes'"),
    ({"exact": 0}, InvalidArgumentError, "exact=0"),
]


@pytest.mark.parametrize(("keywords", "error", "match"), SEARCHES)
async def test_wrong_keywords_of_retrievers(
    read_only_retriever: CollectionRetriever, keywords: dict[str, Any], error: type[KoragError], match: str
) -> None:
    with pytest.raises(error, match=match) as raised:
        read_only_retriever.invoke(QUERY, **keywords)
    assert bilingual(raised.value)
    for call in (read_only_retriever.ainvoke, read_only_retriever.asimilarity_search_with_score):
        with pytest.raises(error, match=match):
            await call(QUERY, **keywords)
    with pytest.raises(error, match=match) as wrapped:
        type(read_only_retriever)(collection=read_only_retriever.collection, **keywords)
    assert bilingual(wrapped.value)
    copied = read_only_retriever.model_copy()
    ((name, value),) = keywords.items()
    with pytest.raises(error, match=match):
        setattr(copied, name, value)
    assert getattr(copied, name) == getattr(read_only_retriever, name)


@pytest.mark.parametrize(("keywords", "error", "match"), SEARCHES)
async def test_wrong_keywords_of_the_store(
    store: KoVectorStore, keywords: dict[str, Any], error: type[KoragError], match: str
) -> None:
    for name in ("similarity_search", "similarity_search_with_score", "max_marginal_relevance_search"):
        with pytest.raises(error, match=match) as raised:
            getattr(store, name)(QUERY, **keywords)
        assert bilingual(raised.value)
        with pytest.raises(error, match=match):
            await getattr(store, f"a{name}")(QUERY, **keywords)


HYBRID: list[tuple[dict[str, Any], str]] = [
    ({"weights": {"dense": 1}}, "'dense', which is not a leg"),
    ({"weights": [1, 2, 3]}, "3 weights for 2 legs"),
    ({"weights": [1]}, "1 weights for 2 legs"),
    ({"weights": {"bm25": -1}}, r"weights\['bm25'\]=-1"),
    ({"weights": [1, float("nan")]}, r"weights\['bm25'\]=nan"),
    ({"weights": {"bm25": "2"}}, r"weights\['bm25'\]='2'"),
    ({"weights": [0, 0]}, "all 0"),
    ({"weights": "bm25"}, "must be a dict"),
    ({"fusion": "sum"}, "fusion='sum'"),
    ({"fetch_k": -1}, "fetch_k=-1"),
    ({"fetch_k": "9"}, "fetch_k='9'"),
]


@pytest.mark.parametrize(("keywords", "match"), HYBRID)
async def test_wrong_keywords_of_the_hybrid_retriever(
    store: KoVectorStore, keywords: dict[str, Any], match: str
) -> None:
    hybrid = KoHybridRetriever(collection=store.collection)
    with pytest.raises(InvalidArgumentError, match=match) as raised:
        hybrid.invoke(QUERY, **keywords)
    assert bilingual(raised.value)
    with pytest.raises(InvalidArgumentError, match=match):
        await hybrid.ainvoke(QUERY, **keywords)
    with pytest.raises(InvalidArgumentError, match=match) as wrapped:
        KoHybridRetriever(collection=store.collection, **keywords)
    assert bilingual(wrapped.value)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.similarity_search(QUERY, fusion="sum"), "fusion='sum'"),
        (lambda s: s.similarity_search(QUERY, using="dense"), "using='dense'"),
        (lambda s: s.similarity_search(QUERY, weights={"dense": 1}), "'dense', which is not a leg"),
        (lambda s: s.similarity_search(QUERY, fetch_k=-1), "fetch_k=-1"),
        (lambda s: s.max_marginal_relevance_search(QUERY, fetch_k=-1), "fetch_k=-1"),
        (lambda s: s.max_marginal_relevance_search(QUERY, fetch_k=None), "fetch_k=None"),
        (lambda s: s.max_marginal_relevance_search(QUERY, lambda_mult=2), "lambda_mult=2"),
        (lambda s: s.max_marginal_relevance_search(QUERY, lambda_mult="절반"), "lambda_mult='절반'"),
        (lambda s: s.similarity_search_by_vector([0.1, 0.2]), "dense model"),
        (lambda s: s.max_marginal_relevance_search_by_vector([0.1], k="3"), "k='3'"),
        (lambda s: s.similarity_search(QUERY, filtr={}), "Did you mean filter"),
        (lambda s: s.similarity_search_with_score(QUERY, topk=3), "takes no 'topk'"),
        (lambda s: s.max_marginal_relevance_search(QUERY, lambda_mul=0.5), "takes no 'lambda_mul'"),
        (lambda s: s.similarity_search_by_vector([0.1], using="dense"), "takes no 'using'"),
        (lambda s: s.as_retriever(search_kwargs={"top_k": 3}), "takes no 'top_k'.* Did you mean k"),
        (lambda s: s.add_texts(["글"], idz=["가"]), "Did you mean ids"),
        (lambda s: s.add_documents([Document(page_content="글")], metadata={}), "takes no 'metadata'"),
        (lambda s: s.add_texts(["글"], [{}, {}]), "1 texts and 2 metadatas"),
        (lambda s: s.add_texts(["글"], {"쪽": 1}), r"metadatas\[0\] is '쪽'"),
        (lambda s: s.add_texts(["글"], [None]), r"metadatas\[0\] is None"),
        (lambda s: s.delete(["문서-0"], where={}), "takes no 'where'"),
    ],
)
def test_wrong_calls_of_the_store(store: KoVectorStore, call: Callable[[KoVectorStore], Any], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match) as raised:
        call(store)
    assert bilingual(raised.value)
    assert len(store) == 8


@pytest.mark.parametrize("query", [None, 3, ["보증금"], b"x", LONE])
async def test_queries_that_are_no_text(
    read_only_retriever: CollectionRetriever, store: KoVectorStore, query: Any
) -> None:
    for call in (read_only_retriever.invoke, store.similarity_search, store.max_marginal_relevance_search):
        with pytest.raises(InvalidTextError, match="query") as raised:
            call(query)
        assert bilingual(raised.value)
    with pytest.raises(InvalidTextError, match="query"):
        await read_only_retriever.ainvoke(query)


async def test_misspelt_keywords_of_retrievers(
    kind: Kind, read_only_retriever: CollectionRetriever, tmp_path: Path
) -> None:
    for keyword in ("topk", "filters", "collection"):  # the last is a field, not a keyword of a search
        with pytest.raises(InvalidArgumentError, match=f"takes no '{keyword}'") as raised:
            read_only_retriever.invoke(QUERY, **{keyword: 3})
        assert bilingual(raised.value)
        with pytest.raises(InvalidArgumentError, match=keyword):
            await read_only_retriever.ainvoke(QUERY, **{keyword: 3})
        with pytest.raises(InvalidArgumentError, match=keyword):
            read_only_retriever.similarity_search_with_score(QUERY, **{keyword: 3})
    with pytest.raises(InvalidArgumentError, match="Did you mean score_key") as raised:
        kind.make_of_texts(["글"], path=tmp_path / "x", score_keys="점수")
    assert bilingual(raised.value)
    with pytest.raises(InvalidArgumentError, match="takes no 'top_k'"):
        kind.load(tmp_path / "x", top_k=3)
    with pytest.raises(InvalidArgumentError, match=rf"use {kind.cls.__name__}\.from_documents") as wrapped:
        kind.cls(k=3)
    assert bilingual(wrapped.value)
    with pytest.raises(InvalidArgumentError, match="Did you mean score_key") as wrapped:
        kind.cls(collection=read_only_retriever.collection, score_keys="점수")
    assert bilingual(wrapped.value)
    assert not (tmp_path / "x").exists()


def test_a_misspelt_keyword_asks_nothing_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "korag.encoders.load.resolve_model", lambda *_, **__: pytest.fail("looked for the default model")
    )
    with pytest.raises(InvalidArgumentError, match="Did you mean models"):
        KoHybridRetriever.from_texts(["글"], model="mini-colbert")
    with pytest.raises(InvalidArgumentError, match="Did you mean model"):
        KoColBERTRetriever.from_texts(["글"], modle="mini-colbert")
    with pytest.raises(InvalidTextError, match="documents"):
        KoSpladeRetriever.from_documents("문서")


@pytest.mark.parametrize("settings", [{"weights": {"colbert": 1}}, {"weights": [1]}, {"weights": "bm25"}, {"k": -1}])
def test_a_wrong_field_is_an_error_of_from_documents_too(
    settings: dict[str, Any], papers: list[Document], tmp_path: Path
) -> None:
    encoders = [FakeDenseEncoder(), FakeSparseEncoder()]
    with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
        KoHybridRetriever.from_documents(papers, models=encoders, path=tmp_path / "x", **settings)
    assert not (tmp_path / "x").exists()


def test_a_tokenizer_without_bm25(papers: list[Document], tmp_path: Path) -> None:
    """The same error whether the folder is new, or has a BM25 leg that this retriever is not to search."""
    encoders = [FakeDenseEncoder(), FakeSparseEncoder()]
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match="add bm25=True"):
            KoHybridRetriever.from_documents(
                papers, models=encoders, bm25=False, tokenizer="bigram", path=tmp_path / "x"
            )
        Collection.open(tmp_path / "x", encoders=encoders, bm25=True).close()


# -- models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "model"),
    [
        (KoColBERTRetriever, "mini-dense"),
        (KoColBERTRetriever, "mini-splade"),
        (KoSpladeRetriever, "mini-dense"),
        (KoSpladeRetriever, "mini-colbert"),
    ],
)
def test_a_model_of_another_family(cls: Any, model: str, papers: list[Document], tmp_path: Path) -> None:
    for call in (
        lambda: cls.from_documents(papers, model=model, path=tmp_path / "x"),
        lambda: cls.load_local(tmp_path, model=model),
    ):
        with pytest.raises(WrongFamilyError, match=model) as raised:
            call()
        assert bilingual(raised.value)
    assert not (tmp_path / "x").exists()


def test_models_that_do_not_fit_together(
    dense: DenseEncoder, splade: SparseEncoder, papers: list[Document], tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    for call, match in (
        (lambda: KoHybridRetriever.from_documents(papers, models=[dense, dense], path=folder), "two dense models"),
        (lambda: KoVectorStore([splade, "mini-splade"], path=folder), "two sparse models"),
        (lambda: KoHybridRetriever.from_documents(papers, models="mini-dense", path=folder), "models=.*must be a list"),
        (lambda: KoHybridRetriever.load_local(folder, models=dense), "models=.*must be a list"),
        (lambda: KoVectorStore("mini-dense", path=folder), "must be a list"),
        (lambda: KoVectorStore(path=folder), "something to search by"),
        (lambda: KoHybridRetriever.from_documents(papers, models=[], bm25=False, path=folder), "something to search"),
        (lambda: KoVectorStore([dense], path=folder, tokenizer="kiwi"), "add bm25=True"),
        (lambda: KoVectorStore([dense], bm25=True, path=folder, tokenizer="없음"), "not a tokenizer"),
        (lambda: KoBM25Retriever.from_documents(papers, tokenizer="mecab", path=folder), "not a tokenizer"),
        (lambda: KoVectorStore(collection=folder), "not a korag.Collection"),  # type: ignore[arg-type]
        (lambda: KoVectorStore([dense], collection=Collection.in_memory(bm25=True)), "cannot be combined with"),
        (lambda: KoVectorStore.from_texts(["글"], dense, path=folder), "pass KoEmbeddings"),  # type: ignore[arg-type]
        (lambda: KoVectorStore.from_texts(["글"], encoder=[dense], path=folder), "Did you mean encoders"),
    ):
        with pytest.raises(InvalidArgumentError, match=match) as raised:
            call()  # type: ignore[no-untyped-call]
        assert bilingual(raised.value)
    with pytest.raises(IndexStateError, match="single leg") as raised_state:
        KoHybridRetriever.from_documents(papers, models=[dense], bm25=False, path=folder)
    assert bilingual(raised_state.value)
    assert not folder.exists()


@pytest.mark.parametrize("model", [None, 3, ["mini-colbert"]])
def test_a_model_that_is_no_model(model: Any, papers: list[Document], tmp_path: Path) -> None:
    folder = tmp_path / "x"
    for call in (
        lambda: KoColBERTRetriever.from_documents(papers, model=model, path=folder),
        lambda: KoHybridRetriever.from_documents(papers, models=[model], path=folder),
        lambda: KoVectorStore([model], path=folder),
    ):
        with pytest.raises(InvalidArgumentError, match="model=") as raised:
            call()
        assert bilingual(raised.value)
    assert not folder.exists()


# -- documents --------------------------------------------------------------------------------------------

TWO = [Document(page_content="하나"), Document(page_content="둘")]
DOCUMENTS: list[tuple[Any, dict[str, Any], type[KoragError], str]] = [
    ("문서", {}, InvalidTextError, "documents is a single str"),
    (TWO[0], {}, InvalidTextError, "documents is a single Document"),
    (3, {}, InvalidTextError, "documents is 3"),
    (["하나"], {}, InvalidTextError, r"documents\[0\] is a str.*from_texts"),
    ([TWO[0], None], {}, InvalidTextError, r"documents\[1\] is a NoneType"),
    ([{"page_content": "하나"}], {}, InvalidTextError, r"documents\[0\] is a dict"),
    ([TWO[0], Document(page_content=LONE)], {}, InvalidTextError, r"texts\[1\] contains the lone surrogate"),
    ([Document(page_content="글", metadata={"값": LONE})], {}, InvalidArgumentError, "surrogate"),
    ([Document(page_content="글", metadata={"값": "\0"})], {}, InvalidArgumentError, "NUL"),
    ([Document(page_content="글", metadata={LONE: 1})], {}, InvalidArgumentError, "surrogate"),
    ([Document(page_content="글", metadata={"값": {1, 2}})], {}, InvalidArgumentError, r"a set; use sorted"),
    (
        [Document(page_content="글", metadata={"값": float("nan")})],
        {},
        InvalidArgumentError,
        r"a missing value \(NaN\)",
    ),
    (TWO, {"ids": ["가"]}, InvalidArgumentError, "2 texts and 1 ids"),
    (TWO, {"ids": ["가", "가"]}, InvalidArgumentError, "have the same id"),
    (TWO, {"ids": ["가", 3]}, InvalidTextError, r"ids\[1\] is 3"),
    (TWO, {"ids": ["가", None]}, InvalidTextError, r"ids\[1\] is None"),
    (TWO, {"ids": "가나"}, InvalidTextError, "single string"),
    (TWO, {"ids": ["", "가"]}, InvalidArgumentError, "non-empty"),
    (TWO, {"ids": ["\0", "가"]}, InvalidArgumentError, "without NUL"),
    (TWO, {"ids": [LONE, "가"]}, InvalidTextError, "surrogate"),
    (
        [Document(id="가", page_content="하나"), Document(id="가", page_content="둘")],
        {},
        InvalidArgumentError,
        "have the same id",
    ),
]


@pytest.fixture(scope="module")
def untouched() -> KoBM25Retriever:
    return KoBM25Retriever.from_texts(["보증금"], ids=["처음"])


@pytest.mark.parametrize(("documents", "options", "error", "match"), DOCUMENTS)
async def test_wrong_documents(
    untouched: KoBM25Retriever,
    documents: Any,
    options: dict[str, Any],
    error: type[KoragError],
    match: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """All retrievers and the store share this code, so one kind of retriever is enough."""
    store = KoVectorStore(collection=untouched.collection)
    folder = tmp_path / "x"
    monkeypatch.setattr(PretrainedEncoder, "encode_documents", lambda *_, **__: pytest.fail("encoded"))
    for call in (
        lambda: untouched.add_documents(documents, **options),
        lambda: store.add_documents(documents, **options),
        lambda: KoColBERTRetriever.from_documents(documents, model="mini-colbert", path=folder, **options),
        lambda: KoBM25Retriever.from_documents(documents, path=folder, **options),
        lambda: KoVectorStore.from_documents(documents, bm25=True, path=folder, **options),
    ):
        with pytest.raises(error, match=match) as raised:
            call()
        assert bilingual(raised.value)
    with pytest.raises(error, match=match):
        await untouched.aadd_documents(documents, **options)
    with pytest.raises(error, match=match):
        await store.aadd_documents(documents, **options)
    assert [document.id for document in untouched.collection.get()] == ["처음"]
    assert not folder.exists()


@pytest.mark.parametrize("ids", ["처음", [3], [LONE], [""]])
async def test_ids_to_remove_that_are_none(untouched: KoBM25Retriever, ids: Any) -> None:
    store = KoVectorStore(collection=untouched.collection)
    for call in (untouched.delete, store.delete, store.get_by_ids):
        with pytest.raises((InvalidTextError, InvalidArgumentError), match="ids") as raised:
            call(ids)
        assert bilingual(raised.value)
    with pytest.raises((InvalidTextError, InvalidArgumentError), match="ids"):
        await untouched.adelete(ids)
    assert len(store) == 1


# -- folders ----------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folders_of_something_else(kind: Kind, papers: list[Document], tmp_path: Path) -> None:
    with pytest.raises(IndexStateError, match="There is no collection in") as raised:
        kind.load(tmp_path / "없음")
    assert bilingual(raised.value)
    (tmp_path / "빈").mkdir()
    with pytest.raises(IndexStateError, match="There is no collection in"):
        kind.load(tmp_path / "빈")
    (tmp_path / "남").mkdir()
    (tmp_path / "남/index.faiss").write_bytes(b"x")
    built = kind.make(papers[:1])
    to_read, to_make = "pass the folder of one", "something other"
    for message, call in (
        (to_read, lambda: kind.load(tmp_path / "남")),
        (to_make, lambda: kind.make(papers[:1], path=tmp_path / "남")),
        (to_make, lambda: built.save_local(tmp_path / "남")),
        (to_make, lambda: built.save_local(tmp_path / "남", overwrite=True)),
        (to_read, lambda: KoVectorStore.load_local(tmp_path / "남")),
        (to_make, lambda: KoVectorStore(path=tmp_path / "남", bm25=True)),
    ):
        with pytest.raises(ForeignFolderError, match=message) as foreign:
            call()
        assert bilingual(foreign.value)
    assert contents(tmp_path) == {"남/index.faiss": b"x"}


def test_a_folder_of_another_model_or_tokenizer(
    dense: DenseEncoder, splade: SparseEncoder, papers: list[Document], tmp_path: Path
) -> None:
    from korag import load_encoder

    prompted = load_encoder("mini-dense", query_prompt="질문: ")
    KoVectorStore.from_documents(papers, encoders=[dense], path=tmp_path / "dense").collection.close()
    KoBM25Retriever.from_documents(papers, path=tmp_path / "words").collection.close()
    before = {key: value for key, value in contents(tmp_path).items() if not key.endswith(("-wal", "-shm"))}
    for call, match in (
        (lambda: KoVectorStore([prompted], path=tmp_path / "dense"), "query_prompt"),
        (lambda: KoVectorStore.load_local(tmp_path / "dense", encoders=[splade]), "no 'sparse' vectors"),
        (lambda: KoVectorStore([dense], bm25=True, path=tmp_path / "dense"), "without BM25"),
        (lambda: KoVectorStore([dense], tokenizer="kiwi", path=tmp_path / "dense"), "without BM25"),
        (lambda: KoVectorStore.from_documents(papers, encoders=[prompted], path=tmp_path / "dense"), "query_prompt"),
        (lambda: KoBM25Retriever.load_local(tmp_path / "words", tokenizer="kiwi"), "tokenizer='bigram'"),
        (lambda: KoBM25Retriever.from_documents(papers, tokenizer=str.split, path=tmp_path / "words"), "custom"),
        (lambda: KoSpladeRetriever.from_documents(papers, model=splade, path=tmp_path / "words"), "sparse"),
    ):
        with pytest.raises(FingerprintError, match=match) as raised:
            call()  # type: ignore[no-untyped-call]
        assert bilingual(raised.value)
    for cls in (KoSpladeRetriever, KoColBERTRetriever, KoHybridRetriever):
        with pytest.raises(IndexStateError, match="leg") as state:
            cls.load_local(tmp_path / "words")
        assert bilingual(state.value)
    after = {key: value for key, value in contents(tmp_path).items() if not key.endswith(("-wal", "-shm"))}
    assert after == before


@pytest.mark.slow
def test_a_read_only_folder(kind: Kind, papers: list[Document], tmp_path: Path) -> None:
    expected = kind.make(papers, path=tmp_path / "law", k=2).invoke(QUERY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "is_read_only", lambda _: True)  # root may do anything
        retriever = kind.load(tmp_path / "law", k=2)
        store = KoVectorStore(collection=retriever.collection)
        assert retriever.invoke(QUERY) == expected
        for change in (
            lambda: retriever.add_documents([Document(id="문서-0", page_content="다른 글")]),
            lambda: retriever.delete(["문서-0"]),
            lambda: store.add_texts(["글"]),
            lambda: store.delete(["문서-0"]),
            lambda: kind.make([Document(page_content="새 글")], path=tmp_path / "law"),
        ):
            with pytest.raises(ReadOnlyError, match="permissions") as raised:
                change()
            assert bilingual(raised.value)
        assert kind.make(papers, path=tmp_path / "law", k=2).invoke(QUERY) == expected  # nothing to write
        assert retriever.invoke(QUERY) == expected
    assert kind.load(tmp_path / "law", k=2).invoke(QUERY) == expected


def test_saving_where_nobody_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = KoBM25Retriever.from_texts(["보증금"])

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(saving.Path, "mkdir", denied)
    with pytest.raises(ReadOnlyError, match="permissions") as raised:
        retriever.save_local(tmp_path / "law")
    assert bilingual(raised.value)
    assert list(tmp_path.iterdir()) == []
