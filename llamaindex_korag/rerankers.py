"""Rerankers as LlamaIndex node postprocessors."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any, Self

from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_validator, model_validator
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # it re-exports
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from korag.checkpoints.presets import DEFAULT_COLBERT, DEFAULT_CROSS_ENCODER
from korag.checks import check_count, check_flag, check_fraction, reject_unknown
from korag.encoders.load import as_encoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from korag.keywords import checks_keywords
from korag.reranking.base import TextReranker
from korag.reranking.colbert import Reranker
from korag.reranking.cross_encoder import CrossEncoderReranker, cross_encoder_with
from korag.reranking.fusing import check_fuse_weight, ranked_scores
from korag.text import check_text
from llamaindex_korag.checked_fields import CHECKED, CheckedFields
from llamaindex_korag.found import distinct, query_of, scored_again
from llamaindex_korag.given import check_mode

RETRIEVAL_SCORE = "retrieval_score"
dispatcher = get_dispatcher(__name__)


class NodeReranker(CheckedFields, BaseNodePostprocessor):
    """Puts retrieved nodes in the order a model gives them; each subclass has its own kind of model.

    Nodes that a KoRAG retriever found with a repaired query (`FoundNode.rewritten_query`) are scored by it.
    A node that several lists contain counts once: in its first place, with its best score.

    Everything that changes scores is a serialised field, so `to_dict` and `from_dict` recreate a reranker that
    scores alike. How the model is run (device, precision, backend) is up to the loaded model passed in.

    Attributes:
        model_name: The model's name, or the whole path of its folder.
        revision: Its Hub commit; None for a local folder.
        max_length: Longest text in tokens.
        top_n: Nodes to keep.
        metadata_mode: Metadata that is part of the scored text.
        keep_retrieval_score: Keep a node's previous score in the metadata of the result, as ``retrieval_score``; it is
            excluded from the texts for LLMs and embeddings.
        score_threshold: Leave out nodes of a lower relevance, in [0, 1]; the model's class in `korag` defines
            relevance.
        fuse_weight: Weight of this model's score in [0, 1]; the rest goes to the score that the nodes come with, both
            scaled to [0, 1]. 1 ranks by this model alone. None is the model's default
            (`korag.reranking.base.TextReranker`) where nodes have such scores, and 1 otherwise. Where nodes have no
            scores, or not those of a ranked list, best first, their order takes the place of the scores for a
            `fuse_weight`.
    """

    model_config = CHECKED

    model_name: str = Field(frozen=True, description="Name or path of the model.")
    revision: str | None = Field(default=None, frozen=True, description="Hub branch, tag or commit.")
    max_length: int | None = Field(
        default=None, frozen=True, description="Longest text in tokens; None for the model's own."
    )
    top_n: int = Field(default=5, ge=0, description="Nodes to keep.")
    metadata_mode: MetadataMode = Field(default=MetadataMode.EMBED, description="Metadata in the scored text.")
    keep_retrieval_score: bool = Field(default=False, description="Keep the former score in the metadata.")
    score_threshold: float | None = Field(default=None, description="Least relevance of a node, in [0, 1].")
    fuse_weight: float | None = Field(
        default=None, description="Weight of the model's score against the former one; None for the model's default."
    )
    _reranker: TextReranker = PrivateAttr()

    def __init__(
        self,
        *,
        reranker: TextReranker,
        arguments: dict[str, Any],
        **fields: Any,
    ) -> None:
        # Every load argument must be a field, so that the fields load the same model again; one without a field fails
        # loudly here, as an unknown keyword.
        fields |= {name: value for name, value in arguments.items() if name not in ("model", "family")}
        fields["model_name"] = arguments["model"]
        reranker.check_threshold(fields.get("score_threshold"))
        super().__init__(**fields)
        self._reranker = reranker

    @field_validator("top_n", mode="before")
    @classmethod
    def _check_count(cls, top_n: Any) -> int:
        return check_count("top_n", top_n)

    @field_validator("metadata_mode", mode="before")
    @classmethod
    def _check_mode(cls, mode: Any) -> MetadataMode:
        return check_mode(mode)

    @field_validator("keep_retrieval_score", mode="before")
    @classmethod
    def _check_keep(cls, keep: Any) -> bool:
        return check_flag("keep_retrieval_score", keep)

    @field_validator("score_threshold", mode="before")
    @classmethod
    def _check_threshold(cls, threshold: Any) -> float | None:
        return None if threshold is None else check_fraction("score_threshold", threshold)

    @field_validator("fuse_weight", mode="before")
    @classmethod
    def _check_weight(cls, weight: Any) -> float | None:
        return check_fuse_weight(weight)

    @model_validator(mode="after")
    def _check_relevance(self) -> Self:
        reranker: TextReranker | None = getattr(self, "_reranker", None)  # there is none yet in the constructor
        if reranker is not None:
            reranker.check_threshold(self.score_threshold)
        return self

    @property
    @abstractmethod
    def _model(self) -> Any:
        """The loaded model, from which copies are made."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InvalidArgumentError(
                "질문이 없어 순위를 매길 수 없습니다. query_str= 또는 query_bundle=을 넣으세요.",
                "There is no query to rank by; pass query_str= or query_bundle=.",
            )
        dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model_name)
        )
        ranked: list[NodeWithScore] = []
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model_name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        try:
            with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
                ranked = self._rank(nodes, query_bundle.query_str)
                event.on_end(payload={EventPayload.NODES: ranked})
        finally:  # every start event needs an end event, even on failure
            dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked

    def _rank(self, nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
        nodes = distinct(nodes)
        texts = [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
        ranked = self._reranker.rerank(
            query_of(check_text(query, "query_str"), nodes),
            texts,
            top_n=self.top_n,
            score_threshold=self.score_threshold,
            first_stage_scores=ranked_scores([node.score for node in nodes]),
            fuse_weight=self.fuse_weight,
        )
        return [self._scored(nodes[index], score) for index, score in ranked]

    def _scored(self, scored: NodeWithScore, score: float) -> NodeWithScore:
        node = scored.node
        if self.keep_retrieval_score and scored.score is not None:
            # model_copy shares dicts and lists with the caller's node, so those that change are replaced
            hidden = {
                name: [*getattr(node, name), RETRIEVAL_SCORE]
                for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
            }
            metadata = {**node.metadata, RETRIEVAL_SCORE: scored.score}
            node = node.model_copy(update={"metadata": metadata, **hidden})
        return scored_again(scored, node, score)

    def __getstate__(self) -> dict[str, Any]:
        # The base class's would drop what cannot be pickled from the live object, and its __setstate__ would lose the
        # model's device. Callbacks are left out, as in `to_dict`.
        fields = {name: value for name, value in self.__dict__.items() if name != "callback_manager"}
        return {"fields": fields, "model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**{**state["fields"], "model_name": state["model"]})  # type: ignore[misc]


class KoColBERTRerank(NodeReranker):
    """Puts retrieved nodes in the order a ColBERT model gives them.

    >>> rerank = KoColBERTRerank(model_name="mini-colbert", top_n=3)
    >>> query_engine = index.as_query_engine(node_postprocessors=[rerank], similarity_top_k=20)

    Returns new `FoundNode` objects with the MaxSim score, or the fused one; those passed in, and their nodes, are
    not modified. Equal scores keep their order. Nodes without any text to score are left out. Reranking the same nodes
    for another query only encodes that query.

    Everything that changes scores is a serialised field, so `to_dict` and `from_dict` recreate a reranker that
    scores alike. How the model is run (device, precision, backend) is up to the encoder passed in.

    Attributes:
        model_name: The model's name, or the whole path of its folder.
        revision: Its Hub commit; None for a local folder.
        dim: Its Matryoshka dimension.
        query_prompt: Put before every query.
        document_prompt: Put before every node's text.
        max_length: Longest text in tokens.
        query_length: Longest query in tokens.
        top_n: Nodes to keep.
        metadata_mode: Metadata that is part of the scored text.
        keep_retrieval_score: Keep a node's previous score in the metadata of the result, as ``retrieval_score``; it is
            excluded from the texts for LLMs and embeddings.
        score_threshold: Leave out nodes of a lower relevance, in [0, 1]: the mean over query tokens of each one's best
            match (see `korag.Reranker`), not MaxSim itself.
        fuse_weight: Weight of this model's score in [0, 1]; the rest goes to the score that the nodes come with, both
            scaled to [0, 1]. 1 ranks by this model alone. None is 0.3 where ten nodes or more have such scores, and 1
            otherwise; with mini-colbert alone, the lists of a hybrid search get worse. Where nodes have no scores, or
            not those of a ranked list, best first, their order takes the place of the scores for a `fuse_weight`.
    """

    model_name: str = Field(
        default=DEFAULT_COLBERT, frozen=True, description="Name or path of a late-interaction model."
    )
    dim: int | None = Field(default=None, frozen=True, description="Matryoshka dimension; None for the largest.")
    query_prompt: str | None = Field(
        default=None, frozen=True, description="Put before every query; None for the model's own."
    )
    document_prompt: str | None = Field(
        default=None, frozen=True, description="Put before every text; None for the model's own."
    )
    query_length: int | None = Field(
        default=None, frozen=True, description="Longest query in tokens; None for the model's own."
    )

    @checks_keywords
    def __init__(
        self,
        model_name: str | os.PathLike[str] | LateInteractionEncoder = DEFAULT_COLBERT,
        *,
        revision: str | None = None,
        dim: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        max_length: int | None = None,
        query_length: int | None = None,
        top_n: int = 5,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        keep_retrieval_score: bool = False,
        score_threshold: float | None = None,
        fuse_weight: float | None = None,
        callback_manager: CallbackManager | None = None,
        **unknown: Any,
    ) -> None:
        """Checks the model; it is loaded at first use.

        Args:
            model_name: A name, a path, or a loaded late-interaction encoder. ``model=`` is taken too.
            revision: Hub branch, tag or commit.
            dim: Matryoshka dimension; None for the largest, or the loaded encoder's.
            query_prompt: Put before every query; None for the model's own.
            document_prompt: Put before every text; None for the model's own.
            max_length: Longest text in tokens; None for the model's own.
            query_length: Longest query in tokens; None for the model's own.
            top_n: Nodes to keep.
            metadata_mode: Metadata that is part of the scored text.
            keep_retrieval_score: Keep a node's previous score in the metadata.
            score_threshold: Leave out nodes of a lower relevance, in [0, 1].
            fuse_weight: Weight of this model's score against the nodes' own.
            callback_manager: LlamaIndex's callbacks.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
            InvalidArgumentError: If a loaded encoder comes with settings it was not loaded with, or another argument is
                invalid.
        """
        reject_unknown(self, unknown, list(type(self).model_fields))  # before the default model is looked for
        rest = {
            "callback_manager": callback_manager,
            "top_n": top_n,
            "metadata_mode": metadata_mode,
            "keep_retrieval_score": keep_retrieval_score,
            "score_threshold": score_threshold,
            "fuse_weight": fuse_weight,
            **unknown,
        }
        self._check_fields(rest)
        encoder = as_encoder(
            model_name,
            family="late_interaction",
            revision=revision,
            dim=dim,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_length=max_length,
            query_length=query_length,
        )
        super().__init__(reranker=Reranker(encoder), arguments=encoder.load_arguments, **rest)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoColBERTRerank"

    @property
    def _model(self) -> Any:
        assert isinstance(self._reranker, Reranker)  # noqa: S101 (for the type checker)
        return self._reranker.encoder


class KoCrossEncoderRerank(NodeReranker):
    """Puts retrieved nodes in the order a cross-encoder gives them.

    >>> rerank = KoCrossEncoderRerank(model_name="dragonkue/bge-reranker-v2-m3-ko", top_n=3)
    >>> query_engine = index.as_query_engine(node_postprocessors=[rerank], similarity_top_k=20)

    Returns new `FoundNode` objects with the model's score, in [0, 1] where its activation is a sigmoid; those
    passed in, and their nodes, are not modified. Equal scores keep their order. Nodes without any text to score are
    left out. Every node is read again for every query: slower than `KoColBERTRerank`, which keeps their vectors.

    Everything that changes scores is a serialised field, so `to_dict` and `from_dict` recreate a reranker that
    scores alike. How the model is run (device, precision, backend) is up to the loaded model passed in.

    Attributes:
        model_name: The model's name, or the whole path of its folder.
        revision: Its Hub commit; None for a local folder.
        max_length: Longest pair of query and text in tokens.
        top_n: Nodes to keep.
        metadata_mode: Metadata that is part of the scored text.
        keep_retrieval_score: Keep a node's previous score in the metadata of the result, as ``retrieval_score``; it is
            excluded from the texts for LLMs and embeddings.
        score_threshold: Leave out nodes of a lower relevance, in [0, 1]; an error if the model's scores are not sigmoid
            outputs.
        fuse_weight: Weight of this model's score in [0, 1]; the rest goes to the score that the nodes come with, both
            scaled to [0, 1]. 1 ranks by this model alone. None is 1. Where nodes have no scores, or not those of a
            ranked list, best first, their order takes the place of the scores for a `fuse_weight`.
    """

    model_name: str = Field(default=DEFAULT_CROSS_ENCODER, frozen=True, description="Name or path of a cross-encoder.")

    @checks_keywords
    def __init__(
        self,
        model_name: str | os.PathLike[str] | CrossEncoderReranker = DEFAULT_CROSS_ENCODER,
        *,
        revision: str | None = None,
        max_length: int | None = None,
        top_n: int = 5,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        keep_retrieval_score: bool = False,
        score_threshold: float | None = None,
        fuse_weight: float | None = None,
        callback_manager: CallbackManager | None = None,
        **unknown: Any,
    ) -> None:
        """Checks the model; it is loaded at first use.

        Args:
            model_name: A name, a path, or a loaded `korag.CrossEncoderReranker`. ``model=`` is taken too.
            revision: Hub branch, tag or commit.
            max_length: Longest pair in tokens; None for the model's own.
            top_n: Nodes to keep.
            metadata_mode: Metadata that is part of the scored text.
            keep_retrieval_score: Keep a node's previous score in the metadata.
            score_threshold: Leave out nodes of a lower relevance, in [0, 1].
            fuse_weight: Weight of this model's score against the nodes' own.
            callback_manager: LlamaIndex's callbacks.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            WrongFamilyError: If the model is a dense, sparse or late-interaction model.
            CheckpointError: If it does not give exactly one score.
            InvalidArgumentError: If a loaded model comes with settings it was not loaded with, another argument is
                invalid, or there is a `score_threshold` and the scores are not in [0, 1].
        """
        reject_unknown(self, unknown, list(type(self).model_fields), loader=CrossEncoderReranker.__name__)
        rest = {
            "callback_manager": callback_manager,
            "top_n": top_n,
            "metadata_mode": metadata_mode,
            "keep_retrieval_score": keep_retrieval_score,
            "score_threshold": score_threshold,
            "fuse_weight": fuse_weight,
            **unknown,
        }
        self._check_fields(rest)
        model = cross_encoder_with(model_name, revision=revision, max_length=max_length)
        super().__init__(reranker=model, arguments=model.load_arguments, **rest)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoCrossEncoderRerank"

    @property
    def _model(self) -> TextReranker:
        return self._reranker
