"""Rerankers as LlamaIndex node postprocessors."""

from __future__ import annotations

from typing import Any, Self

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from korag.encoders.late_interaction import LateInteractionEncoder
from korag.encoders.load import late_interaction_encoder
from korag.errors import InvalidArgumentError
from korag.reranking import Reranker

DEFAULT_COLBERT = "dragonkue/colbert-ko-0.1b"
dispatcher = get_dispatcher(__name__)


class KoColBERTRerank(BaseNodePostprocessor):
    """Puts retrieved nodes in the order a ColBERT model gives them.

    >>> rerank = KoColBERTRerank(model_name="mini-colbert", top_n=3)
    >>> query_engine = index.as_query_engine(node_postprocessors=[rerank], similarity_top_k=20)

    Returns new nodes with the MaxSim score; the nodes passed in stay as they are. Equal scores keep their
    order. Nodes without text are left out.

    Attributes:
        model_name: The model's name or path.
        dim: Its Matryoshka dimension; None for the largest.
        top_n: Nodes to keep.
        metadata_mode: Which metadata is part of the text that is scored.
        keep_retrieval_score: Put the score a node came with into its metadata, as ``retrieval_score``.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model_name: str = Field(default=DEFAULT_COLBERT, description="Name or path of a late-interaction model.")
    dim: int | None = Field(default=None, description="Matryoshka dimension; None for the largest.")
    top_n: int = Field(default=5, ge=0, description="Nodes to keep.")
    metadata_mode: MetadataMode = Field(default=MetadataMode.EMBED, description="Metadata in the scored text.")
    keep_retrieval_score: bool = Field(default=False, description="Keep the former score in the metadata.")
    _reranker: Reranker = PrivateAttr()

    def __init__(
        self,
        model_name: str | LateInteractionEncoder = DEFAULT_COLBERT,
        *,
        dim: int | None = None,
        top_n: int = 5,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        keep_retrieval_score: bool = False,
        callback_manager: CallbackManager | None = None,
        **unknown: Any,
    ) -> None:
        """Checks the model; it is loaded at the first use.

        Args:
            model_name: A name, a path, or a loaded late-interaction encoder.
            dim: Matryoshka dimension; None for the largest, or the loaded encoder's.
            top_n: Nodes to keep.
            metadata_mode: Which metadata is part of the text that is scored.
            keep_retrieval_score: Keep the score a node came with in its metadata.
            callback_manager: LlamaIndex's callbacks.
            unknown: Nothing: any other keyword is an error.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
        """
        encoder = late_interaction_encoder(model_name, dim=dim)
        super().__init__(
            model_name=encoder.model_name,
            dim=encoder.dim,
            top_n=top_n,
            metadata_mode=metadata_mode,
            keep_retrieval_score=keep_retrieval_score,
            callback_manager=callback_manager or CallbackManager(),
            **unknown,
        )
        self._reranker = Reranker(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoColBERTRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InvalidArgumentError(
                "질의가 없어 순위를 매길 수 없습니다. query_str= 또는 query_bundle=을 넣으세요.",
                "There is no query to rank by; pass query_str= or query_bundle=.",
            )
        dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model_name)
        )
        ranked: list[NodeWithScore] = []
        payload = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model_name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        try:
            with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
                ranked = self._rank(nodes, query_bundle.query_str)
                event.on_end(payload={EventPayload.NODES: ranked})
        finally:  # every start has its end, in a failure too
            dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked

    def _rank(self, nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
        texts = [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
        ranked = self._reranker.rerank(query, texts, top_n=self.top_n)
        return [self._scored(nodes[index], score) for index, score in ranked]

    def _scored(self, scored: NodeWithScore, score: float) -> NodeWithScore:
        node = scored.node
        if self.keep_retrieval_score and scored.score is not None:
            # model_copy shares the metadata dict with the caller's node, so it gets one of its own
            node = node.model_copy(update={"metadata": {**node.metadata, "retrieval_score": scored.score}})
        return NodeWithScore(node=node, score=score)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Builds it from what `to_dict` returned."""
        fields = {**data, **kwargs}
        fields.pop("class_name", None)
        return cls(**fields)

