"""A Hub token passed to anything public, right or wrong, is shown by nothing: error, log, warning or repr."""

from __future__ import annotations

import inspect
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import korag
import langchain_korag
import llamaindex_korag
from korag.deprecations import rename_keywords
from korag.encoders.load import as_encoder
from korag.evaluation import evaluate
from korag.reranking.cross_encoder import cross_encoder_with

SECRET = "hf_" + "SECRETsecret" * 3
WRONG: tuple[Any, ...] = (None, -1, 1.5, "없는 값", [], [7], {"없는": 1}, object(), True)
MODELS = {
    "DenseEncoder": None, "SparseEncoder": None, "LateInteractionEncoder": None, "KoragError": None, "Hit": None,
    "__version__": None,
}  # fmt: skip
"""Public names that are not made by callers."""
MAKING = (
    "from_documents", "from_texts", "load_local", "from_defaults", "from_persist_dir", "load_from_disk", "from_dict",
    "model_validate", "open", "in_memory", "upgrade",
)  # fmt: skip


def _doors() -> Iterator[tuple[str, Callable[..., Any]]]:
    for package in (korag, langchain_korag, llamaindex_korag):
        for name in package.__all__:
            if name in MODELS:
                continue
            made = getattr(package, name)
            yield f"{package.__name__}.{name}", made
            for method in MAKING:
                if isinstance(made, type) and callable(getattr(made, method, None)):
                    yield f"{package.__name__}.{name}.{method}", getattr(made, method)
    yield "as_encoder", as_encoder
    yield "cross_encoder_with", cross_encoder_with
    yield "evaluate", evaluate
    yield "rename_keywords", rename_keywords


DOORS = dict(_doors())


def _calls(door: Callable[..., Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments with a token somewhere and something wrong beside it."""
    parameters = inspect.signature(door).parameters.values()
    names = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    first = tuple("mini-dense" for each in parameters if each.default is each.empty and each.kind < each.VAR_POSITIONAL)
    places: tuple[dict[str, Any], ...] = (
        {"token": SECRET}, {"use_auth_token": SECRET}, {"model_kwargs": {"token": SECRET}}, {"tokne": SECRET},
        {"model_kwargs": {"use_auth_token": SECRET, "없는": 1}}, {"encode_kwargs": {"token": SECRET}},
        {"token": [SECRET]}, {"hub": {"token": SECRET}},
    )  # fmt: skip
    for place in places:
        yield first, place
        yield (), place
        if {"model", "model_name", "obj", "data", "encoder"} & set(names[:1]):  # settings in one dict
            yield ({"model": "mini-colbert", **place},), {}
    for name in names:
        for wrong in WRONG:
            yield (), {"token": SECRET, name: wrong}
            yield first[:-1], {"model_kwargs": {"token": SECRET}, name: wrong}


def _shown(error: BaseException) -> str:
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


@pytest.mark.parametrize("name", DOORS)
def test_no_door_shows_a_token(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)  # some wrong values are valid paths
    door = DOORS[name]
    refused = 0
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for positional, keywords in _calls(door):
            try:
                shown = repr(door(*positional, **keywords))
            except Exception as error:
                refused += 1
                shown = _shown(error)
            assert SECRET not in shown, (positional, keywords)
    assert refused
    assert SECRET not in caplog.text
    assert SECRET not in "".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (lambda: langchain_korag.KoColBERTReranker(model="mini-colbert"), "top_n"),
        (lambda: langchain_korag.KoBM25Retriever.from_texts(["글"]), "k"),
        (lambda: langchain_korag.KoEmbeddings(model="mini-dense"), "show_progress"),
        (lambda: llamaindex_korag.KoColBERTRerank("mini-colbert"), "top_n"),
        (lambda: llamaindex_korag.KoEmbedding("mini-dense"), "embed_batch_size"),
        (lambda: llamaindex_korag.KoSparseEmbedding("mini-splade"), "embed_batch_size"),
    ],
)
def test_no_assignment_shows_a_token(made: Callable[[], Any], field: str) -> None:
    instance = made()
    for name in ("token", field, "model_name"):
        with pytest.raises((ValueError, AttributeError)) as caught:
            setattr(instance, name, -1 if name == field and field != "show_progress" else {"token": SECRET})
        assert SECRET not in _shown(caught.value)
    assert SECRET not in repr(instance)
