"""The embeddings object that a vector store is made from: its settings hold for the dense leg, or it is refused."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings

from korag.encoders.dense import DenseEncoder
from korag.errors import InvalidArgumentError
from langchain_korag.embeddings import KoEmbeddings
from langchain_korag.model_fields import EncoderModel


def with_embedding(embedding: Embeddings | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """Adds the model of a `KoEmbeddings` to the encoders, which has its prompts, dimension, revision and lengths.

    Raises:
        InvalidArgumentError: If it is another class, the collection has a model of its own, or the vectors of the leg
            would not be those of the embeddings.
    """
    if embedding is None:
        return arguments
    if not isinstance(embedding, KoEmbeddings):
        raise InvalidArgumentError(
            f"embedding이 {type(embedding).__name__}입니다. KoEmbeddings(model=...)를 넣거나 encoders=['모델 이름']을 "
            "쓰세요. 다른 임베딩에는 LangChain의 InMemoryVectorStore나 FAISS가 맞습니다.",
            f"embedding is a {type(embedding).__name__}; pass KoEmbeddings(model=...), or encoders=['model name']. For "
            "other embeddings use LangChain's InMemoryVectorStore or FAISS.",
        )
    if arguments.get("collection") is not None:
        raise InvalidArgumentError(
            "embedding과 collection을 함께 넣을 수 없습니다. 컬렉션에는 모델이 정해져 있으니 embedding을 빼세요.",
            "embedding cannot be combined with collection, which has models of its own; leave embedding out.",
        )
    _check_length(embedding)
    return {**arguments, "encoders": [embedding.model, *(arguments.get("encoders") or [])]}


def _check_length(embedding: KoEmbeddings) -> None:
    """A leg compares by the model's own similarity: a cosine makes unit vectors anyway, a dot product does not."""
    encoder = embedding.model
    assert isinstance(encoder, DenseEncoder)  # noqa: S101 (for the type checker)
    if embedding.scales and encoder.similarity == "dot" and not encoder.fingerprint.normalized:
        raise InvalidArgumentError(
            f"normalize_embeddings=True: '{encoder.model_name}'은(는) 길이가 다른 벡터를 내적으로 비교하는 모델이라, "
            "KoVectorStore도 그렇게 비교합니다. encode_kwargs에서 normalize_embeddings를 빼거나, 단위 벡터로 "
            "비교하려면 이 임베딩을 LangChain의 InMemoryVectorStore나 FAISS에 넣으세요.",
            f"normalize_embeddings=True: '{encoder.model_name}' compares vectors of any length by dot product, and so "
            "does KoVectorStore. Leave normalize_embeddings out of encode_kwargs; to compare unit vectors, give these "
            "embeddings to LangChain's InMemoryVectorStore or FAISS.",
        )


def check_encoders(encoders: object) -> None:
    """Raises if an embeddings object is given in place of an encoder.

    Raises:
        InvalidArgumentError: The message says where it belongs.
    """
    given = encoders if isinstance(encoders, list | tuple) else [encoders]
    for one in given:
        if isinstance(one, EncoderModel):
            name = type(one).__name__
            raise InvalidArgumentError(
                f"encoders에 {name}을(를) 넣었습니다. KoVectorStore.from_documents(documents, embedding)처럼 넣거나 "
                "encoders=['모델 이름']을 쓰세요.",
                f"encoders holds a {name}; give embeddings as KoVectorStore.from_documents(documents, embedding), or "
                "use encoders=['model name'].",
            )
