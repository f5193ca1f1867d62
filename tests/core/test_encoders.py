"""Encoders: inputs, outputs, reports, saving, pickling and fingerprints."""

import copy
import json
import logging
import os
import pickle
import shutil
import stat
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import scipy.sparse as sp
from assertions import assert_bilingual, assert_same, dense_rows
from checkpoints import DIMS, LAYOUTS, edit_json, hub_cache, lora_base
from safetensors.torch import load_file, save_file

from korag import CrossEncoderReranker, load_encoder
from korag.checkpoints.matryoshka import read_heads
from korag.encoders.pipeline import Pipeline
from korag.errors import CheckpointError, CheckpointNotFoundError, InvalidArgumentError, InvalidTextError

# peft's, at every load of an adapter
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

FAMILIES = ["dense", "splade", "colbert"]
LONG = "가 나 다 라 마 바 사 아 " * 100


@pytest.fixture(params=FAMILIES)
def encoder(request):
    """Each of the bundled models in turn."""
    return request.getfixturevalue(request.param)


class TestResults:
    def test_dense_rows_are_float32_unit_vectors(self, dense, documents):
        for vectors in (dense.encode_documents(documents), dense.encode_queries(documents)):
            assert vectors.shape == (len(documents), dense.dim) == (len(documents), 192)
            assert vectors.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_sparse_rows_are_sorted_and_not_negative(self, splade, documents):
        for vectors in (splade.encode_documents(documents), splade.encode_queries(documents)):
            assert type(vectors) is sp.csr_array
            assert vectors.shape == (len(documents), splade.dim) == (len(documents), 12_288)
            assert vectors.dtype == np.float32
            assert vectors.data.min() > 0
            for row in range(len(documents)):
                assert (np.diff(vectors.indices[vectors.indptr[row] : vectors.indptr[row + 1]]) > 0).all()
            assert (np.diff(vectors.indptr) > 0).all()

    def test_token_vectors_are_float32_unit_vectors(self, colbert, documents):
        queries, rows = colbert.encode_queries(documents), colbert.encode_documents(documents)
        assert type(queries) is type(rows) is list
        assert [len(row) for row in queries] == [min(count, 64) for count in colbert.count_tokens(documents)]
        assert {row.shape[1] for row in [*queries, *rows]} == {128}
        for row in [*queries, *rows]:
            assert row.ndim == 2
            assert row.dtype == np.float32
            assert row.flags.writeable
            np.testing.assert_allclose(np.linalg.norm(row, axis=1), 1, atol=1e-5)

    @pytest.mark.slow
    def test_order_is_kept(self, encoder, documents):
        documents = [documents[0], LONG[:200], *documents[1:]]
        together = encoder.encode_documents(documents)
        for index, text in enumerate(documents):
            alone = encoder.encode_documents([text])
            assert_same(together[index : index + 1], alone)

    def test_any_iterable_will_do(self, encoder, documents):
        assert_same(encoder.encode_documents(iter(documents)), encoder.encode_documents(tuple(documents)))

    def test_duplicates_stay(self, encoder):
        vectors = encoder.encode_queries(["같은 질의"] * 3)
        assert len(vectors) == 3 if isinstance(vectors, list) else vectors.shape[0] == 3

    def test_nothing_in_nothing_out(self, dense, splade, colbert):
        for encode in ("encode_queries", "encode_documents"):
            none = getattr(dense, encode)([])
            assert (none.shape, none.dtype) == ((0, 192), np.float32)
            none = getattr(splade, encode)([])
            assert type(none) is sp.csr_array
            assert (none.shape, none.dtype) == ((0, 12_288), np.float32)
            assert getattr(colbert, encode)([]) == []

    def test_nothing_needs_no_weights(self, built):
        encoder = load_encoder(built("dense"))
        assert encoder.encode_queries([]).shape == (0, encoder.dim)
        assert encoder._model is None

    def test_empty_texts_keep_their_places(self, encoder, documents):
        with_empties = encoder.encode_documents(["", documents[0], "  \n"])
        assert_same(with_empties[1:2], encoder.encode_documents(documents[:1]))

    def test_similarity_is_told(self, dense, splade):
        assert (dense.similarity, splade.similarity) == ("cosine", "dot")


class TestTexts:
    @pytest.mark.parametrize(
        ("texts", "position"), [(["가", None], 1), (["가", "나", 3], 2), ([b"bytes"], 0), ([["x"]], 0)]
    )
    @pytest.mark.parametrize("encode", ["encode_queries", "encode_documents"])
    def test_what_is_no_string_is_named_by_its_place(self, encoder, texts, position, encode):
        with pytest.raises(InvalidTextError) as caught:
            getattr(encoder, encode)(texts)
        assert_bilingual(caught.value, f"texts[{position}]", type(texts[position]).__name__)
        assert isinstance(caught.value, TypeError)

    @pytest.mark.parametrize("texts", ["문자열", b"bytes", None, 7])
    def test_one_string_is_no_list_of_strings(self, dense, texts):
        with pytest.raises(InvalidTextError) as caught:
            dense.encode_queries(texts)
        assert "texts" in caught.value.args[0]
        assert "texts" in caught.value.args[1]

    def test_a_lone_surrogate_is_named_by_its_place(self, encoder):
        with pytest.raises(InvalidTextError) as caught:
            encoder.encode_documents(["가", "나\ud83d"])
        assert_bilingual(caught.value, "texts[1]", r"\ud83d")

    def test_a_bad_text_stops_the_call_before_the_model_is_loaded(self, built):
        encoder = load_encoder(built("dense"))
        with pytest.raises(InvalidTextError):
            encoder.encode_documents(["가", None])
        assert encoder._model is None

    def test_decomposed_hangul_gives_the_same_vectors(self, encoder, documents):
        decomposed = [unicodedata.normalize("NFD", text) for text in documents]
        assert decomposed != documents
        assert_same(encoder.encode_documents(decomposed), encoder.encode_documents(documents), 0)
        assert_same(encoder.encode_queries(decomposed), encoder.encode_queries(documents), 0)

    def test_strange_texts_pass(self, encoder):
        texts = ["\x00", "\u200b", "😀👨‍👩‍👧", "ᄀ", "a" * 3_000, "\n\t", "﷽" * 50, "[Q] [D] [MASK] [CLS]"]
        vectors = encoder.encode_documents(texts)
        assert np.isfinite(dense_rows(vectors)).all()


class TestPrompts:
    """Compared with sentence-transformers, with the prompt passed explicitly."""

    def test_dense(self, built, documents):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(built("dense")), device="cpu", local_files_only=True)
        encoder = load_encoder(built("dense"))
        assert_same(encoder.encode_queries(documents), model.encode(documents, prompt="query: "))
        assert_same(encoder.encode_documents(documents), model.encode(documents, prompt="passage: "))
        assert_same(
            encoder.encode_queries(documents), model.encode(["query: " + text for text in documents], prompt="")
        )

    def test_sparse(self, built, documents):
        from sentence_transformers import SparseEncoder

        model = SparseEncoder(str(built("splade")), device="cpu", local_files_only=True)
        encoder = load_encoder(built("splade"), query_prompt="질의: ", document_prompt="문서: ")
        for vectors, prompt in (
            (encoder.encode_queries(documents), "질의: "),
            (encoder.encode_documents(documents), "문서: "),
        ):
            expected = model.encode(documents, prompt=prompt, convert_to_sparse_tensor=False).cpu().numpy()
            assert_same(vectors, expected, 1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", ["pylate", "residual", "stanford", "native"])
    def test_late_interaction(self, built, documents, layout):
        from sentence_transformers import MultiVectorEncoder

        model = MultiVectorEncoder(str(built(layout)), device="cpu", local_files_only=True)
        encoder = load_encoder(built(layout))
        expected = model.encode_query(documents, convert_to_numpy=True)
        assert_same(encoder.encode_queries(documents), list(expected))
        for row, reference in zip(
            encoder.encode_documents(documents), model.encode_document(documents, convert_to_numpy=True), strict=True
        ):
            assert_same([row], [reference])


class TestReports:
    def reports(self, caplog) -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "korag"]

    def test_truncation_is_reported_once_a_call(self, encoder, caplog):
        with caplog.at_level(logging.WARNING):
            encoder.encode_documents(["짧다", LONG, LONG * 2, "또 짧다"])
        (report,) = self.reports(caplog)
        korean, english = report.split(" / ")
        assert "문서 4개 가운데 2개" in korean
        assert "2 of 4 documents truncated" in english
        assert f"limit {encoder.max_length:,}" in english
        assert "longest 1,6" in english

    def test_queries_have_their_own_limit(self, colbert, caplog):
        with caplog.at_level(logging.WARNING):
            colbert.encode_queries(["가 나 다 라 " * 20])
            colbert.encode_documents(["가 나 다 라 " * 20])
        (report,) = self.reports(caplog)
        assert "1 of 1 queries truncated" in report
        assert "limit 64" in report

    def test_the_limit_itself_is_no_truncation(self, built, caplog):
        encoder = load_encoder(built("roberta"), max_length=12)
        with caplog.at_level(logging.WARNING):
            encoder.encode_documents([" ".join(["가"] * 10)])
        assert self.reports(caplog) == []
        with caplog.at_level(logging.WARNING):
            encoder.encode_documents([" ".join(["가"] * 11)])
        assert "longest 13 tokens, limit 12" in self.reports(caplog)[0]

    def test_empties_are_reported_once_a_call(self, encoder, caplog):
        with caplog.at_level(logging.WARNING):
            encoder.encode_documents(["", "글", " \t\n", "\u3000\u200b\ufeff"])
        (report,) = self.reports(caplog)
        assert "3 of 4 texts are empty" in report
        assert "4개 가운데 3개" in report

    def test_nothing_else_is_reported(self, encoder, documents, caplog):
        with caplog.at_level(logging.WARNING):
            encoder.encode_documents(documents)
            encoder.encode_queries(documents)
        assert caplog.records == []

    def test_a_progress_bar_is_shown_on_request_only(self, encoder, documents, capsys):
        encoder.encode_documents(documents)
        encoder.encode_queries(documents)
        encoder.encode_documents(documents, show_progress=False)
        assert capsys.readouterr() == ("", "")
        encoder.encode_queries(documents, show_progress=True)
        shown = capsys.readouterr()
        assert f"{len(documents)}/{len(documents)}" in shown.err
        assert encoder.family in shown.err
        assert shown.out == ""

    @pytest.mark.slow
    def test_loading_is_silent(self, built, documents, capsys, caplog):
        for layout in ("dense", "lora", "splade", "sparse_autoencoder", "matryoshka"):
            built(layout)
        capsys.readouterr()
        for layout in ("dense", "lora", "splade", "sparse_autoencoder", "matryoshka"):
            load_encoder(built(layout)).encode_queries(documents)
        assert capsys.readouterr() == ("", "")
        assert [record.getMessage() for record in caplog.records] == []


class TestBatches:
    def test_padded_queries_count_against_the_budget(self, built, monkeypatch):
        """A query of 4 tokens is padded to 32: a batch of 1,000 would be 8 times the budget."""
        encoder = load_encoder(built("pylate"), batch_tokens=64)
        sizes = []
        tokenize = Pipeline.tokenize

        def count(self, texts, task):
            sizes.append(len(texts))
            return tokenize(self, texts, task)

        monkeypatch.setattr(Pipeline, "tokenize", count)
        encoder.encode_queries(["가"] * 6)
        assert sizes == [2, 2, 2]

    def test_a_smaller_budget_makes_smaller_batches_and_the_same_vectors(self, built, documents):
        for layout in ("dense", "splade", "pylate"):
            large, small = load_encoder(built(layout)), load_encoder(built(layout), batch_tokens=1)
            assert_same(small.encode_documents(documents), large.encode_documents(documents))


class TestSaving:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_copy_loads_to_the_same_encoder(self, built, documents, tmp_path, layout):
        encoder = load_encoder(built(layout))
        target = encoder.save(tmp_path / "copy")
        assert target == tmp_path / "copy"
        copied = load_encoder(target)
        assert copied.fingerprint == encoder.fingerprint
        assert copied.prompts == encoder.prompts
        assert_same(copied.encode_queries(documents), encoder.encode_queries(documents), 0)
        assert_same(copied.encode_documents(documents), encoder.encode_documents(documents), 0)
        assert [path.name for path in tmp_path.iterdir()] == ["copy"]

    def test_heads_become_safetensors(self, built, documents, tmp_path):
        encoder = load_encoder(built("matryoshka"), dim=8)
        target = encoder.save(tmp_path / "copy")
        assert not list(target.rglob("*.pt"))
        heads = target / "matryoshka_heads.safetensors"
        assert sorted(load_file(heads)) == sorted(f"{dim}.weight" for dim in DIMS)
        for dim, head in read_heads(built("matryoshka") / "matryoshka_heads.pt").items():
            assert (load_file(heads)[f"{dim}.weight"] == head).all()
        assert load_encoder(target, dim=8).fingerprint == encoder.fingerprint

    def test_others_may_read_the_heads_as_they_may_the_rest(self, built, tmp_path):
        target = load_encoder(built("matryoshka")).save(tmp_path / "copy")
        (tmp_path / "plain").write_text("")
        mode = stat.S_IMODE((target / "matryoshka_heads.safetensors").stat().st_mode)
        assert mode == stat.S_IMODE((tmp_path / "plain").stat().st_mode)

    @pytest.mark.parametrize("layout", ["lora", "bare_lora"])
    def test_an_adapter_takes_its_base_along(self, copied, documents, tmp_path, layout):
        folder = copied(layout)
        edit_json(folder / "adapter_config.json", base_model_name_or_path="nobody/base")
        encoder = load_encoder(lora_base(folder), adapter=folder)
        expected, fingerprint = encoder.encode_queries(documents), encoder.fingerprint
        target = encoder.save(tmp_path / "copy")
        shutil.rmtree(folder)
        shutil.rmtree(lora_base(folder))
        moved = target.rename(tmp_path / "elsewhere")
        again = load_encoder(moved)
        assert_same(again.encode_queries(documents), expected, 0)
        assert again.fingerprint == fingerprint

    @pytest.mark.parametrize("layout", ["roberta", "dense", "splade"])
    def test_prompts_in_use_are_saved(self, built, tmp_path, layout):
        encoder = load_encoder(built(layout), query_prompt="질의: ", document_prompt="문서: ")
        again = load_encoder(encoder.save(tmp_path / "copy"))
        assert again.prompts == {"query": "질의: ", "document": "문서: "}
        assert again.fingerprint == encoder.fingerprint

    def test_prompts_known_from_the_card_are_saved(self, built, tmp_path):
        hub_cache(built("roberta"), tmp_path / "cache", "nlpai-lab/KoE5")
        encoder = load_encoder("nlpai-lab/KoE5", cache_folder=str(tmp_path / "cache"), local_files_only=True)
        again = load_encoder(encoder.save(tmp_path / "copy"))
        assert again.prompts == encoder.prompts == {"query": "query: ", "document": "passage: "}

    def test_links_of_the_cache_become_files(self, built, documents, tmp_path):
        hub_cache(built("dense"), tmp_path / "cache", "someone/model")
        encoder = load_encoder("someone/model", cache_folder=str(tmp_path / "cache"), local_files_only=True)
        target = encoder.save(tmp_path / "copy")
        shutil.rmtree(tmp_path / "cache")
        assert load_encoder(target).encode_queries(documents).shape == (len(documents), encoder.dim)

    def test_what_is_there_is_not_overwritten(self, built, tmp_path):
        with pytest.raises(InvalidArgumentError) as caught:
            load_encoder(built("dense")).save(tmp_path)
        assert_bilingual(caught.value, str(tmp_path))


class TestCopies:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_pickle_is_small_and_loads_again(self, built, documents, layout):
        encoder = load_encoder(built(layout), max_length=50)
        expected, fingerprint = encoder.encode_documents(documents), encoder.fingerprint
        data = pickle.dumps(encoder)
        assert len(data) < 20_000
        again = pickle.loads(data)  # noqa: S301 (our own)
        assert again._model is None
        assert_same(again.encode_documents(documents), expected, 0)
        assert (again.fingerprint, again.prompts, again.max_length) == (fingerprint, encoder.prompts, 50)
        assert repr(again) == repr(encoder)

    @pytest.mark.parametrize("layout", ["dense", "cross_encoder"])
    def test_a_pickle_of_another_version_says_so(self, built, layout):
        """It has no settings that this version reads from the model's files."""
        model = CrossEncoderReranker(built(layout)) if layout == "cross_encoder" else load_encoder(built(layout))
        state = model.__getstate__()
        vars(state["_checkpoint"]).popitem()
        with pytest.raises(CheckpointError) as caught:
            type(model).__new__(type(model)).__setstate__(state)
        assert_bilingual(caught.value, str(built(layout)))

    @pytest.mark.slow
    def test_a_pickle_works_in_another_process(self, built, tmp_path):
        (tmp_path / "encoder").write_bytes(pickle.dumps(load_encoder(built("dense"))))
        code = (
            f"import pickle; print(pickle.load(open({str(tmp_path / 'encoder')!r}, 'rb')).encode_queries(['가']).shape)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout.strip() == "(1, 32)"

    def test_copies_share_the_model(self, built, documents):
        encoder = load_encoder(built("pylate"))
        encoder.encode_queries(documents)
        for twin in (copy.copy(encoder), copy.deepcopy(encoder), copy.deepcopy({"in": [encoder]})["in"][0]):
            assert twin._model is encoder._model
            assert twin._shared is encoder._shared  # with its locks

    def test_weights_are_loaded_at_first_use(self, built, documents):
        encoder = load_encoder(built("dense"))
        assert encoder.fingerprint
        assert encoder._model is None
        encoder.encode_queries(documents)
        assert encoder._model is not None

    def test_repr_says_what_it_is(self, built):
        text = repr(load_encoder(built("matryoshka"), dim=8, dtype="bfloat16", device="cpu"))
        for part in ("LateInteractionEncoder", "matryoshka", "dim=8", "max_length=300", "[Q] ", "'bfloat16'", "'cpu'"):
            assert part in text


class TestFingerprint:
    def changed(self, left, right) -> set[str]:
        assert (str(left.fingerprint) == str(right.fingerprint)) == (left.fingerprint == right.fingerprint)
        return set(left.fingerprint.differences(right.fingerprint))

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"dim": 4}, "dim"),
            ({"query_prompt": "질의: "}, "query_prompt"),
            ({"document_prompt": ""}, "document_prompt"),
            ({"max_length": 100}, "document_length"),
        ],
    )
    def test_what_changes_vectors_changes_it(self, built, options, field):
        assert self.changed(load_encoder(built("matryoshka")), load_encoder(built("matryoshka"), **options)) == {field}

    @pytest.mark.parametrize(
        "options",
        [
            {"device": "cpu"},
            {"dtype": "float16"},
            {"batch_tokens": 7},
            {"trust_remote_code": True},
            {"local_files_only": True},
            {"token": "hf_x"},
            {"family": "late_interaction"},
        ],
    )
    def test_how_it_is_run_does_not(self, built, options):
        assert self.changed(load_encoder(built("pylate")), load_encoder(built("pylate"), **options)) == set()

    @pytest.mark.parametrize(
        ("layout", "name"),
        [
            ("dense", "model.safetensors"),
            ("splade", "model.safetensors"),
            ("pylate", "1_Dense/model.safetensors"),
            ("matryoshka_safetensors", "matryoshka_heads.safetensors"),
            ("lora", "adapter_model.safetensors"),
            ("lora", "../lora-base/model.safetensors"),
        ],
    )
    def test_other_weights_change_it(self, copied, layout, name):
        folder = copied(layout)
        options = {"adapter": folder} if layout == "lora" else {}
        main = lora_base(folder) if layout == "lora" else folder
        before = load_encoder(main, **options).fingerprint
        tensors = load_file(folder / name)
        first = sorted(tensors)[0]
        tensors[first] = tensors[first] + 1e-3
        save_file(tensors, folder / name, metadata={"format": "pt"})
        assert set(before.differences(load_encoder(main, **options).fingerprint)) == {"weights"}

    @pytest.mark.parametrize(
        ("layout", "name", "change"),
        [
            ("dense", "1_Pooling/config.json", {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}),
            ("pylate", "config_sentence_transformers.json", {"skiplist_words": []}),
            ("pylate", "config_sentence_transformers.json", {"attend_to_expansion_tokens": True}),
            ("dense", "sentence_bert_config.json", {"do_lower_case": True}),
        ],
    )
    def test_other_settings_change_it(self, copied, layout, name, change):
        folder = copied(layout)
        before = load_encoder(folder).fingerprint
        edit_json(folder / name, **change)
        assert set(before.differences(load_encoder(folder).fingerprint)) == {"weights"}

    def test_the_place_and_the_name_do_not(self, built, copied, tmp_path):
        for layout in LAYOUTS:
            encoder = load_encoder(built(layout))
            moved = shutil.copytree(copied(layout), tmp_path / f"moved {layout}")
            again = load_encoder(moved)
            assert self.changed(encoder, again) == set()
            assert encoder.fingerprint.model != again.fingerprint.model

    @pytest.mark.parametrize("layout", ["dense", "splade", "matryoshka", "residual", "lora"])
    def test_the_hub_s_copy_is_the_same_model(self, built, tmp_path, layout):
        hub_cache(built(layout), tmp_path, "someone/model")
        cached = load_encoder("someone/model", cache_folder=str(tmp_path), local_files_only=True)
        assert self.changed(cached, load_encoder(built(layout))) == set()

    def test_the_file_format_of_the_heads_does_not(self, built):
        assert self.changed(load_encoder(built("matryoshka")), load_encoder(built("matryoshka_safetensors"))) == set()

    def test_what_no_vector_depends_on_does_not(self, copied, documents):
        folder = copied("matryoshka")
        before, vectors = load_encoder(folder).fingerprint, load_encoder(folder).encode_documents(documents)
        (folder / "README.md").write_text("# 모델")
        (folder / "pytorch_model.bin").write_bytes(b"the same weights once more")
        (folder / "training_args.bin").write_bytes(b"a trainer's")
        (folder / "optimizer.pt").write_bytes(b"a trainer's")
        for other in ("checkpoint-500", "onnx", "openvino", ".cache"):
            (folder / other).mkdir()
            (folder / other / "model.safetensors").write_bytes(b"other")
            (folder / other / "openvino_model.bin").write_bytes(b"other")
        stale = folder / "1_Dense/model.safetensors"
        save_file({name: tensor + 1 for name, tensor in load_file(stale).items()}, stale)
        settings = json.loads((folder / "config.json").read_text())
        edit_json(
            folder / "config.json",
            transformers_version="9.9",
            _name_or_path="/somewhere",
            **{"dtype": settings["dtype"]},
        )
        again = load_encoder(folder)
        assert before.differences(again.fingerprint) == {}
        assert_same(again.encode_documents(documents), vectors, 0)

    def test_a_folder_that_is_gone_has_none(self, copied):
        encoder = load_encoder(copied("dense"))
        shutil.rmtree(encoder.model_name)
        for use in (lambda: encoder.fingerprint, lambda: encoder.encode_queries(["가"])):
            with pytest.raises(CheckpointNotFoundError):
                use()

    def test_it_goes_through_json(self, encoder):
        fingerprint = encoder.fingerprint
        fields = json.loads(json.dumps(fingerprint.to_dict()))
        again = type(fingerprint).from_dict(fields)
        assert again == fingerprint
        assert str(again) == str(fingerprint)
        assert len(str(fingerprint)) == 16

    def test_normalisation_is_told(self, built):
        assert load_encoder(built("dense")).fingerprint.normalized
        assert load_encoder(built("pylate")).fingerprint.normalized
        assert not load_encoder(built("roberta")).fingerprint.normalized
        assert not load_encoder(built("splade")).fingerprint.normalized


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=dict(os.environ)
    )
    return done.stdout


class TestImport:
    def test_importing_korag_loads_nothing_heavy(self):
        names = run("import sys, korag; print(*sys.modules)").split()
        heavy = {"torch", "transformers", "sentence_transformers", "numpy", "scipy", "huggingface_hub", "tqdm", "peft"}
        assert not heavy & set(names)

    def test_importing_korag_takes_little(self):
        code = "import time; t = time.perf_counter(); import korag; print(time.perf_counter() - t)"
        assert min(float(run(code)) for _ in range(3)) < 0.1

    def test_making_an_encoder_loads_no_torch(self, built):
        folder = str(built("matryoshka_safetensors"))
        names = run(f"import sys, korag; korag.load_encoder({folder!r}); print(*sys.modules)").split()
        assert not {"torch", "transformers", "sentence_transformers"} & set(names)

    def test_names_are_found_and_others_are_not(self):
        import korag

        assert set(korag.__all__) <= set(dir(korag))
        for name in ("load_encoder", "DenseEncoder", "SparseEncoder", "LateInteractionEncoder", "KoragError"):
            assert getattr(korag, name).__name__ == name
        with pytest.raises(AttributeError, match="no_such_name"):
            korag.no_such_name  # noqa: B018
