"""A pruner of contexts as a LlamaIndex node postprocessor."""

from __future__ import annotations

import os
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_validator
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from korag.checkpoints.presets import DEFAULT_COLBERT
from korag.checks import reject_unknown
from korag.encoders.load import as_encoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from korag.field_errors import showable
from korag.keywords import checks_keywords
from korag.pruning.pruner import (
    DEFAULT_THRESHOLD,
    PrunedText,
    Pruner,
    WhenEmpty,
    check_places,
    check_threshold,
    check_when_empty,
)
from korag.splitting.finding import SentenceRule, check_sentences
from korag.text import check_text
from llamaindex_korag.checked_fields import CHECKED, CheckedFields
from llamaindex_korag.found import FoundNode, query_of, scored_again

SPANS = "kept_spans"
"""Metadata key of the places of what was kept."""


class KoContextPruner(CheckedFields, BaseNodePostprocessor):
    """Leaves out of retrieved nodes the sentences that do not belong to the query.

    >>> pruner = KoContextPruner(model_name="mini-colbert")
    >>> query_engine = index.as_query_engine(node_postprocessors=[rerank, pruner], similarity_top_k=20)

    Returns new `FoundNode` objects in the order of the nodes, with their ids, scores and metadata, whose text is what
    was kept; those passed in, and their nodes, are not modified. Where it was in the node's text is in the metadata as
    ``kept_spans``, [begin, end] each, excluded from the texts for LLMs and embeddings. Sentences, rows of tables and
    blocks of code are kept whole, with their headings (`korag.pruning.pruner.Pruner`). Put it behind rerankers: scores
    compare all nodes of a call with each other. Nodes without text stay as they are.

    Everything that changes what is kept is a serialised field; how the model is run is up to the encoder passed in.

    Attributes:
        model_name: The model's name, or the whole path of its folder.
        revision: Its Hub commit; None for a local folder.
        dim: Its Matryoshka dimension.
        query_prompt: Put before every query.
        document_prompt: Put before every node's text.
        max_length: Longest text in tokens; longer nodes are read in windows.
        query_length: Longest query in tokens.
        threshold: Least score of a sentence, in [0, 1]; lower keeps more.
        when_empty: A node without such a sentence is left out (``"drop"``), or its best one is kept (``"best"``).
        sentences: ``"rules"``, or ``"kiwi"`` (``pip install 'korag[kiwi]'``).
    """

    model_config = CHECKED

    model_name: str = Field(
        default=DEFAULT_COLBERT, frozen=True, description="Name or path of a late-interaction model."
    )
    revision: str | None = Field(default=None, frozen=True, description="Hub branch, tag or commit.")
    dim: int | None = Field(default=None, frozen=True, description="Matryoshka dimension; None for the largest.")
    query_prompt: str | None = Field(
        default=None, frozen=True, description="Put before every query; None for the model's own."
    )
    document_prompt: str | None = Field(
        default=None, frozen=True, description="Put before every text; None for the model's own."
    )
    max_length: int | None = Field(
        default=None, frozen=True, description="Longest text in tokens; None for the model's own."
    )
    query_length: int | None = Field(
        default=None, frozen=True, description="Longest query in tokens; None for the model's own."
    )
    threshold: float = Field(default=DEFAULT_THRESHOLD, description="Least score of a sentence, in [0, 1].")
    when_empty: WhenEmpty = Field(default="drop", description="Drop a node without such a sentence, or keep its best.")
    sentences: SentenceRule = Field(default="rules", description="How to find sentences.")
    _encoder: LateInteractionEncoder = PrivateAttr()

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
        threshold: float = DEFAULT_THRESHOLD,
        when_empty: WhenEmpty = "drop",
        sentences: SentenceRule = "rules",
        callback_manager: CallbackManager | None = None,
        **unknown: Any,
    ) -> None:
        """Checks the model; it is loaded at first use.

        Args:
            model_name: A name, a path, or a loaded late-interaction encoder. ``model=`` is taken too.
            revision: Hub branch, tag or commit.
            dim: Matryoshka dimension; None for the largest, or the loaded encoder's.
            query_prompt: Put before every query; None for the model's own.
            document_prompt: Put before every node's text; None for the model's own.
            max_length: Longest text in tokens; None for the model's own.
            query_length: Longest query in tokens; None for the model's own.
            threshold: Least score of a sentence, in [0, 1].
            when_empty: What becomes of a node without such a sentence.
            sentences: How to find sentences.
            callback_manager: LlamaIndex's callbacks.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
            InvalidArgumentError: If a loaded encoder comes with settings it was not loaded with, or another argument is
                invalid.
            MissingDependencyError: If Kiwi is asked for and not installed.
        """
        reject_unknown(self, unknown, list(type(self).model_fields))
        rest = {
            "callback_manager": callback_manager,
            "threshold": threshold,
            "when_empty": when_empty,
            "sentences": sentences,
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
        arguments = encoder.load_arguments
        fields = {name: value for name, value in arguments.items() if name not in ("model", "family")}
        super().__init__(model_name=arguments["model"], **fields, **rest)
        self._encoder = check_places(encoder)

    @field_validator("threshold", mode="before")
    @classmethod
    def _check_threshold(cls, threshold: Any) -> float:
        return check_threshold(showable(threshold))

    @field_validator("when_empty", mode="before")
    @classmethod
    def _check_when_empty(cls, when_empty: Any) -> WhenEmpty:
        return check_when_empty(showable(when_empty))

    @field_validator("sentences", mode="before")
    @classmethod
    def _check_sentences(cls, sentences: Any) -> SentenceRule:
        return check_sentences(showable(sentences))

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoContextPruner"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InvalidArgumentError(
                "질문이 없어 무엇을 남길지 알 수 없습니다. query_str= 또는 query_bundle=을 넣으세요.",
                "There is no query that tells what to keep; pass query_str= or query_bundle=.",
            )
        pruner = Pruner(self._encoder, threshold=self.threshold, when_empty=self.when_empty, sentences=self.sentences)
        files = [node.node.metadata.get("file_name") for node in nodes]
        pruned = pruner.prune(
            query_of(check_text(query_bundle.query_str, "query_str"), nodes),
            [node.node.get_content(MetadataMode.NONE) for node in nodes],
            filenames=[file if isinstance(file, str) else None for file in files],
        )
        return [_pruned(*pair) for pair in zip(nodes, pruned, strict=True) if not pair[1].is_dropped]

    def __getstate__(self) -> dict[str, Any]:
        # As `NodeReranker`'s: the base class's would lose the model's device. Callbacks are left out, as in `to_dict`.
        fields = {name: value for name, value in self.__dict__.items() if name != "callback_manager"}
        return {"fields": fields, "model": self._encoder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**{**state["fields"], "model_name": state["model"]})  # type: ignore[misc]


def _pruned(found: NodeWithScore, pruned: PrunedText) -> FoundNode:
    if not pruned.text:
        return scored_again(found, found.node, found.score)
    # a deep copy: what it shared with the caller's node would change there
    node = found.node.model_copy(deep=True)
    node.set_content(pruned.text)
    node.metadata[SPANS] = [list(span) for span in pruned.spans]
    for hidden in (node.excluded_embed_metadata_keys, node.excluded_llm_metadata_keys):
        hidden.append(SPANS)
    # the window that was found is a place in the text before
    return scored_again(found, node, found.score).model_copy(update={"span": None})
