"""`fusion` was called `method`; the old name works for one release, with a warning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode

from korag import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from llamaindex_korag import KoHybridRetriever

QUERY = "보증금 계약, 도서관 휴관일"


def warned(call: Callable[[], Any]) -> Any:
    """Calls, and checks that there is one warning, in Korean and English, that points at this file."""
    with pytest.warns(DeprecationWarning, match="새 이름은 fusion=입니다.*method= is now fusion=") as record:
        result = call()
    assert [warning.filename for warning in record] == [__file__]
    return result


def test_the_old_name(documents: list[str], colbert: LateInteractionEncoder, tmp_path: Path) -> None:
    nodes = [TextNode(id_=str(index), text=text) for index, text in enumerate(documents)]
    path = tmp_path / "x"
    retriever = warned(lambda: KoHybridRetriever.from_defaults(nodes, models=[colbert], method="weighted", path=path))
    made = [
        retriever,
        warned(lambda: KoHybridRetriever(retriever.collection, method="weighted")),
        warned(lambda: KoHybridRetriever.from_persist_dir(path, models=[colbert], method="weighted")),
    ]
    assert [each.fusion for each in made] == ["weighted"] * 3
    expected = KoHybridRetriever(retriever.collection, fusion="weighted").retrieve(QUERY)
    assert [[scored.score for scored in each.retrieve(QUERY)] for each in made] == [
        [scored.score for scored in expected]
    ] * 3


def test_attribute_and_both_names(documents: list[str], colbert: LateInteractionEncoder) -> None:
    nodes = [TextNode(id_=str(index), text=text) for index, text in enumerate(documents)]
    retriever = KoHybridRetriever.from_defaults(nodes, models=[colbert])
    assert warned(lambda: retriever.method) == "auto"
    warned(lambda: setattr(retriever, "method", "weighted"))
    assert retriever.fusion == "weighted"
    with pytest.warns(DeprecationWarning, match="fusion="):
        retriever.method = "sum"
    with pytest.raises(InvalidArgumentError, match="fusion='sum'"):
        retriever.retrieve(QUERY)
    both: dict[str, Any] = {"fusion": "rrf", "method": "rrf"}
    for call in (
        lambda: KoHybridRetriever(retriever.collection, **both),
        lambda: KoHybridRetriever.from_defaults(nodes, models=[colbert], **both),
        lambda: KoHybridRetriever.from_persist_dir("x", **both),
    ):
        with pytest.raises(InvalidArgumentError, match="Both fusion and its old name method"):
            call()
