"""BGE-M3: one folder, three families, one backbone. `tests/layouts/bge_m3.py` compares the vectors."""

import gc
import json
import pickle
import shutil
import weakref
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from assertions import assert_bilingual
from checkpoints import HIDDEN, Touch, edit_json, hub_cache
from layouts.bge_m3 import TOKEN_DIM, Reference, bge_m3, write_heads

from korag import Collection, load_encoder
from korag.errors import (
    CheckpointError,
    InvalidArgumentError,
    MissingHeadsError,
    UnknownFamilyError,
    WrongFamilyError,
)
from korag.explain import explain_matches, explain_terms

FAMILIES = ("dense", "sparse", "late_interaction")
QUERY = "전세 보증금은 언제 돌려받나요?"
TEXTS = ["보증금은 집을 비운 날에 돌려받는다.", "도서관은 월요일에 쉰다.", "GPU 서버 점검은 새벽에 한다."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bge_m3(tmp_path / "m3")
    return tmp_path / "m3"


def array(vectors: Any) -> np.ndarray:
    if isinstance(vectors, list):
        return np.concatenate(vectors)
    return vectors if isinstance(vectors, np.ndarray) else vectors.toarray()


def parameters(*models: Any) -> dict[int, int]:
    return {id(parameter): parameter.numel() for model in models for parameter in model.parameters()}


class TestFamilies:
    def test_what_they_are(self, folder):
        dense, sparse, late = (load_encoder(folder, family=family) for family in FAMILIES)
        vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
        assert (dense.dim, sparse.dim, late.dim) == (HIDDEN, vocabulary, TOKEN_DIM)
        assert [encoder.family for encoder in (dense, sparse, late)] == list(FAMILIES)
        assert (dense.similarity, sparse.similarity, late.similarity) == ("cosine", "dot", "cosine")
        assert [encoder.fingerprint.normalized for encoder in (dense, sparse, late)] == [True, False, True]
        assert np.allclose(np.linalg.norm(array(late.encode_documents(TEXTS)), axis=1), 1, atol=1e-6)
        assert late.dims == (TOKEN_DIM,)

    def test_without_a_family(self, folder):
        with pytest.raises(UnknownFamilyError) as error:
            load_encoder(folder)
        assert_bilingual(error.value)
        for part in (*FAMILIES, "load_encoder", "family="):
            assert all(part in message for message in error.value.args[:2])

    @pytest.mark.parametrize("missing", ["sparse_linear.pt", "colbert_linear.pt"])
    def test_one_head(self, folder, missing):
        (folder / missing).unlink()
        absent = "sparse" if missing.startswith("sparse") else "late_interaction"
        with pytest.raises(UnknownFamilyError, match="family='dense'") as error:
            load_encoder(folder)
        assert f"family='{absent}'" not in str(error.value)
        with pytest.raises(WrongFamilyError):
            load_encoder(folder, family=absent)

    def test_no_heads(self, folder):
        for head in folder.glob("*.pt"):
            head.unlink()
        assert load_encoder(folder).family == "dense"

    def test_a_bare_backbone_with_heads(self, folder):
        """As FlagEmbedding's trainer saves it, without sentence-transformers' files."""
        reference = Reference(folder)
        expected = reference.sparse(QUERY), reference.late_interaction(QUERY)
        for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
            (folder / name).unlink(missing_ok=True)
        with pytest.raises(UnknownFamilyError, match="family='sparse'"):
            load_encoder(folder)
        sparse, late = load_encoder(folder, family="sparse"), load_encoder(folder, family="late_interaction")
        assert np.allclose(array(sparse.encode_queries([QUERY]))[0], expected[0], atol=1e-5)
        assert np.allclose(late.encode_queries([QUERY])[0], expected[1], atol=1e-5)

    def test_heads_beside_other_models_mean_nothing(self, built, tmp_path):
        for layout in ("splade", "pylate"):
            place = shutil.copytree(built(layout), tmp_path / layout)
            write_heads(place)
            assert load_encoder(place).fingerprint == load_encoder(built(layout)).fingerprint

    def test_special_tokens_have_no_weight(self, folder):
        sparse = load_encoder(folder, family="sparse")
        tokenizer = sparse.load().tokenizer
        special = [tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id]
        weights = array(sparse.encode_documents(["가", *TEXTS, "𓀀 𓀁"]))
        assert weights.any()
        assert not weights[:, special].any()

    def test_batches_change_nothing(self, folder):
        long = "보증금은 집을 비운 날에 돌려받는다. " * 5
        for family in FAMILIES:
            encoder = load_encoder(folder, family=family)
            alone = [array(encoder.encode_documents([text])) for text in (*TEXTS, long)]
            together = encoder.encode_documents([*TEXTS, long])
            rows = together if family == "late_interaction" else [row[None] for row in array(together)]
            assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(alone, rows, strict=True))

    def test_lengths(self, folder):
        """Queries and documents are cut where they should be, although all families share a tokenizer."""
        text = " ".join(["보증금"] * 40)
        reference = Reference(folder, max_length=16)
        for family in FAMILIES:
            encoder = load_encoder(folder, family=family, max_length=16)
            expected = getattr(reference, family)(text)
            (found,) = (
                encoder.encode_documents([text]) if family != "sparse" else array(encoder.encode_documents([text]))
            )
            assert np.allclose(found, expected, atol=1e-5)

    def test_prompts(self, folder):
        for family in ("sparse", "late_interaction"):
            encoder = load_encoder(folder, family=family, query_prompt="질의: ")
            plain = load_encoder(folder, family=family)
            expected = array(plain.encode_queries(["질의: " + QUERY]))
            assert np.allclose(array(encoder.encode_queries([QUERY])), expected, atol=1e-6)

    def test_explanations(self, folder):
        sparse, late = load_encoder(folder, family="sparse"), load_encoder(folder, family="late_interaction")
        assert explain_terms(sparse, QUERY)
        ids, vectors = late.encode_tokens(QUERY, "query")
        assert len(ids) == len(vectors)
        assert late.load().tokenizer.cls_token_id not in ids
        assert explain_matches(late, QUERY, TEXTS[0])


class TestOneBackbone:
    @pytest.mark.parametrize("settings", [{}, {"max_length": 20}, {"query_length": 12}, {"dtype": "bfloat16"}], ids=str)
    @pytest.mark.parametrize("order", [FAMILIES, FAMILIES[::-1]], ids=lambda order: order[0])
    def test_in_memory_once(self, folder, order, settings):
        encoders = {family: load_encoder(folder, family=family, device="cpu", **settings) for family in order}
        models = {family: encoder.load() for family, encoder in encoders.items()}
        assert len({id(model[0]) for model in models.values()}) == 1
        alone = parameters(models["dense"])
        both_heads = (HIDDEN + 1) + (HIDDEN + 1) * TOKEN_DIM
        assert sum(parameters(*models.values()).values()) == sum(alone.values()) + both_heads

    def test_the_dense_model_may_go_first(self, folder):
        dense, sparse = load_encoder(folder, family="dense"), load_encoder(folder, family="sparse")
        expected = array(sparse.encode_queries([QUERY]))
        dense.load()
        dense.unload()
        assert np.array_equal(array(sparse.encode_queries([QUERY])), expected)
        assert dense.load()[0] is sparse.load()[0]

    @pytest.mark.parametrize("family", FAMILIES[1:])
    def test_its_tokenizer_is_locked_while_a_head_is_loaded(self, folder, family, monkeypatch):
        shared = load_encoder(folder, family="dense", dtype="float32").shared()
        transformer, locked = shared.model[0], []
        preprocess = transformer.preprocess

        def note(*args: Any, **kwargs: Any) -> Any:
            if free := shared.tokenizer_lock.acquire(blocking=False):
                shared.tokenizer_lock.release()
            locked.append(not free)
            return preprocess(*args, **kwargs)

        monkeypatch.setattr(transformer, "preprocess", note)
        load_encoder(folder, family=family, dtype="float32").load()
        assert locked
        assert all(locked)

    def test_the_backbone_goes_with_the_last(self, folder):
        encoders = [load_encoder(folder, family=family) for family in FAMILIES]
        backbone = weakref.ref(encoders[0].load()[0])
        assert all(encoder.load()[0] is backbone() for encoder in encoders)
        for encoder in encoders[:-1]:
            encoder.unload()
            assert backbone() is not None
        encoders[-1].unload()
        assert backbone() is None
        del encoders
        gc.collect()

    def test_heads_downloaded_after_the_dense_model(self, folder, tmp_path):
        heads = tmp_path / "heads"
        heads.mkdir()
        for head in folder.glob("*.pt"):
            shutil.move(head, heads / head.name)
        dense = load_encoder(folder)
        model = dense.load()
        for head in heads.iterdir():
            shutil.move(head, folder / head.name)
        assert load_encoder(folder, family="sparse").load()[0] is model[0]

    def test_another_head_is_another_model(self, folder):
        old = load_encoder(folder, family="sparse")
        before, fingerprint = array(old.encode_queries([QUERY])), old.fingerprint
        head = torch.load(folder / "sparse_linear.pt", weights_only=True)
        torch.save({name: tensor * 2 for name, tensor in head.items()}, folder / "sparse_linear.pt")
        new = load_encoder(folder, family="sparse")
        assert np.allclose(array(new.encode_queries([QUERY])), 2 * before, atol=1e-4)
        assert new.fingerprint != fingerprint
        assert new.load()[0] is old.load()[0]

    @pytest.mark.parametrize("backend", ["onnx"])
    def test_backends(self, folder, backend):
        for family in ("sparse", "late_interaction"):
            torch_vectors = array(load_encoder(folder, family=family, dtype="float32").encode_documents(TEXTS))
            encoder = load_encoder(folder, family=family, backend=backend)
            assert np.allclose(array(encoder.encode_documents(TEXTS)), torch_vectors, atol=1e-4)
            assert encoder.deviation.least > 0.9999

    def test_half_precision_is_measured_for_each_family(self, folder):
        deviations = {}
        for family in FAMILIES:
            encoder = load_encoder(folder, family=family, dtype="bfloat16", device="cpu")
            encoder.load()
            assert encoder.dtype == "bfloat16"
            deviations[family] = encoder.deviation.mean
        assert all(0.9 < mean < 1 for mean in deviations.values())
        assert len(set(deviations.values())) == 3


class TestStored:
    def test_the_dense_fingerprint_does_not_know_of_heads(self, folder):
        with_heads = load_encoder(folder, family="dense").fingerprint
        for head in folder.glob("*.pt"):
            head.unlink()
        assert load_encoder(folder).fingerprint == with_heads

    def test_each_head_has_a_fingerprint(self, folder):
        before = {family: str(load_encoder(folder, family=family).fingerprint) for family in FAMILIES}
        (folder / "colbert_linear.pt").write_bytes((folder / "colbert_linear.pt").read_bytes() + b" ")
        after = {family: str(load_encoder(folder, family=family).fingerprint) for family in FAMILIES}
        assert len(set(before.values())) == 3
        assert [family for family in FAMILIES if before[family] != after[family]] == ["late_interaction"]

    @pytest.mark.parametrize("family", FAMILIES)
    def test_pickles_saved_folders_and_load_arguments(self, family, folder, tmp_path):
        encoder = load_encoder(folder, family=family)
        expected = array(encoder.encode_queries([QUERY]))
        copies = [
            pickle.loads(pickle.dumps(encoder)),  # noqa: S301 (our own bytes)
            load_encoder(**json.loads(json.dumps(encoder.load_arguments))),
            load_encoder(encoder.save(tmp_path / "saved"), family=family),
        ]
        for copy in copies:
            assert copy.fingerprint == encoder.fingerprint
            assert np.array_equal(array(copy.encode_queries([QUERY])), expected)

    def test_a_collection_of_all_three(self, folder, tmp_path):
        encoders = [load_encoder(folder, family=family) for family in FAMILIES]
        with_all = Collection.open(tmp_path / "collection", encoders=encoders)
        with_all.add(TEXTS)
        hits = [hit.text for hit in with_all.search(QUERY)]
        again = Collection.open(tmp_path / "collection", load_stored_models=True)
        assert set(again.legs) == {"dense", "sparse", "colbert"}
        assert [hit.text for hit in again.search(QUERY)] == hits
        assert len({id(encoder.load()[0]) for encoder in again.encoders.values()}) == 1

    def test_a_collection_needs_to_know_the_family(self, folder):
        with pytest.raises(UnknownFamilyError, match="load_encoder"):
            Collection.in_memory(encoders=[folder])

    def test_processes(self, folder):
        encoder = load_encoder(folder, family="sparse", batch_tokens=16, dtype="float32")
        expected = array(encoder.encode_documents(TEXTS))
        with encoder.processes(["cpu"]):
            assert np.allclose(array(encoder.encode_documents(TEXTS)), expected, atol=1e-5)

    def test_from_the_hub_cache(self, folder, tmp_path):
        hub_cache(folder, tmp_path / "hub", "someone/m3")
        for family in FAMILIES:
            found = load_encoder("someone/m3", family=family, cache_folder=str(tmp_path / "hub"))
            local = load_encoder(folder, family=family)
            assert found.fingerprint == local.fingerprint
            assert np.array_equal(array(found.encode_queries([QUERY])), array(local.encode_queries([QUERY])))
        with pytest.raises(UnknownFamilyError):
            load_encoder("someone/m3", cache_folder=str(tmp_path / "hub"))

    @pytest.mark.parametrize(
        ("family", "heads"),
        [
            ("dense", set()),
            ("sparse", {"sparse_linear.pt"}),
            ("late_interaction", {"colbert_linear.pt"}),
            (None, {"sparse_linear.pt", "colbert_linear.pt"}),
        ],
    )
    def test_only_heads_that_are_needed_are_downloaded(self, family, heads, folder, tmp_path, monkeypatch):
        import huggingface_hub

        hub_cache(folder, tmp_path / "hub", "someone/m3")
        original, seen = huggingface_hub.snapshot_download, []

        def watched(*arguments: Any, **keywords: Any) -> str:
            seen.append({pattern for pattern in keywords["allow_patterns"] if "linear" in pattern})
            assert "*.pt" not in keywords["allow_patterns"]
            return original(*arguments, **keywords)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", watched)
        cache = str(tmp_path / "hub")
        if family is None:
            with pytest.raises(UnknownFamilyError):
                load_encoder("someone/m3", cache_folder=cache)
        else:
            load_encoder("someone/m3", family=family, cache_folder=cache).load()
        assert seen
        assert all(each == heads for each in seen)


class TestMistakes:
    @pytest.mark.parametrize(
        "write",
        [
            lambda path: path.write_bytes(b"not a head"),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(path.read_bytes()[:-400]),
            lambda path: torch.save(torch.zeros(3), path),
            lambda path: torch.save({"weight": torch.zeros(1, HIDDEN)}, path),
            lambda path: torch.save({"weight": torch.zeros(HIDDEN), "bias": torch.zeros(1)}, path),
            lambda path: torch.save({"weight": torch.zeros(1, HIDDEN), "bias": "0"}, path),
            lambda path: torch.save({"weight": torch.full((1, HIDDEN), torch.nan), "bias": torch.zeros(1)}, path),
            lambda path: torch.save({"weight": torch.zeros(2, HIDDEN), "bias": torch.zeros(2)}, path),
            lambda path: torch.save({"weight": torch.zeros(1, HIDDEN), "bias": torch.zeros(1), "x": 1}, path),
            lambda path: torch.save({"weight": torch.zeros(1, HIDDEN + 1), "bias": torch.zeros(1)}, path),
        ],
    )
    def test_a_head_that_is_none(self, write, folder):
        write(folder / "sparse_linear.pt")
        with pytest.raises(MissingHeadsError, match="sparse_linear") as error:
            load_encoder(folder, family="sparse")
        assert_bilingual(error.value)
        assert "weights_only" not in str(error.value)  # torch advises to switch it off
        assert load_encoder(folder, family="dense").encode_queries([QUERY]).shape == (1, HIDDEN)

    def test_a_special_token_beyond_the_vocabulary(self, folder):
        edit_json(folder / "tokenizer_config.json", **{"unk_token": "[새 토큰]"})
        encoder = load_encoder(folder, family="sparse")
        assert encoder.encode_queries([QUERY]).nnz

    def test_a_head_that_runs_code(self, folder, tmp_path):
        (folder / "sparse_linear.pt").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
        with pytest.raises(MissingHeadsError):
            load_encoder(folder, family="sparse")
        torch.save({"weight": Touch(tmp_path / "ran"), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
        with pytest.raises(MissingHeadsError):
            load_encoder(folder, family="sparse")
        assert not (tmp_path / "ran").exists()

    def test_a_head_with_more_numbers_than_its_file(self, folder):
        """A kilobyte on the disk, gigabytes in memory."""
        weight, bias = torch.zeros(1).expand(2**23, HIDDEN), torch.zeros(1).expand(2**23)
        torch.save({"weight": weight, "bias": bias}, folder / "colbert_linear.pt")
        with pytest.raises(MissingHeadsError, match="bytes in a file of") as error:
            load_encoder(folder, family="late_interaction")
        assert_bilingual(error.value)

    def test_a_compressed_head(self, folder):
        """It could grow a thousandfold."""
        with zipfile.ZipFile(folder / "sparse_linear.pt") as file:
            entries = {entry.filename: file.read(entry) for entry in file.infolist()}
        with zipfile.ZipFile(folder / "sparse_linear.pt", "w") as file:
            for entry, content in entries.items():
                file.writestr(entry, content, zipfile.ZIP_DEFLATED if entry.endswith(".pkl") else None)
        with pytest.raises(MissingHeadsError, match="compressed") as error:
            load_encoder(folder, family="sparse")
        assert_bilingual(error.value)

    def test_a_head_outside_the_folder(self, folder, tmp_path):
        (folder / "sparse_linear.pt").rename(tmp_path / "elsewhere.pt")
        (folder / "sparse_linear.pt").symlink_to(tmp_path / "elsewhere.pt")
        with pytest.raises(CheckpointError, match="link"):
            load_encoder(folder, family="sparse")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        for family in FAMILIES:
            with pytest.raises(CheckpointError, match=r"model\.safetensors"):
                load_encoder(folder, family=family)

    def test_training(self, folder, tmp_path):
        with pytest.raises(InvalidArgumentError, match="fine-tune") as error:
            load_encoder(folder, family="sparse").load_copy()
        assert_bilingual(error.value)
