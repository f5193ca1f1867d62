"""`fit_fusion`: weights from judged questions, kept only where a gain is shown, and stored with the collection."""

import json
import pickle
import random
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from dict_store import DictStore

import korag
from korag import BM25, Collection, DenseEncoder
from korag.cli import main
from korag.collection.local.collection import LocalCollection
from korag.errors import (
    DatasetError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    KoragError,
    ReadOnlyError,
)
from korag.evaluation import Dataset, FusionFit, fit_fusion, score_rankings
from korag.evaluation.judged import pseudo_questions
from korag.fusion import Fusion
from korag.testing import FakeDenseEncoder, FakeSparseEncoder

PLACES = ["도서관", "수영장", "주민센터", "체육관", "박물관", "보건소", "우체국", "시장", "공원", "식물원"]
MATTERS = ["휴관일", "이용료", "주차", "예약", "환불", "대여", "강좌"]
TEXTS = {
    f"{place}-{matter}": f"{place} {matter} 안내입니다. {matter}에 관한 {place} 규정 {number}번을 따릅니다."
    for number, (place, matter) in enumerate((place, matter) for place in PLACES for matter in MATTERS)
}
QUESTIONS = {f"{place} {matter} 알려 주세요": [f"{place}-{matter}"] for place in PLACES for matter in MATTERS}


class Noise(FakeDenseEncoder):
    """A dense model whose vectors have nothing to do with the texts."""

    def encode_queries(self, texts: Any, **options: Any) -> Any:
        return super().encode_queries([text[::-1] + "소음" * 9 for text in texts], **options)


@pytest.fixture
def noisy() -> Collection:
    """BM25 finds everything; the other leg misleads."""
    return _filled(Collection.in_memory(encoders=[Noise()], bm25=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with _filled(Collection.open(tmp_path / "시설", encoders=[Noise()], bm25=True)):
        return tmp_path / "시설"


def _filled(collection: Any) -> Any:
    collection.add(list(TEXTS.values()), ids=list(TEXTS))
    return collection


def _hard(seed: int = 3, count: int = 60) -> dict[str, list[str]]:
    """Questions of few words, whose documents BM25 ranks first and a misleading leg does not."""
    chooser = random.Random(seed)
    ids = chooser.sample(sorted(TEXTS), count)
    return {f"{id_.replace('-', ' ')} 규정": [id_] for id_ in ids}


def _ndcg(collection: Collection, questions: dict[str, list[str]], **settings: Any) -> float:
    found = collection.search_many(list(questions), k=10, **settings)
    rankings = {question: [hit.id for hit in hits] for question, hits in zip(questions, found, strict=True)}
    relevant = {question: dict.fromkeys(ids, 1) for question, ids in questions.items()}
    return float(score_rankings(rankings, relevant, depth=10)["nDCG@10"].mean())


def _opposed(collection: Collection) -> dict[str, list[str]]:
    """Questions that the second leg answers and the default fusion does not: judged by what that leg finds first."""
    questions = list(QUESTIONS)
    found = collection.search_many(questions, using="dense", k=1)
    return {question: [hits[0].id] for question, hits in zip(questions, found, strict=True)}


class TestFitting:
    def test_a_gain_is_shown_and_what_is_fitted_is_what_is_served(self, noisy: Collection) -> None:
        questions = _opposed(noisy)
        before = _ndcg(noisy, questions)
        fit = fit_fusion(noisy, questions)
        assert isinstance(fit, FusionFit)
        assert not fit.kept_default
        assert fit.stored
        assert fit.default_score == pytest.approx(before)
        assert fit.gain is not None
        mean, low, high = fit.gain
        assert 0 < low <= mean <= high
        assert fit.held_out_score == pytest.approx(fit.default_score + mean)
        assert noisy.fitted_fusion == fit.fusion
        assert _ndcg(noisy, questions) == pytest.approx(fit.score)
        assert _ndcg(noisy, questions, fusion="auto") > before
        assert _ndcg(noisy, questions, fusion=fit.fusion.method, weights=fit.fusion.weights) == pytest.approx(fit.score)

    def test_the_default_is_kept_without_a_gain(self, noisy: Collection) -> None:
        noisy.store_fusion(Fusion("rrf"))
        fit = fit_fusion(noisy, QUESTIONS)
        assert fit.kept_default
        assert noisy.fitted_fusion is None  # an earlier result is gone
        assert fit.score == fit.default_score == pytest.approx(_ndcg(noisy, QUESTIONS))
        assert "근거가 없어 기본 결합을 그대로 둡니다" in str(fit)
        assert "No gain was shown" in str(fit)

    def test_few_questions_keep_the_default(self, noisy: Collection) -> None:
        questions = dict(list(_opposed(noisy).items())[:19])
        fit = fit_fusion(noisy, questions)
        assert fit.kept_default
        assert (fit.questions, fit.held_out_score, fit.gain) == (19, None, None)
        assert fit.default_score == pytest.approx(_ndcg(noisy, questions))
        assert "질문이 20개보다 적어" in str(fit)
        assert "Too few questions" in str(fit)

    def test_looking_stores_nothing(self, noisy: Collection) -> None:
        fit = fit_fusion(noisy, _opposed(noisy), store=False)
        assert not fit.stored
        assert not fit.kept_default
        assert noisy.fitted_fusion is None
        assert "저장하지 않았습니다" in str(fit)

    def test_the_same_questions_give_the_same_result(self, noisy: Collection) -> None:
        questions = _opposed(noisy)
        fit = fit_fusion(noisy, questions, store=False)
        assert fit_fusion(noisy, questions, store=False) == fit
        assert json.loads(json.dumps(fit.to_dict()))["fusion"] == fit.fusion.to_dict()

    def test_a_fitted_fusion_does_not_influence_the_next_fit(self, noisy: Collection) -> None:
        questions = _opposed(noisy)
        first = fit_fusion(noisy, questions)
        assert fit_fusion(noisy, questions) == first

    def test_ndcg_is_that_of_evaluate(self, noisy: Collection) -> None:
        graded = {question: {ids[0]: 2, "시장-주차": 1} for question, ids in _opposed(noisy).items()}
        fit = fit_fusion(noisy, graded, store=False)
        found = noisy.search_many(list(graded), k=10)
        rankings = {question: [hit.id for hit in hits] for question, hits in zip(graded, found, strict=True)}
        assert fit.default_score == pytest.approx(score_rankings(rankings, graded, depth=10)["nDCG@10"].mean())

    def test_ties_are_those_of_a_search(self) -> None:
        """Equal texts tie in every leg; searches put them in insertion order."""
        collection = Collection.in_memory(encoders=[FakeDenseEncoder(), FakeSparseEncoder()], bm25=True)
        texts = [text for text in list(TEXTS.values())[:30] for _ in range(3)]
        collection.add(texts, ids=[f"{index % 3}-{index // 3}" for index in range(len(texts))])
        questions = {text: [f"{index % 3}-{index}"] for index, text in enumerate(list(TEXTS.values())[:30])}
        assert fit_fusion(collection, questions).score == pytest.approx(_ndcg(collection, questions))

    def test_public(self) -> None:
        assert korag.fit_fusion is fit_fusion


class TestQuestions:
    def test_a_data_set_by_id_or_by_text(self, noisy: Collection, tmp_path: Path, write: Any) -> None:
        questions = _opposed(noisy)
        expected = fit_fusion(noisy, questions, store=False)
        names = {f"q{number}": question for number, question in enumerate(questions)}
        relevant = {name: questions[question] for name, question in names.items()}
        by_id = Dataset.build("시설", documents=TEXTS, queries=names, relevant=relevant)
        assert fit_fusion(noisy, by_id, store=False) == expected
        rows = [{"query": question, "positive": TEXTS[ids[0]]} for question, ids in questions.items()]
        path = write(tmp_path / "질문.jsonl", rows)
        assert fit_fusion(noisy, path, store=False) == expected
        assert fit_fusion(noisy, str(path), store=False) == expected

    def test_ids_of_another_text_are_not_taken(self, noisy: Collection) -> None:
        """The ids of a table of pairs are made up, and may be those of other documents."""
        swapped = {"도서관-주차": TEXTS["시장-환불"]}
        data = Dataset.build("짝", documents=swapped, queries={"q": "시장 환불"}, relevant={"q": ["도서관-주차"]})
        assert fit_fusion(noisy, data).default_score == pytest.approx(_ndcg(noisy, {"시장 환불": ["시장-환불"]}))

    @pytest.mark.parametrize(
        ("questions", "error", "message"),
        [
            ({"도서관": ["없는 id"]}, DatasetError, r"1개 중 1개가 없습니다\(예: '없는 id'\)(.|\n)*lacks 1 of the 1"),
            ({}, DatasetError, "no question in questions"),
            ({"도서관": []}, DatasetError, "has no document"),
            ({"도서관": "도서관-주차"}, InvalidTextError, "must be a list of document ids"),
            ({"도서관": [3]}, InvalidTextError, "도서관"),
            ({"도서관": {"도서관-주차": 0}}, DatasetError, "the grade 0"),
            ({" ": ["도서관-주차"]}, InvalidTextError, "empty question"),
            ({3: ["도서관-주차"]}, InvalidTextError, "questions"),
            (["도서관"], DatasetError, "must be a dict"),
            ("없는-파일.jsonl", DatasetError, "no file, folder or benchmark"),
        ],
    )
    def test_wrong_questions(self, noisy: Collection, questions: Any, error: type[KoragError], message: str) -> None:
        with pytest.raises(error, match=message):
            fit_fusion(noisy, questions)

    def test_documents_that_are_not_there(self, noisy: Collection) -> None:
        data = Dataset.build("남", documents={"x": "남의 글"}, queries={"q": "글"}, relevant={"q": ["x"]})
        with pytest.raises(DatasetError, match="lacks 1 of the 1 documents"):
            fit_fusion(noisy, data)

    def test_one_leg(self) -> None:
        with pytest.raises(InvalidArgumentError, match="there is nothing to fuse"):
            fit_fusion(_filled(Collection.in_memory(bm25=True)), QUESTIONS)

    def test_questions_made_of_the_documents(self, noisy: Collection) -> None:
        fit = fit_fusion(noisy)
        assert fit.pseudo
        assert fit.kept_default  # BM25 is right and the other leg is noise, which the default knows
        assert fit.questions == len(TEXTS)
        assert "문서에서 만든 질문" in str(fit)
        assert noisy.fitted_fusion is None

    def test_no_question_can_be_made(self) -> None:
        collection = Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True)
        assert fit_fusion(collection).kept_default
        collection.add(["한 문장뿐", "또 하나"])
        fit = fit_fusion(collection)
        assert (fit.questions, fit.kept_default) == (0, True)
        assert "질문이 20개보다 적어" in str(fit)

    def test_titles_are_cut_out_of_their_documents(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from korag.evaluation import fitting

        seen: list[Any] = []
        make = fitting.pseudo_questions
        monkeypatch.setattr(fitting, "pseudo_questions", lambda *args: seen.append(make(*args)) or seen[0])
        collection = Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True)
        texts = [
            f"제{n}조(보존 기간) 문서는 {n}년 보존한다. 그 뒤에는 목록을 남기고 빠짐없이 폐기한다."
            for n in range(1, 31)
        ]
        metadata = [{"title": f"제{n}조(보존 기간)"} if n % 2 else {} for n in range(1, 31)]
        collection.add(texts, ids=[str(n) for n in range(1, 31)], metadata=metadata)
        fit_fusion(collection)
        ((searched, judged),) = seen
        assert judged["제3조(보존 기간)"] == {"3": 1}
        assert searched.get(["3"])[0].text.strip() == "문서는 3년 보존한다. 그 뒤에는 목록을 남기고 빠짐없이 폐기한다."
        assert searched.get(["4"])[0].text == "그 뒤에는 목록을 남기고 빠짐없이 폐기한다."
        assert searched.legs == collection.legs
        assert collection.get(["3"])[0].text == texts[2]

    def test_questions_are_tried_with_the_collections_own_windows_and_analysis(self, tmp_path: Path) -> None:
        path = tmp_path / "색인"
        encoders = [FakeDenseEncoder()]
        Collection.open(path, encoders=encoders, bm25=True, window=32, stride=20).close()
        with sqlite3.connect(path / "korag.sqlite3") as connection:  # as an older KoRAG counted its terms
            ((legs,),) = connection.execute("SELECT value FROM settings WHERE name = 'legs'")
            older = json.loads(legs)
            older["bm25"]["settings"] = {"tokenizer": "bigram"}
            connection.execute("UPDATE settings SET value = ? WHERE name = 'legs'", (json.dumps(older),))
        connection.close()
        with Collection.open(path, encoders=encoders) as collection:
            collection.add(["문서는 삼 년 동안 보존한다. 그 뒤에는 목록을 남기고 빠짐없이 폐기한다."], ids=["문서"])
            sample, _ = pseudo_questions(collection, 0)
            assert isinstance(collection, LocalCollection)
            assert isinstance(sample, LocalCollection)
            for name, leg in collection._legs.items():
                assert sample._legs[name].identity() == leg.identity()
            assert leg.identity()["settings"] == {"tokenizer": "bigram"}


class TestStored:
    WEIGHTED = Fusion("weighted", {"dense": 0.5, "bm25": 2.0})

    def test_it_survives(self, folder: Path, tmp_path: Path) -> None:
        with Collection.open(folder, encoders=[Noise()]) as collection:
            assert collection.fitted_fusion is None
            expected = collection.search("시장 환불", fusion="weighted", weights=self.WEIGHTED.weights)
            collection.store_fusion(self.WEIGHTED)
            assert collection.search("시장 환불") == expected
            assert pickle.loads(pickle.dumps(collection)).fitted_fusion == self.WEIGHTED  # noqa: S301
            collection.save(tmp_path / "사본")
            collection.compact()
        Collection.upgrade(folder)
        assert Collection.verify(folder).ok
        for path in (folder, tmp_path / "사본"):
            with Collection.open(path, encoders=[Noise()]) as collection:
                assert collection.fitted_fusion == self.WEIGHTED
                assert collection.search("시장 환불") == expected
                collection.store_fusion(None)
                assert collection.fitted_fusion is None

    def test_in_memory_and_pickled(self, noisy: Collection) -> None:
        noisy.store_fusion(self.WEIGHTED)
        assert pickle.loads(pickle.dumps(noisy)).fitted_fusion == self.WEIGHTED  # noqa: S301

    def test_another_that_has_it_open_sees_it(self, folder: Path) -> None:
        with Collection.open(folder, encoders=[Noise()]) as one, Collection.open(folder, encoders=[Noise()]) as other:
            one.store_fusion(self.WEIGHTED)
            assert other.fitted_fusion == self.WEIGHTED

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ("weighted", "must be a korag.fusion.Fusion"),
            (Fusion("weighted", {"colbert": 1.0}), "weights names 'colbert'"),
            (Fusion("weighted", {"bm25": -1.0}), "weights"),
            (Fusion("sum"), "fusion='sum'"),  # type: ignore[arg-type]
        ],
    )
    def test_wrong_fusions(self, noisy: Collection, wrong: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            noisy.store_fusion(wrong)
        assert noisy.fitted_fusion is None

    @pytest.mark.parametrize(
        "stored",
        [
            "3",
            '"weighted"',
            '{"method": "weighted"}',
            '{"method": "sum", "weights": null}',
            '{"method": "weighted", "weights": {"bm25": -1}}',
            '{"method": "weighted", "weights": {"bm25": NaN}}',
            '{"method": "weighted", "weights": {"bm25": "2"}}',
            '{"method": "weighted", "weights": {"bm25": 0}}',
            '{"method": "weighted", "weights": {"colbert": 1}}',
            '{"method": "weighted", "weights": [1, 2]}',
        ],
    )
    def test_what_was_tampered_with_is_an_error(self, folder: Path, stored: str) -> None:
        with sqlite3.connect(folder / "korag.sqlite3") as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES ('fusion', ?)", (stored,))
        database.close()
        with Collection.open(folder, encoders=[Noise()]) as collection:
            for use in (lambda: collection.fitted_fusion, lambda: collection.search("시장 환불")):
                with pytest.raises(IndexStateError, match="fusion"):
                    use()
        assert not Collection.verify(folder).ok

    def test_what_is_not_even_json_does_not_open(self, folder: Path) -> None:
        with sqlite3.connect(folder / "korag.sqlite3") as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES ('fusion', '{')")
        database.close()
        with pytest.raises(IndexStateError, match="fusion"):
            Collection.open(folder, encoders=[Noise()])

    def test_a_read_only_folder_is_an_error_before_any_work(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Collection.open(folder, encoders=[Noise()]) as collection:
            monkeypatch.setattr(type(collection), "_leg_runs", lambda *_: pytest.fail("searched"))
            monkeypatch.setattr(
                type(collection._database),
                "check_writable",
                lambda _: (_ for _ in ()).throw(ReadOnlyError("쓸 수 없습니다.", "read-only")),
            )
            with pytest.raises(ReadOnlyError):
                fit_fusion(collection, QUESTIONS)

    def test_a_store_that_keeps_none(self) -> None:
        store = _filled(DictStore(encoders=[Noise()], bm25=True))
        questions = _opposed(store)
        with pytest.raises(IndexStateError, match=r"DictStore는 결합을 저장하지 않습니다(.|\n)*store=False"):
            fit_fusion(store, questions)
        fit = fit_fusion(store, questions, store=False)
        assert not fit.kept_default
        served = _ndcg(store, questions, fusion=fit.fusion.method, weights=fit.fusion.weights)
        assert fit.score == pytest.approx(served)


class TestCommand:
    @pytest.fixture
    def bundled(self, tmp_path: Path) -> Path:
        with _filled(Collection.open(tmp_path / "묶음", encoders=["mini-dense"], bm25=True)):
            return tmp_path / "묶음"

    @pytest.fixture
    def pairs(self, tmp_path: Path, write: Any) -> str:
        rows = [{"query": question, "positive": TEXTS[ids[0]]} for question, ids in QUESTIONS.items()]
        return str(write(tmp_path / "질문.jsonl", rows))

    @pytest.mark.slow
    def test_a_folder_is_fitted_and_keeps_the_result(
        self, bundled: Path, pairs: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Collection.open(bundled) as collection:
            collection.store_fusion(Fusion("rrf"))
        assert main(["eval", pairs, "--fit-fusion", str(bundled), "--quiet", "--format", "json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["questions"], printed["stored"], printed["legs"]) == (70, True, ["dense", "bm25"])
        with Collection.open(bundled) as collection:
            stored = collection.fitted_fusion
            assert stored == (None if printed["kept_default"] else Fusion.from_dict(printed["fusion"]))

    @pytest.mark.slow
    def test_the_documents_of_the_data_set(
        self, pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["eval", pairs, "--hybrid", "mini-dense", "--quiet", "--output", str(tmp_path / "결과")]
        assert main([*command, "--fit-fusion"]) == 0
        printed = capsys.readouterr().out
        assert "질문 70개, 검색 방식 dense, bm25" in printed
        saved = json.loads((tmp_path / "결과/fusion.json").read_text(encoding="utf-8"))
        assert saved["stored"] is False

    def test_errors(self, pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments, message in (
            ([pairs, "--fit-fusion", str(tmp_path / "없음")], "There is no collection"),
            ([pairs, pairs, "--fit-fusion", str(tmp_path)], "give one data set"),
        ):
            assert main(["eval", *arguments]) == 2
            assert message in capsys.readouterr().err
        assert not (tmp_path / "없음").exists()


def test_ids_of_either_form_are_those_of_the_collection(noisy: Collection) -> None:
    mac = {question: [unicodedata.normalize("NFD", id_) for id_ in ids] for question, ids in QUESTIONS.items()}
    assert fit_fusion(noisy, mac, store=False) == fit_fusion(noisy, QUESTIONS, store=False)
    data = Dataset(
        name="시설",
        documents={unicodedata.normalize("NFD", id_): text for id_, text in TEXTS.items()},
        queries={str(number): question for number, question in enumerate(mac)},
        relevant={str(number): dict.fromkeys(ids, 1) for number, ids in enumerate(mac.values())},
    )
    assert fit_fusion(noisy, data, store=False) == fit_fusion(noisy, QUESTIONS, store=False)


def test_a_fitted_fusion_is_read_only_where_it_is_used(noisy: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[None] = []
    monkeypatch.setattr(type(noisy), "fitted_fusion", property(lambda _: read.append(None)))
    noisy.search("도서관", using="bm25")
    noisy.search("도서관", fusion="rrf")
    assert not read
    noisy.search("도서관")
    assert len(read) == 1


def test_legs_that_a_store_searches_by_itself_lose_no_document() -> None:
    store = _filled(DictStore(encoders=[FakeDenseEncoder(), FakeSparseEncoder()], bm25=True))
    expected = {leg: [hit.id for hit in store.search("도서관 주차 규정", using=leg, k=20)] for leg in store.legs}
    (found,) = store._leg_runs(["도서관 주차 규정"], store.legs, 20)
    assert {leg: [found.ids[key] for key, _ in run] for leg, run in found.runs.items()} == expected


@pytest.mark.parametrize("window", [32, None])
def test_pseudo_questions_are_searched_as_the_collection_is(dense: DenseEncoder, window: int | None) -> None:
    collection = Collection.in_memory(encoders=[dense], bm25=BM25(trim_questions=False), window=window)
    collection.add([f"{text} " * 12 for text in TEXTS.values()], ids=list(TEXTS))
    sample, judged = pseudo_questions(collection, 0)
    hits = sample.search(next(iter(judged)), using="dense", repair_query=False)
    assert [hit.span is None for hit in hits] == [window is None] * len(hits)
    assert sample.search("주차 알려줘", using="bm25")[0].score == pytest.approx(
        sample.search("알려줘 주차", using="bm25")[0].score
    )
