"""The rows of known models: what they say, and what they change for a checkpoint."""

from pathlib import Path

import pytest
from assertions import assert_same
from checkpoints import hub_cache

from korag import load_encoder
from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.preset_rows import BENCHMARKS, ROWS
from korag.checkpoints.presets import (
    DEFAULT_COLBERT,
    DEFAULT_CROSS_ENCODER,
    DEFAULT_DENSE,
    DEFAULT_SPLADE,
    PRESETS,
    Preset,
)

ROOT = Path(__file__).parents[2]
TEXTS = ["전세 보증금은 언제 돌려받나요?", "도서관은 월요일에 쉰다."]
E5 = ("query: ", "passage: ")
MARKS = ("[Q] ", "[D] ")
QWEN = ("Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:", "")
PROMPTS = {
    "nlpai-lab/KoE5": E5,
    "dragonkue/multilingual-e5-small-ko-v2": E5,
    "intfloat/multilingual-e5-small": E5,
    "intfloat/multilingual-e5-base": E5,
    "intfloat/multilingual-e5-large": E5,
    "intfloat/multilingual-e5-large-instruct": (QWEN[0] + " ", ""),  # with a space, which Qwen3 has not
    "dragonkue/snowflake-arctic-embed-l-v2.0-ko": ("query: ", ""),
    "telepix/PIXIE-Rune-v1.5": ("query: ", ""),
    "Qwen/Qwen3-Embedding-0.6B": QWEN,
    "Qwen/Qwen3-Embedding-4B": QWEN,
    "Qwen/Qwen3-Embedding-8B": QWEN,
    "dragonkue/colbert-ko-0.1b": MARKS,
    "mini-colbert": MARKS,
    "mini-dense": MARKS,
    "mini-splade": MARKS,
}
"""As the models' cards prescribe them, character by character."""


def by_name(preset: Preset) -> str:
    return preset.name


@pytest.fixture(params=ROWS, ids=by_name)
def row(request: pytest.FixtureRequest) -> Preset:
    return request.param


class TestRows:
    def test_no_model_is_there_twice(self):
        assert len(PRESETS) == len(ROWS)

    def test_the_source_is_the_model_s_own_card(self, row):
        place = row.source if row.name not in shipped_models() else Path(row.source).parent.as_posix()
        assert place.endswith("/" + row.name)
        assert "://" in row.source or (ROOT / row.source).exists()

    def test_figures_are_of_listed_benchmarks_and_fractions(self, row):
        for figure in row.figures:
            assert figure.benchmark in BENCHMARKS
            assert 0 < figure.value < 1
        assert len({figure.benchmark.mark for figure in row.figures}) == len(row.figures)

    def test_prompts_are_the_card_s_to_the_character(self, row):
        assert (row.query_prompt, row.document_prompt) == PROMPTS.get(row.name, ("", ""))

    def test_dimensions_ascend_to_the_vector_s(self, row):
        assert list(row.dims) == sorted(set(row.dims))
        assert not row.dims or row.dims[-1] == row.dim

    def test_a_cross_encoder_has_nothing_that_changes_an_encoder(self, row):
        if row.family == "cross_encoder":
            assert (row.dim, row.dims, row.query_prompt, row.document_prompt, row.query_length) == (
                None, (), "", "", None,
            )  # fmt: skip

    def test_only_known_licences_count_as_free(self, row):
        assert row.free == (row.licence in ("Apache-2.0", "MIT"))
        assert row.licence == "unknown" or row.free  # a restricted one needs a note and an entry in docs/models.md


def test_benchmarks_have_letters_of_their_own():
    assert len({benchmark.mark for benchmark in BENCHMARKS}) == len(BENCHMARKS)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (DEFAULT_COLBERT, "late_interaction"),
        (DEFAULT_DENSE, "dense"),
        (DEFAULT_SPLADE, "sparse"),
        (DEFAULT_CROSS_ENCODER, "cross_encoder"),
    ],
)
def test_the_defaults_are_rows_that_load_and_may_be_sold(name, family):
    assert PRESETS[name].family == family
    assert PRESETS[name].loads
    assert PRESETS[name].free


@pytest.mark.parametrize("name", shipped_models())
def test_rows_of_bundled_models_agree_with_their_files(name):
    encoder, row = load_encoder(name), PRESETS[name]
    assert (encoder.family, encoder.dim, encoder.max_length) == (row.family, row.dim, row.max_length)
    assert encoder.prompts == {"query": row.query_prompt, "document": row.document_prompt}


class TestPrompts:
    """The prompts of a row reach a checkpoint that has none, and no other."""

    @pytest.mark.parametrize("name", [row.name for row in ROWS if row.family == "dense" and "/" in row.name])
    def test_a_checkpoint_without_prompts_gets_those_of_its_row(self, built, tmp_path, name):
        hub_cache(built("roberta"), tmp_path, name)
        encoder = load_encoder(name, cache_folder=str(tmp_path), local_files_only=True)
        query, document = PROMPTS.get(name, ("", ""))
        assert encoder.prompts == {"query": query, "document": document}

    def test_they_are_put_before_the_text(self, built, tmp_path):
        hub_cache(built("roberta"), tmp_path, "Qwen/Qwen3-Embedding-0.6B")
        encoder = load_encoder("Qwen/Qwen3-Embedding-0.6B", cache_folder=str(tmp_path), local_files_only=True)
        plain = load_encoder(built("roberta"))
        prompted = plain.encode_queries([QWEN[0] + text for text in TEXTS])
        assert_same(encoder.encode_queries(TEXTS), prompted)
        assert_same(encoder.encode_documents(TEXTS), plain.encode_documents(TEXTS))

    def test_a_checkpoint_s_own_come_first(self, built, tmp_path):
        hub_cache(built("dense"), tmp_path, "Qwen/Qwen3-Embedding-0.6B")
        encoder = load_encoder("Qwen/Qwen3-Embedding-0.6B", cache_folder=str(tmp_path), local_files_only=True)
        assert encoder.prompts == {"query": "query: ", "document": "passage: "}

    def test_the_caller_s_come_before_both(self, built, tmp_path):
        hub_cache(built("roberta"), tmp_path, "intfloat/multilingual-e5-base")
        encoder = load_encoder(
            "intfloat/multilingual-e5-base", query_prompt="", document_prompt="", cache_folder=str(tmp_path),
            local_files_only=True,
        )  # fmt: skip
        assert encoder.prompts == {"query": "", "document": ""}

    @pytest.mark.parametrize("name", [row.name for row in ROWS if row.family == "cross_encoder"])
    def test_a_cross_encoder_s_row_changes_no_encoder(self, built, tmp_path, name):
        hub_cache(built("dense"), tmp_path, name)
        encoder, same = (
            load_encoder(name, cache_folder=str(tmp_path), local_files_only=True),
            load_encoder(built("dense")),
        )
        assert (encoder.prompts, encoder.dim, encoder.max_length) == (same.prompts, same.dim, same.max_length)
