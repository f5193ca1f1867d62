"""Late-interaction models that merge the vectors of similar tokens (`HierarchicalTokenPooling`)."""

import numpy as np
import pytest
from assertions import assert_bilingual
from checkpoints import edit_json, native, token_pooling
from safetensors.torch import load_file, save_file

from korag import Collection, Reranker, load_encoder
from korag.errors import CheckpointError, InvalidArgumentError
from korag.explain import SEPARATOR, explain_matches
from korag.scoring import maxsim

QUERY = "전세 보증금은 언제 돌려받나요?"
DOCUMENTS = [
    "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다. 보증금을 받지 못하면 임차권등기를 한다.",
    "시립 도서관은 매주 월요일과 공휴일에 문을 닫는다.",
    "가",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Without pooling, and with: of documents, of both, and of none because the factor is 1."""
    place = tmp_path_factory.mktemp("pooling")
    native(place / "plain")
    token_pooling(place / "documents")
    token_pooling(place / "both", pool_factor=3.0, tasks=["query", "document"], num_protected_tokens=0)
    token_pooling(place / "raw", pool_factor=2.0, normalize_embeddings=False)
    token_pooling(place / "one", pool_factor=1.0)
    return place


def load(folder):
    return load_encoder(folder, dtype="float32")


def texts(encoder, groups):
    return [SEPARATOR.join(encoder.token_texts(ids)) for ids in groups]


@pytest.mark.parametrize(
    ("name", "task"),
    [("documents", "document"), ("both", "document"), ("both", "query"), ("raw", "document"), ("one", "document")],
)
def test_every_vector_is_the_mean_of_its_tokens(folders, name, task):
    encoder, plain = load(folders / name), load(folders / "plain")
    for text in (*DOCUMENTS, QUERY):
        groups, vectors = encoder.encode_token_groups(text, task)
        ids, states = plain.encode_tokens(text, task)
        assert sorted(token for group in groups for token in group) == sorted(ids)
        encode = encoder.encode_queries if task == "query" else encoder.encode_documents
        np.testing.assert_allclose(vectors, encode([text])[0], atol=1e-6)
        # the tokens of a text may repeat, so which of two equal ones it is shows in the vectors alone
        remaining = list(range(len(ids)))
        for group, vector in zip(groups, vectors, strict=True):
            means = [
                rows for rows in _choices(group, ids, remaining)
                if np.allclose(_mean(states[rows], unit=name != "raw"), vector, atol=1e-4)
            ]  # fmt: skip
            assert means
            remaining = [row for row in remaining if row not in means[0]]


def _mean(rows, *, unit):
    mean = rows.mean(axis=0)
    return mean / np.linalg.norm(mean) if unit else mean


def _choices(group, ids, remaining):
    """All rows that may be the tokens of a group, in order."""
    found = [[]]
    for token in group:
        found = [
            [*rows, row] for rows in found for row in remaining
            if ids[row] == token and (not rows or row > rows[-1])
        ]  # fmt: skip
    return found


def test_protected_tokens_stay_alone(folders):
    groups, _ = load(folders / "documents").encode_token_groups(DOCUMENTS[0], "document")
    assert len(groups[0]) == 1
    assert max(map(len, groups)) > 1


def test_a_vector_of_several_tokens_is_not_given_to_one(folders):
    encoder = load(folders / "documents")
    ids, vectors = encoder.encode_tokens(QUERY, "query")  # not pooled
    assert len(ids) == len(vectors) == encoder.query_length
    with pytest.raises(InvalidArgumentError) as caught:
        encoder.encode_tokens(DOCUMENTS[0], "document")
    assert_bilingual(caught.value, "encode_token_groups", "document")
    plain = load(folders / "plain").encode_tokens(DOCUMENTS[0], "document")
    assert load(folders / "one").encode_tokens(DOCUMENTS[0], "document")[0] == plain[0]


@pytest.mark.parametrize("name", ["documents", "both", "raw"])
def test_explanations_add_up_to_the_score_and_name_all_tokens(folders, name):
    encoder = load(folders / name)
    (query,) = encoder.encode_queries([QUERY])
    for document in DOCUMENTS:
        matches = explain_matches(encoder, QUERY, document)
        (vectors,) = encoder.encode_documents([document])
        assert len(matches) == len(query)
        assert sum(match.similarity for match in matches) == pytest.approx(maxsim(query, [vectors])[0], abs=1e-4)
        groups, _ = encoder.encode_token_groups(document, "document")
        named = texts(encoder, groups)
        assert all(match.document_token == named[match.position] for match in matches)
        asked, _ = encoder.encode_token_groups(QUERY, "query")
        assert [match.query_token for match in matches] == texts(encoder, asked)
    assert any(SEPARATOR in match.document_token for match in explain_matches(encoder, QUERY, DOCUMENTS[0]))


def test_searching_and_reranking_score_as_sentence_transformers_does(folders, tmp_path):
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folders / "documents"), device="cpu", local_files_only=True)
    expected = model.similarity(model.encode_query([QUERY]), model.encode_document(DOCUMENTS))[0].tolist()
    encoder = load(folders / "documents")
    for index, score in Reranker(encoder).rerank(QUERY, DOCUMENTS):
        assert score == pytest.approx(expected[index], abs=0.02)  # documents are cached in 16 bits
    with Collection.open(tmp_path / "collection", encoders=[encoder]) as collection:
        collection.add(DOCUMENTS, ids=["0", "1", "2"])
        for hit in collection.search(QUERY, k=3):
            assert hit.score == pytest.approx(expected[int(hit.id)], abs=0.02)


def test_vectors_do_not_depend_on_the_batch(folders):
    encoder = load(folders / "documents")
    together = encoder.encode_documents(DOCUMENTS)
    for text, rows in zip(DOCUMENTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode_documents([text])[0], rows, atol=1e-5)


def test_a_saved_copy_is_the_same_and_another_factor_is_not(folders, tmp_path):
    encoder = load(folders / "documents")
    copy = load_encoder(encoder.save(tmp_path / "copy"), dtype="float32")
    assert copy.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(copy.encode_documents(DOCUMENTS[:1])[0], encoder.encode_documents(DOCUMENTS[:1])[0])
    token_pooling(tmp_path / "other", pool_factor=2.0)
    assert load(tmp_path / "other").fingerprint != encoder.fingerprint
    assert load(folders / "plain").fingerprint != encoder.fingerprint


@pytest.mark.parametrize("factor", [0.5, -1, "둘", float("nan"), 10**9, [2]])
def test_what_is_no_factor_is_an_error_of_the_checkpoint(tmp_path, factor):
    token_pooling(tmp_path / "model")
    edit_json(next(tmp_path.glob("model/*_HierarchicalTokenPooling")) / "config.json", pool_factor=factor)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "model").encode_documents(DOCUMENTS)
    assert_bilingual(caught.value)


def test_missing_weights_are_still_named(tmp_path):
    token_pooling(tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    missing = next(name for name in weights if name.endswith("mlp.Wo.weight"))
    del weights[missing]
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "model").encode_documents(DOCUMENTS)
    assert_bilingual(caught.value, missing.partition("layers")[2])
