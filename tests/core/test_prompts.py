"""Prompts of checkpoints: under which names they are saved, and warnings about those that are missing."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from assertions import assert_same, dense_rows
from checkpoints import DOCUMENT_PROMPT, QUERY_PROMPT, edit_json, hub_cache, lora_base, write_json

from korag import load_encoder

# peft's, where an adapter is made
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

TEXTS = ["전세 계약을 갱신하려면 언제까지 말해야 하나요?", "도서관 회원증은 안내 데스크에서 만든다."]
INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
NAMES = {
    "sentence-transformers": ({"query": "질의: ", "document": "문서: "}, "질의: ", "문서: "),
    "passage": ({"query": "query: ", "passage": "passage: "}, "query: ", "passage: "),
    "passage, saved again": ({"query": "query: ", "document": "", "passage": "passage: "}, "query: ", "passage: "),
    "corpus": ({"query": "q: ", "corpus": "c: "}, "q: ", "c: "),
    "document first": ({"corpus": "c: ", "passage": "p: ", "document": "d: ", "query": ""}, "", "d: "),
    "Jina": (
        {"retrieval.query": "찾을 질의: ", "retrieval.passage": "찾을 글: ", "text-matching": ""},
        "찾을 질의: ",
        "찾을 글: ",
    ),
    "Nomic": (
        {"search_query": "search_query: ", "search_document": "search_document: ", "clustering": "clustering: "},
        "search_query: ",
        "search_document: ",
    ),
    "Stella": ({"s2p_query": INSTRUCT, "s2s_query": "Instruct: 비슷한 글 찾기\nQuery: "}, INSTRUCT, ""),
    "Stella, saved again": ({"query": "", "document": "", "s2p_query": INSTRUCT, "s2s_query": "비슷: "}, INSTRUCT, ""),
    "Harrier": ({"web_search_query": INSTRUCT, "sts_query": "비슷: ", "bitext_query": "번역: "}, INSTRUCT, ""),
    "EmbeddingGemma": (
        {
            "query": "task: search result | query: ", "document": "title: none | text: ",
            "Retrieval-query": "task: search result | query: ", "Retrieval-document": "title: none | text: ",
            "STS": "task: sentence similarity | query: ",
        },
        "task: search result | query: ",
        "title: none | text: ",
    ),
    "by task": ({"Retrieval-query": "찾기: ", "Retrieval-document": "글: ", "STS": "비슷: "}, "찾기: ", "글: "),
    "empty": ({"query": "", "document": ""}, "", ""),
    "none": ({}, "", ""),
}  # fmt: skip
CARD = "---\nlicense: mit\nbase_model: {base}\n---\n# {title}\n\n| model |\n|---|\n| multilingual-e5-large |\n"


def with_prompts(folder: Path, prompts: object, **settings: object) -> Path:
    path = folder / "config_sentence_transformers.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, old | {"prompts": prompts} | settings)
    return folder


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "korag"]


class TestNames:
    @pytest.mark.parametrize("name", NAMES)
    def test_prompts_are_found_under_the_names_that_models_use(self, copied, name, caplog):
        prompts, query, document = NAMES[name]
        encoder = load_encoder(with_prompts(copied("roberta"), prompts))
        assert encoder.prompts == {"query": query, "document": document}
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize("layout", ["roberta", "splade"])
    def test_they_make_the_reference_s_vectors(self, copied, layout):
        from sentence_transformers import SentenceTransformer, SparseEncoder

        folder = with_prompts(copied(layout), {"retrieval.query": "찾을 질의: ", "retrieval.passage": "찾을 글: "})
        kind = SentenceTransformer if layout == "roberta" else SparseEncoder
        reference = kind(str(folder), device="cpu", local_files_only=True)
        encoder = load_encoder(folder)
        for name, found in (
            ("retrieval.query", encoder.encode_queries(TEXTS)),
            ("retrieval.passage", encoder.encode_documents(TEXTS)),
        ):
            expected = reference.encode(TEXTS, prompt_name=name)
            expected = expected if layout == "roberta" else expected.to_dense().numpy()
            np.testing.assert_allclose(found if layout == "roberta" else found.toarray(), expected, atol=1e-5)

    def test_an_exact_name_comes_before_a_similar_one(self, copied):
        folder = with_prompts(copied("roberta"), {"Query": "나: ", "query": "가: "})
        assert load_encoder(folder).prompts["query"] == "가: "

    def test_a_late_interaction_marker_stays_before_the_prompt(self, copied):
        folder = with_prompts(copied("pylate"), {"retrieval.query": "찾기: "})
        assert load_encoder(folder).prompts == {"query": "[Q] 찾기: ", "document": "[D] "}

    def test_a_saved_copy_keeps_them(self, copied, tmp_path):
        folder = with_prompts(copied("roberta"), NAMES["Stella, saved again"][0])
        encoder = load_encoder(folder)
        encoder.save(tmp_path / "copy")
        assert load_encoder(tmp_path / "copy").fingerprint == encoder.fingerprint

    @pytest.mark.parametrize("given", [("", ""), ("", "글: "), ("찾기: ", "")])
    def test_a_saved_copy_keeps_those_of_the_caller(self, copied, tmp_path, given):
        folder = with_prompts(copied("roberta"), NAMES["Jina"][0])
        encoder = load_encoder(folder, query_prompt=given[0], document_prompt=given[1])
        encoder.save(tmp_path / "copy")
        again = load_encoder(tmp_path / "copy")
        assert (again.prompts["query"], again.prompts["document"]) == given
        assert again.fingerprint == encoder.fingerprint

    def test_unknown_names_are_a_warning_that_lists_them(self, copied, caplog):
        folder = with_prompts(copied("roberta"), {"query": "", "STS": "비슷: ", "분류": "분류: "})
        assert load_encoder(folder).prompts == {"query": "", "document": ""}
        (message,) = warnings_of(caplog)
        for word in ("'STS'", "'분류'", "query_prompt=", "document_prompt=", "저장된 프롬프트", "The prompts saved"):
            assert word in message

    @pytest.mark.parametrize(
        ("prompts", "unused", "keyword"),
        [
            ({"query": "질의: ", "문서": "문서: "}, "'문서'", "document_prompt="),
            ({"query": "질의: ", "doc": "문서: ", "STS": "비슷: "}, "'doc'", "document_prompt="),
            ({"질의": "질의: ", "document": "문서: "}, "'질의'", "query_prompt="),
        ],
    )
    def test_an_unknown_name_that_seems_meant_for_the_other_side_is_a_warning(
        self, copied, caplog, prompts, unused, keyword
    ):
        load_encoder(with_prompts(copied("roberta"), prompts))
        (message,) = warnings_of(caplog)
        assert f"({unused})" in message
        assert keyword in message

    def test_the_caller_s_own_prompts_leave_nothing_to_warn_of(self, copied, caplog):
        folder = with_prompts(copied("roberta"), {"STS": "비슷: "})
        load_encoder(folder, query_prompt="질의: ")
        load_encoder(folder, query_prompt="", document_prompt="")
        assert warnings_of(caplog) == []


class TestDefaultPrompt:
    @pytest.mark.parametrize("layout", ["roberta", "splade", "native"])
    @pytest.mark.parametrize(
        ("prompts", "default"),
        [({"query": "질의: "}, "query"), ({"query": "", "document": "", "모두": "글: "}, "모두")],
        ids=["query", "other"],
    )
    def test_it_is_for_neither_queries_nor_documents_as_in_the_reference(self, copied, layout, prompts, default):
        import sentence_transformers

        folder = with_prompts(copied(layout), prompts, default_prompt_name=default)
        encoder = load_encoder(folder)
        kind = {"roberta": "SentenceTransformer", "splade": "SparseEncoder", "native": "MultiVectorEncoder"}[layout]
        reference = getattr(sentence_transformers, kind)(str(folder), device="cpu", local_files_only=True)
        for found, expected in (
            (encoder.encode_queries(TEXTS), reference.encode_query(TEXTS)),
            (encoder.encode_documents(TEXTS), reference.encode_document(TEXTS)),
        ):
            if layout == "native":
                expected = [np.asarray(row) for row in expected]
            elif layout == "splade":
                expected = expected.to_dense().numpy()
            np.testing.assert_allclose(dense_rows(found), dense_rows(expected), atol=1e-5)

    def test_stored_load_arguments_give_it_as_before(self, copied):
        """Collections hold the prompts themselves, so one made with the default prompt opens as it was."""
        folder = with_prompts(copied("roberta"), {"모두": "글: "}, default_prompt_name="모두")
        before = load_encoder(folder, query_prompt="글: ", document_prompt="글: ")
        again = load_encoder(**before.load_arguments)
        assert again.fingerprint == before.fingerprint
        assert_same(again.encode_queries(TEXTS), before.encode_queries(TEXTS))


class TestModelsThatNeedPrompts:
    @pytest.fixture
    def folder(self, copied, tmp_path) -> Path:
        """A dense model without prompts, in a folder whose name says nothing."""
        return copied("roberta").rename(tmp_path / "model")

    @pytest.mark.parametrize("name", ["multilingual-e5-large", "my-E5-tuned", "KoE5", "models--x--e5-ko/snapshots/1"])
    def test_a_folder_named_after_e5_is_a_warning(self, folder, tmp_path, name, caplog):
        place = tmp_path / "other" / name
        place.parent.mkdir(parents=True)
        encoder = load_encoder(folder.rename(place))
        assert encoder.prompts == {"query": "", "document": ""}
        (message,) = warnings_of(caplog)
        for word in ("query_prompt='query: '", "document_prompt='passage: '", "프롬프트", "saves no prompts"):
            assert word in message

    def test_a_copy_of_a_known_model_is_named_with_its_own_prompts(self, folder, tmp_path, caplog):
        load_encoder(folder.rename(tmp_path / "multilingual-e5-large-instruct"))
        (message,) = warnings_of(caplog)
        assert "intfloat/multilingual-e5-large-instruct" in message
        assert "query_prompt='Instruct: Given a web search query" in message
        assert "document_prompt=''" in message

    @pytest.mark.parametrize(
        ("path", "changes"),
        [
            ("config.json", {"_name_or_path": "intfloat/multilingual-e5-base"}),
            ("config.json", {"_name_or_path": "/data/gte-Qwen2-1.5B-instruct"}),
        ],
    )
    def test_so_is_what_the_settings_say(self, folder, path, changes, caplog):
        edit_json(folder / path, **changes)
        load_encoder(folder)
        (message,) = warnings_of(caplog)
        assert changes["_name_or_path"] in message
        assert ("passage: " in message) == ("e5" in changes["_name_or_path"])

    @pytest.mark.parametrize(
        "card",
        [
            CARD.format(base="intfloat/multilingual-e5-large", title="우리 회사 검색 모델"),
            CARD.format(base="\n- xlm-roberta-base\n- 'intfloat/multilingual-e5-large'", title="검색 모델"),
            CARD.format(base="klue/roberta-base", title="SentenceTransformer based on intfloat/multilingual-e5-base"),
            "# 검색 모델\n```python\nmodel.encode(['query: 보증금'])\n```\n",
            '# 검색 모델\n```python\ntext = f"Instruct: {task}\\nQuery: {query}"\n```\n',
            "---\nbase_model: intfloat/e5-large\n---\n" + "가" * 10**6,
        ],
    )
    def test_so_is_what_the_card_says(self, folder, card, caplog):
        (folder / "README.md").write_text(card, encoding="utf-8")
        load_encoder(folder)
        (message,) = warnings_of(caplog)
        assert ("Instruct: <task>" in message) == ("Instruct" in card)

    @pytest.mark.parametrize(
        "card",
        [
            CARD.format(base="BAAI/bge-m3", title="KURE 같은 모델"),
            "모델\n" + "가" * 10**5 + "\n# e5",
            "---\nbase_model:\n---\n",
            "\x00\xff",
        ],
    )
    def test_other_mentions_are_none(self, folder, card, caplog):
        (folder / "README.md").write_bytes(card.encode("latin-1" if card[0] == "\x00" else "utf-8"))
        load_encoder(folder)
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize("name", ["BGE-m3-ko", "KURE-v1", "bge-m3", "ko-sroberta-multitask"])
    def test_models_known_to_need_none_are_left_alone(self, folder, tmp_path, name, caplog):
        (folder / "README.md").write_text("---\nbase_model: intfloat/e5-large\n---\n", encoding="utf-8")
        load_encoder(folder.rename(tmp_path / name))
        assert warnings_of(caplog) == []

    def test_saved_or_given_prompts_leave_nothing_to_warn_of(self, folder, tmp_path, caplog):
        place = folder.rename(tmp_path / "multilingual-e5-small")
        load_encoder(place, query_prompt="query: ", document_prompt="passage: ")
        load_encoder(place, query_prompt="", document_prompt="")
        with_prompts(place, {"query": "query: ", "passage": "passage: "})
        load_encoder(place)
        assert warnings_of(caplog) == []

    def test_by_its_hub_id_a_known_model_gets_its_prompts(self, folder, tmp_path, caplog):
        hub_cache(folder, tmp_path / "cache", "intfloat/multilingual-e5-small")
        encoder = load_encoder(
            "intfloat/multilingual-e5-small", cache_folder=str(tmp_path / "cache"), local_files_only=True
        )
        assert encoder.prompts == {"query": "query: ", "document": "passage: "}
        assert warnings_of(caplog) == []

    def test_an_adapter_of_e5_without_prompts_is_a_warning(self, copied, tmp_path, caplog):
        folder = copied("lora")
        base = lora_base(folder).rename(tmp_path / "multilingual-e5-base")
        edit_json(folder / "adapter_config.json", base_model_name_or_path=str(base))
        assert load_encoder(folder).prompts == {"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}
        assert warnings_of(caplog) == []
        with_prompts(folder, {})
        load_encoder(folder)
        (message,) = warnings_of(caplog)
        assert "multilingual-e5-base" in message

    def test_a_collection_that_knows_its_prompts_opens_without_a_word(self, folder, tmp_path, caplog):
        from korag import Collection

        place = folder.rename(tmp_path / "e5-ko")
        with Collection.open(tmp_path / "collection", encoders=[place]) as collection:
            collection.add(TEXTS)
        caplog.clear()
        with Collection.open(tmp_path / "collection", load_stored_models=True) as collection:
            assert len(collection.search(TEXTS[0], k=1)) == 1
        assert [text for text in warnings_of(caplog) if "프롬프트" in text] == []
        shutil.rmtree(tmp_path / "collection")


@pytest.fixture(autouse=True)
def seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "korag")
