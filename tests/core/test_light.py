"""Light models: plain checkpoints run without sentence-transformers, with the same vectors."""

import json
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from assertions import dense_rows
from checkpoints import edit_json

from korag import load_encoder
from korag.encoders.light.layout import read_layout
from korag.encoders.light.tokenizer import Tokenizer
from korag.errors import CheckpointError

ROOT = Path(__file__).parents[2]
WORDS = [
    "계약이",
    "끝나면",
    "집주인은",
    "보증금을",
    "돌려주어야",
    "하고,",
    "연차",
    "휴가는",
    "사흘",
    "전까지",
    "(제6조의2)",
]
TEXTS = [
    "", " ", "김", "\n탭\t과 줄바꿈 ", "GPU [MASK] [SEP] 𠀀 😀 ㅋㅋ", unicodedata.normalize("NFD", "한글 자모 김"),
    *(
        " ".join(WORDS[(start + step) % len(WORDS)] for step in range(size))
        for start, size in enumerate([1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 400, 4_000])
    ),
]  # fmt: skip
"""Up to more tokens than any model reads; some in the same batch, some alone."""
CASES = [
    ("mini-dense", {}),
    ("mini-dense", {"dim": 64, "max_length": 90, "query_length": 5}),
    ("mini-splade", {}),
    ("mini-colbert", {}),
    ("mini-colbert", {"dim": 32, "query_length": 200, "max_length": 700}),
    ("mini-colbert", {"dtype": "bfloat16"}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_vectors_and_tokens_equal_those_of_sentence_transformers(name, settings, caplog):
    settings = {"device": "cpu", "dtype": "float32"} | settings
    tolerance = 1e-5 if settings["dtype"] == "float32" else 0.02  # a step of 16 bits
    light = load_encoder(name, **settings)
    other = load_encoder(name, backend="sentence-transformers", **settings)
    assert light.is_light is None
    for task in ("encode_documents", "encode_queries"):
        caplog.clear()
        found, expected = (dense_rows(getattr(encoder, task)(TEXTS)) for encoder in (light, other))
        assert [row.shape for row in found] == [row.shape for row in expected]
        for row, same in zip(found, expected, strict=True):
            np.testing.assert_allclose(row, same, rtol=0, atol=tolerance)
        messages = [record.getMessage() for record in caplog.records if record.name == "korag"]
        assert messages[: len(messages) // 2] == messages[len(messages) // 2 :]  # of what is empty, and what is cut
        assert any("truncated" in message for message in messages)
    assert (light.is_light, other.is_light) == (True, False)
    assert "backend='torch (light)'" in repr(light)
    assert light.count_tokens(TEXTS) == other.count_tokens(TEXTS)
    assert light.token_ids(TEXTS[4]) == other.token_ids(TEXTS[4])
    assert light.token_texts(range(0, 12_288, 7)) == other.token_texts(range(0, 12_288, 7))
    assert light.fingerprint == other.fingerprint


@pytest.mark.parametrize("expands", [False, True])
@pytest.mark.parametrize("form", ["PyLate", "sentence-transformers"])
def test_queries_with_and_without_mask_tokens(form, expands, tmp_path):
    folder = load_encoder("mini-colbert").save(tmp_path / "colbert")
    edit_json(folder / "config_sentence_transformers.json", do_query_expansion=expands, query_length=24)
    if form != "PyLate":
        copy = load_encoder(folder, device="cpu", dtype="float32").load_copy()
        copy.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        folder = tmp_path / "saved"
    light, other = (
        load_encoder(folder, device="cpu", dtype="float32", backend=backend)
        for backend in ("torch", "sentence-transformers")
    )
    found, expected = light.encode_queries(TEXTS), other.encode_queries(TEXTS)
    assert light.is_light
    assert ({len(vectors) for vectors in found} == {24}) == expands
    for row, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(row, same, rtol=0, atol=1e-5)
    assert light.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", ["mini-dense", "mini-splade", "mini-colbert"])
def test_a_text_is_tokenized_once(name, monkeypatch):
    encoder = load_encoder(name, device="cpu", dtype="float32")
    encoder.load()
    seen = []
    tokenize = Tokenizer.__call__

    def count(self, text, **settings):
        seen.extend([text] if isinstance(text, str) else text)
        return tokenize(self, text, **settings)

    monkeypatch.setattr(Tokenizer, "__call__", count)
    texts = [f"{place}번 {text}" for place, text in enumerate(TEXTS[:9])]  # what is cut is looked at again
    encoder.encode_documents(texts)
    assert len(seen) == len(texts)
    encoder.encode_queries(texts)
    assert len(seen) == 2 * len(texts)
    list(encoder.stream_documents(texts, block=4))
    assert len(seen) == 3 * len(texts)


def test_one_text_at_a_time_has_the_same_vectors(colbert):
    whole = colbert.encode_documents(TEXTS)
    for text, expected in zip(TEXTS, whole, strict=True):
        np.testing.assert_allclose(colbert.encode_documents([text])[0], expected, rtol=0, atol=1e-5)


def _edit(name, **changes):
    return lambda folder: edit_json(folder / name, **changes)


UNKNOWN = {
    "another activation": _edit("config.json", hidden_activation="silu"),
    "a bias": _edit("config.json", attention_bias=True),
    "a setting of later versions": _edit("config.json", soft_capping=30.0),
    "a rotation of another kind": _edit("config.json", rope_parameters={"full_attention": {"rope_type": "yarn"}}),
    "a rotation without its base": _edit(
        "config.json",
        rope_parameters={kind: {"rope_type": "default"} for kind in ("full_attention", "sliding_attention")},
    ),
    "one rotation for two kinds of layers": _edit(
        "config.json", rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 10_000.0}}
    ),
    "layers that do not add up": _edit("config.json", num_hidden_layers=2),
    "another architecture": _edit("config.json", model_type="bert"),
    "a pooling of another kind": _edit("1_Pooling/config.json", pooling_mode_cls_token=True),
    "a mean without the prompt": _edit("1_Pooling/config.json", include_prompt=False),
    "no settings of the pooling": lambda folder: (folder / "1_Pooling" / "config.json").write_text("{}"),
    "lower case": _edit("sentence_bert_config.json", do_lower_case=True),
    "a tokenizer of another class": _edit("tokenizer_config.json", tokenizer_class="BertTokenizerFast"),
    "more tokens": lambda folder: (folder / "added_tokens.json").write_text("{}"),
    "a chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
    "weights in parts": lambda folder: shutil.copy(folder / "model.safetensors", folder / "model-2.safetensors"),
    "another module": lambda folder: (folder / "modules.json").write_text(
        json.dumps([*json.loads((folder / "modules.json").read_text()), {
            "idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense",
        }])
    ),
}  # fmt: skip


@pytest.fixture
def copied(tmp_path):
    return load_encoder("mini-dense").save(tmp_path / "copy")


def test_a_copy_under_any_name_is_light(copied):
    encoder = load_encoder(copied, device="cpu")
    encoder.load()
    assert encoder.is_light


@pytest.mark.parametrize("change", UNKNOWN.values(), ids=UNKNOWN)
def test_whatever_is_not_known_is_left_to_sentence_transformers(copied, change):
    checkpoint = load_encoder(copied).checkpoint
    assert read_layout(checkpoint, copied) is not None
    change(copied)
    assert read_layout(checkpoint, copied) is None


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bundled models as sentence-transformers saves them, and training with it."""
    root = tmp_path_factory.mktemp("saved")
    for name in ("mini-dense", "mini-splade", "mini-colbert"):
        copy = load_encoder(name, device="cpu", dtype="float32").load_copy()
        copy.save_pretrained(str(root / name), create_model_card=False)
    return root


@pytest.mark.parametrize("name", ["mini-dense", "mini-splade", "mini-colbert"])
def test_a_model_saved_by_sentence_transformers_is_light(name, saved):
    light, other = (
        load_encoder(saved / name, device="cpu", dtype="float32", backend=backend)
        for backend in ("torch", "sentence-transformers")
    )
    for task in ("encode_documents", "encode_queries"):
        found, expected = (dense_rows(getattr(encoder, task)(TEXTS)) for encoder in (light, other))
        for row, same in zip(found, expected, strict=True):
            np.testing.assert_allclose(row, same, rtol=0, atol=1e-5)
    assert (light.is_light, other.is_light) == (True, False)
    assert light.count_tokens(TEXTS) == other.count_tokens(TEXTS)
    assert light.fingerprint == other.fingerprint


UNKNOWN_SAVED = {
    "a pooling of another kind": ("mini-dense", _edit("1_Pooling/config.json", pooling_mode="cls")),
    "vectors of another name": ("mini-dense", _edit("2_Normalize/config.json", module_input_name="token_embeddings")),
    "another task": ("mini-dense", _edit("sentence_bert_config.json", transformer_task="text-generation")),
    "lower case": ("mini-dense", _edit("sentence_bert_config.json", do_lower_case=True)),
    "another output": (
        "mini-splade",
        _edit("sentence_bert_config.json", modality_config={"text": {"method": "forward", "method_output_name": "x"}}),
    ),
    "queries that see what fills them up": (
        "mini-colbert",
        _edit("sentence_bert_config.json", query_expansion={"strategy": "fixed", "attend": True, "length": 32}),
    ),
    "an expansion that is a word": ("mini-colbert", _edit("sentence_bert_config.json", query_expansion="fixed")),
    "an expansion to one length of two": (
        "mini-colbert",
        _edit("sentence_bert_config.json", query_expansion={"strategy": "fixed", "length": 32}, query_length=24),
    ),
    "skipped words of queries": (
        "mini-colbert",
        _edit("2_MultiVectorMask/config.json", skiplist_tasks=["query", "document"]),
    ),
    "only some tokens": ("mini-colbert", _edit("2_MultiVectorMask/config.json", keep_only_token_ids=[7])),
}


@pytest.mark.parametrize(("name", "change"), UNKNOWN_SAVED.values(), ids=UNKNOWN_SAVED)
def test_what_is_not_known_of_a_saved_model_is_left_to_sentence_transformers(saved, tmp_path, name, change):
    folder = shutil.copytree(saved / name, tmp_path / name)
    checkpoint = load_encoder(folder).checkpoint
    assert read_layout(checkpoint, folder) is not None
    change(folder)
    assert read_layout(checkpoint, folder) is None


@pytest.mark.parametrize("missing", ["bias", "activation_function", "in_features", "out_features"])
def test_a_projection_that_does_not_say_all_is_not_known(tmp_path, missing):
    """sentence-transformers takes tanh and a bias where nothing is said."""
    folder = load_encoder("mini-colbert").save(tmp_path / "copy")
    checkpoint = load_encoder(folder).checkpoint
    assert read_layout(checkpoint, folder) is not None
    path = folder / "1_Dense" / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings[missing]
    path.write_text(json.dumps(settings))
    assert read_layout(checkpoint, folder) is None


def test_a_damaged_projection_is_an_error_with_heads_too(tmp_path):
    folder = load_encoder("mini-colbert").save(tmp_path / "copy")
    (folder / "1_Dense" / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError):
        load_encoder(folder, device="cpu").load()


@pytest.mark.parametrize("part", ["truncation", "padding"])
def test_sides_in_the_tokenizer_file_are_kept(copied, part):
    path = copied / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["truncation"] = {"direction": "Left", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
    settings["padding"] = {
        "direction": "Left", "strategy": "BatchLongest", "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        "pad_to_multiple_of": None,
    }  # fmt: skip
    settings["padding" if part == "truncation" else "truncation"] = None
    path.write_text(json.dumps(settings), encoding="utf-8")
    text = "보증금을 돌려받는 절차. " * 200 + "도서관은 월요일에 쉰다. " * 200
    found = [
        load_encoder(copied, device="cpu", dtype="float32", backend=backend).encode_documents([text])
        for backend in ("torch", "sentence-transformers")
    ]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)


def test_other_sizes_of_the_architecture(copied):
    edit_json(
        copied / "config.json", num_attention_heads=6, local_attention=7, norm_eps=1e-3,
        layer_types=["sliding_attention"] * 3,
    )  # fmt: skip
    light, other = (
        load_encoder(copied, device="cpu", dtype="float32", backend=backend)
        for backend in ("torch", "sentence-transformers")
    )
    np.testing.assert_allclose(light.encode_documents(TEXTS), other.encode_documents(TEXTS), rtol=0, atol=1e-5)
    assert light.is_light


def test_a_model_that_is_left_to_sentence_transformers_works(copied):
    edit_json(copied / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    encoder = load_encoder(copied, device="cpu")
    vectors = encoder.encode_queries(["집주인이 전세금을 안 줘요"])
    assert encoder.is_light is False
    assert not np.allclose(vectors, load_encoder("mini-dense").encode_queries(["집주인이 전세금을 안 줘요"]), atol=0.01)


def test_the_first_answer_needs_no_model_library():
    """The example at the top of the README, and a search with the other two models: importing these takes seconds."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
{example}
from korag import Collection
with Collection.in_memory(encoders=["mini-dense", "mini-splade"], bm25=True) as collection:
    collection.add(["환불은 받은 날부터 이레 안에 신청한다.", "도서관은 월요일에 쉰다."])
    print(collection.search("환불 기한", k=1, using="hybrid")[0].text)
heavy = ("sentence_transformers", "transformers", "sklearn", "pandas", "datasets", "torch._dynamo", "sympy")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["환불은 받은 날부터 이레 안에 신청한다.", "[]"]
