"""Models that treat queries and documents differently, and static embeddings; their vectors are in tests/layouts."""

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from assertions import assert_bilingual, assert_same, cosines
from checkpoints import HIDDEN, edit_json, hub_cache, write_json
from layouts import routers
from layouts.case import DOCUMENTS, QUERIES
from layouts.saving import save, transformer
from safetensors.torch import save_file

from korag import Collection, load_encoder
from korag.errors import CheckpointError, InvalidArgumentError
from korag.explain import explain_terms

ROUTERS = ("inference_free", "opensearch", "two_splade", "two_encoders", "shared_backbone", "later_router")
STATIC = ("static", "static_subfolder", "static_queries", "model2vec", "model2vec_alone")
OWN_CODE = {"own_pooling": {"trust_remote_code": True}, "own_backbone": {"trust_remote_code": True}}
_ROUTER, _DENSE = "sentence_transformers.models.Router", "sentence_transformers.models.Dense"
ALL = (*ROUTERS, *STATIC, *OWN_CODE)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a layout, built at its first use; not to be changed."""
    root = tmp_path_factory.mktemp("routers")

    def make(layout: str) -> Path:
        folder = root / layout
        if not folder.exists():
            getattr(routers, layout)(folder)
        return folder

    return make


def load(folder: object, **settings):
    return load_encoder(folder, **({"device": "cpu", "dtype": "float32"} | settings))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ALL)
class TestEveryLayout:
    def test_save_and_load(self, made, tmp_path, layout):
        encoder = load(made(layout), **OWN_CODE.get(layout, {}))
        copy = load(encoder.save(tmp_path / "사본"), **OWN_CODE.get(layout, {}))
        assert copy.fingerprint == encoder.fingerprint
        assert_same(copy.encode_queries(QUERIES), encoder.encode_queries(QUERIES), 0)

    def test_load_arguments_make_the_same_encoder_again(self, made, layout):
        encoder = load(made(layout), max_length=20, **OWN_CODE.get(layout, {}))
        stored = json.loads(json.dumps(encoder.load_arguments))
        again = load(stored.pop("model"), **stored, **OWN_CODE.get(layout, {}))
        assert again.fingerprint == encoder.fingerprint
        assert_same(again.encode_documents(DOCUMENTS), encoder.encode_documents(DOCUMENTS))

    def test_a_pickle_loads_again(self, made, layout):
        encoder = load(made(layout), **OWN_CODE.get(layout, {}))
        vectors = encoder.encode_queries(QUERIES)
        assert_same(pickle.loads(pickle.dumps(encoder)).encode_queries(QUERIES), vectors, 0)  # noqa: S301

    def test_a_copy_for_training_is_the_model_as_saved(self, made, layout):
        assert load(made(layout), **OWN_CODE.get(layout, {})).load_copy().training

    def test_batches_and_odd_texts(self, made, layout):
        """The vectors of a text do not depend on its neighbours; without any text they are numbers all the same."""
        encoder = load(made(layout), **OWN_CODE.get(layout, {}))
        texts = [*DOCUMENTS, "", " ", "🙂", "가" * 3_000]
        for encode in (encoder.encode_queries, encoder.encode_documents):
            together = encode(texts)
            alone = [encode([text]) for text in texts]
            for index, one in enumerate(alone):
                row = together[[index]]
                assert_same(row, one)
                assert np.isfinite(one.toarray() if hasattr(one, "toarray") else one).all()

    def test_a_collection_is_opened_again(self, made, tmp_path, layout):
        encoder = load(made(layout), **OWN_CODE.get(layout, {}))
        with Collection.open(tmp_path / "모음", encoders=[encoder]) as collection:
            collection.add(DOCUMENTS)
            expected = [hit.text for hit in collection.search(QUERIES[0], k=2)]
        with Collection.open(tmp_path / "모음", encoders=[load(made(layout), **OWN_CODE.get(layout, {}))]) as again:
            assert [hit.text for hit in again.search(QUERIES[0], k=2)] == expected


class TestLengths:
    def test_queries_and_documents_have_their_own(self, made):
        encoder = load(made("two_encoders"))
        assert (encoder.query_length, encoder.max_length) == (32, 200)
        short = load(made("two_encoders"), max_length=20)
        assert (short.query_length, short.max_length) == (32, 20)
        assert load(made("two_encoders"), query_length=20).query_length == 20
        assert load(made("inference_free"), max_length=20).query_length == 20

    def test_a_limit_holds_on_both_sides(self, made):
        from sentence_transformers import SentenceTransformer

        text = "보증금을 돌려받는 날은 계약서에 적는다. " * 9
        reference = SentenceTransformer(str(made("two_encoders")), device="cpu", local_files_only=True)
        reference.max_seq_length = 12
        encoder = load(made("two_encoders"), max_length=12, query_length=12)
        assert_same(encoder.encode_queries([text]), reference.encode_query([text]))
        assert_same(encoder.encode_documents([text]), reference.encode_document([text]))

    def test_a_length_of_both_must_fit_both(self, tmp_path):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Router
        from sentence_transformers.sentence_transformer.modules import Pooling

        folder, short = tmp_path / "model", {"max_position_embeddings": 40}
        with transformer("bert", config=short, max_seq_length=32) as first, transformer(max_seq_length=32) as second:
            router = Router.for_query_document([first, Pooling(HIDDEN)], [second, Pooling(HIDDEN)])
            save(SentenceTransformer(modules=[router], device="cpu"), folder)
        with pytest.raises(InvalidArgumentError) as caught:
            load(folder, max_length=41)
        assert_bilingual(caught.value, "max_length=41", "query_length=")
        encoder = load(folder, max_length=200, query_length=40)
        assert encoder.encode_queries(["가나다 " * 200]).shape == (1, HIDDEN)

    @pytest.mark.parametrize("layout", ["static", "static_subfolder"])
    def test_static_embeddings_have_none(self, made, layout, caplog):
        encoder = load(made(layout))
        assert encoder.max_length is encoder.query_length is None
        with caplog.at_level(logging.WARNING, "korag"):
            encoder.encode_documents(["전세 " * 9_000])
        assert not caplog.records

    @pytest.mark.parametrize("layout", ["static", "model2vec_alone", "inference_free"])
    def test_a_limit_cuts_and_says_so(self, made, layout, caplog):
        encoder = load(made(layout), max_length=4)
        assert encoder.max_length == encoder.query_length == 4
        with caplog.at_level(logging.WARNING, "korag"):
            long = encoder.encode_queries(["보증금 도서관 휴관일 점검 서버 환불 전세"])
        assert "1 of 1 queries truncated" in caplog.text
        assert_same(long, encoder.encode_queries(["보증금 도서관 휴관일 점검 서버 환불 월세"]))

    def test_late_interaction_has_lengths_for_each_side_too(self, made):
        encoder = load(made("late_interaction"), max_length=8, query_length=6)
        assert (encoder.query_length, encoder.max_length) == (6, 8)
        text = "보증금을 돌려받는 날은 계약서에 적는다. " * 3
        assert [len(encode([text])[0]) for encode in (encoder.encode_queries, encoder.encode_documents)] == [6, 8]

    def test_a_short_query_of_a_table_is_not_said_to_be_cut(self, made, caplog):
        """A table of token weights sees no special tokens, so they do not count."""
        encoder = load(made("inference_free"), max_length=3)
        assert len(encoder.token_ids("환불", "query")) <= 3
        with caplog.at_level(logging.WARNING, "korag"):
            encoder.encode_queries(["환불"])
        assert not caplog.records

    def test_model2vec_cuts_where_its_settings_say(self, made, tmp_path):
        folder = shutil.copytree(made("model2vec_alone"), tmp_path / "model")
        assert load(folder).max_length == 512
        edit_json(folder / "config.json", max_length=5)
        assert load(folder).max_length == 5

    def test_the_tokenizer_of_a_static_embedding_may_cut(self, made):
        assert load(made("model2vec")).max_length == 512


class TestProcesses:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["inference_free", "static_subfolder"])
    def test_several_processes(self, made, layout):
        encoder = load(made(layout), batch_tokens=32)
        texts = DOCUMENTS * 8
        with encoder.processes(["cpu", "cpu"]) as several:
            together = several.encode_documents(texts)
        assert_same(together, encoder.encode_documents(texts))


class TestSettings:
    def test_what_the_settings_tell_is_known_before_the_weights_are_read(self, made):
        encoder = load(made("opensearch"))
        assert encoder.dim == 12_288
        assert encoder.similarity == "dot"
        assert not encoder.fingerprint.normalized
        assert encoder._model is None

    def test_normalized_means_both_sides(self, made, tmp_path):
        assert load(made("two_encoders")).fingerprint.normalized
        folder = shutil.copytree(made("shared_backbone"), tmp_path / "model")
        settings = json.loads((folder / "router_config.json").read_text(encoding="utf-8"))
        settings["types"]["document_3_Normalize"] = "sentence_transformers.models.Normalize"
        settings["structure"]["document"].append("document_3_Normalize")
        write_json(folder / "router_config.json", settings)
        (folder / "document_3_Normalize").mkdir()
        assert not load(folder).fingerprint.normalized

    @pytest.mark.parametrize(("layout", "dim"), [("static", 24), ("model2vec", 24), ("own_pooling", 6_153)])
    def test_the_size_of_vectors_is_asked_of_the_weights(self, made, layout, dim):
        encoder = load(made(layout), **OWN_CODE.get(layout, {}))
        assert encoder.dim == encoder.fingerprint.dim == dim

    def test_another_size_than_the_weights_have(self, made):
        with pytest.raises(CheckpointError) as caught:
            load(made("static"), dim=25).encode_queries(["글"])
        assert_bilingual(caught.value, "dim=25", "24")
        with pytest.raises(CheckpointError) as caught:
            load(made("own_pooling"), dim=25, trust_remote_code=True).encode_queries(["글"])
        assert_bilingual(caught.value, "25 dimensions", "6153")
        with pytest.raises(InvalidArgumentError):
            load(made("static"), dim=0)

    def test_a_part_of_a_static_embedding(self, made):
        encoder = load(made("static_subfolder"), dim=8)
        assert_same(encoder.encode_queries(QUERIES), load(made("static")).encode_queries(QUERIES)[:, :8])

    def test_a_description_loads_nothing(self, made):
        encoder = load(made("static"))
        assert "dim=None" in repr(encoder)
        assert encoder._model is None

    def test_swapped_routes_are_another_model(self, made, tmp_path):
        folder = shutil.copytree(made("later_router"), tmp_path / "model")
        path = folder / "2_Router/router_config.json"
        structure = json.loads(path.read_text(encoding="utf-8"))["structure"]
        edit_json(path, structure={"query": structure["document"], "document": structure["query"]})
        assert load(folder).fingerprint != load(made("later_router")).fingerprint

    def test_weights_of_queries_are_part_of_the_fingerprint(self, made, tmp_path):
        from safetensors.torch import load_file, save_file

        folder = shutil.copytree(made("inference_free"), tmp_path / "model")
        path = folder / "query_0_SparseStaticEmbedding/model.safetensors"
        save_file({name: tensor * 2 for name, tensor in load_file(path).items()}, path)
        assert load(folder).fingerprint != load(made("inference_free")).fingerprint

    def test_half_precision_tables_are_computed_in_float32(self, made, tmp_path):
        from safetensors.torch import load_file, save_file

        folder = shutil.copytree(made("static"), tmp_path / "model")
        path = folder / "model.safetensors"
        save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path)
        assert (
            cosines(load(folder).encode_queries(QUERIES), load(made("static")).encode_queries(QUERIES)).min() > 0.9999
        )


class TestTokens:
    def test_static_embeddings_show_their_tokens(self, made):
        encoder = load(made("static"))
        assert "".join(encoder.token_texts(encoder.token_ids("도서관"))) == "도서관"

    @pytest.mark.parametrize("task", ["query", "document"])
    def test_terms_of_both_sides(self, made, task):
        terms = explain_terms(load(made("inference_free")), "도서관 휴관일", task=task, top=3)
        assert len(terms) == 3
        if task == "query":
            assert all(term.in_text for term in terms)


class TestHub:
    @pytest.mark.parametrize("layout", ["opensearch", "static_subfolder", "model2vec_alone", "own_pooling"])
    def test_loads_from_the_cache(self, made, tmp_path, layout):
        name = f"owner/{layout}"
        hub_cache(made(layout), tmp_path, name)
        settings = {"cache_folder": str(tmp_path), "local_files_only": True, **OWN_CODE.get(layout, {})}
        encoder, local = load(name, **settings), load(made(layout), **OWN_CODE.get(layout, {}))
        assert encoder.fingerprint == local.fingerprint
        assert_same(encoder.encode_documents(DOCUMENTS), local.encode_documents(DOCUMENTS))

    def test_a_table_of_token_weights_alone_is_no_model(self, made, tmp_path):
        folder = shutil.copytree(made("inference_free"), tmp_path / "model")
        (folder / "document_0_Transformer/model.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load(folder)


class TestOtherBackends:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["inference_free", "two_encoders", "static_queries"])
    def test_a_router(self, made, layout):
        encoder = load(made(layout), backend="onnx", dtype="float32")
        for task in ("encode_queries", "encode_documents"):
            expected = getattr(load(made(layout)), task)(DOCUMENTS)
            assert cosines(getattr(encoder, task)(DOCUMENTS), expected).min() > 0.9999

    def test_static_embeddings_have_nothing_to_convert(self, made):
        with pytest.raises(InvalidArgumentError) as caught:
            load(made("static"), backend="onnx").encode_queries(QUERIES)
        assert_bilingual(caught.value, "backend='onnx'")


class TestMistakes:
    @pytest.mark.parametrize("side", ["query", "document"])
    def test_a_router_without_a_side(self, tmp_path, side):
        routers.without_side(tmp_path / "model", side)
        for weights in (tmp_path / "model").rglob("*.safetensors"):
            weights.write_bytes(b"not read")
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / "model")
        assert_bilingual(caught.value, "Router", side, "route_mappings")

    @pytest.mark.parametrize(
        "settings",
        [
            {"structure": {"query": ["없음"], "document": ["없음"]}},
            {"structure": {"query": [], "document": []}},
            {"structure": {"query": "query_0_Dense", "document": "document_0_Dense"}},
            {"structure": ["query"]},
            {"structure": {"query": ["query_0_Dense"], "document": ["document_0_Dense"] * 100_000}},
            {"types": None},
            {"types": {"inner": _ROUTER}, "structure": {"query": ["inner"], "document": ["inner"]}},
            {"types": {"query_0_Dense": _DENSE, "document_0_Dense": _DENSE, "inner": _ROUTER, "./inner": _ROUTER}},
            {"types": {"/".join(["."] * n) + "/query_0_Dense": _DENSE for n in range(65)}},
            {"types": {"../other": "sentence_transformers.models.Dense"}},
            {"types": {"query_0_Dense": "evil.Evil"}},
            {"parameters": {"route_mappings": {"__import__('os')": "query"}}},
            {"parameters": {"route_mappings": {"(" * 900: "query"}}},
            {"parameters": {"default_route": 7}},
            {"parameters": {"more": True}},
            {"more": {"key": 1}},
        ],
        ids=lambda settings: str(settings)[:60],
    )  # fmt: skip
    def test_damaged_settings(self, made, tmp_path, settings):
        folder = shutil.copytree(made("later_router"), tmp_path / "model")
        path = folder / "2_Router/router_config.json"
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | settings)
        for weights in folder.rglob("*.safetensors"):
            weights.write_bytes(b"not read")
        with pytest.raises(CheckpointError) as caught:
            load(folder)
        assert_bilingual(caught.value, "router_config.json")

    def test_a_mapping_to_more_vectors_than_memory_holds(self, made, tmp_path):
        """Sixteen megabytes on the disk, terabytes in memory."""
        folder = shutil.copytree(made("model2vec_alone"), tmp_path / "model")
        table, mapping = torch.zeros(2, 2**16, dtype=torch.float16), torch.zeros(2**24, dtype=torch.uint8)
        save_file({"embeddings": table, "mapping": mapping}, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match="too large") as caught:
            load(folder).encode_queries(QUERIES)
        assert_bilingual(caught.value, str(folder))

    def test_an_old_router_is_checked_as_well(self, tmp_path):
        routers.old_router(tmp_path / "model")
        edit_json(tmp_path / "model/2_Router/config.json", types={"query_0_Dense": "evil.Evil"})
        with pytest.raises(CheckpointError, match=r"evil\.Evil"):
            load(tmp_path / "model")

    def test_code_of_its_own_needs_leave(self, made):
        with pytest.raises(CheckpointError) as caught:
            load(made("own_pooling"))
        assert_bilingual(caught.value, "trust_remote_code=True", "modeling_views.TwoViews")

    @pytest.mark.parametrize("layout", ["two_encoders", "static"])
    def test_training(self, made, layout):
        from korag.training.recipes import default_recipe
        from korag.training.trainer import load_trainable

        with pytest.raises(InvalidArgumentError) as caught:
            load_trainable(load(made(layout)), default_recipe(layout, "dense"))
        assert_bilingual(caught.value, "Router", "sentence-transformers")
