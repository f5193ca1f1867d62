"""A LlamaIndex node parser for Korean texts, measured in the tokens of the model that will read the nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.node_parser import NodeParser
from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import BaseNode, Document, MetadataMode, TextNode
from llama_index.core.utils import get_tqdm_iterable

from korag.checkpoints.presets import DEFAULT_COLBERT
from korag.checks import reject_unknown
from korag.collection.local.arguments import EncoderLike
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.splitting import Chunk, Splitter
from korag.splitting.finding import SentenceRule
from korag.splitting.splitter import SplitterKind

HEADINGS = "headings"
"""Metadata key of the headings of a node, in one line: LlamaIndex puts it before the text that is embedded."""
_FILES = ("file_name", "file_path")


class KoNodeParser(NodeParser):
    """Splits Korean statutes, Markdown, HTML, tables, code and prose where their readers would.

    >>> parser = KoNodeParser(model="mini-colbert")
    >>> index = KoColBERTIndex.from_documents(documents, model="mini-colbert", transformations=[parser])

    Nodes have the document's metadata, with ``headings``, and what the splitter knows of them, such as ``article`` and
    ``cites`` of a statute; of these, models are given the headings alone, before the text. Their ids, relationships and
    places in the text (``start_char_idx``, ``end_char_idx``) are those of LlamaIndex's own parsers. The metadata of a
    document that is embedded counts as part of each node.

    Attributes:
        model: Name of the model that will read the nodes.
        max_tokens: Tokens of a node at most, its embedded metadata included; None for as many as the model reads.
        splitter: ``"auto"``, ``"statutes"``, ``"markdown"``, ``"html"``, ``"table"``, ``"code"`` or ``"prose"``; see
            `korag.splitting.Splitter`.
        sentences: ``"rules"``, or ``"kiwi"`` (``pip install 'korag[kiwi]'``).
        title_key: Metadata key of the document's title, which becomes the outermost heading; None for none.
    """

    model: str = Field(default=DEFAULT_COLBERT, frozen=True, description="Name or path of the model.")
    max_tokens: int | None = Field(default=None, frozen=True, description="Tokens of a node at most.")
    splitter: SplitterKind = Field(default="auto", frozen=True, description="The splitter.")
    sentences: SentenceRule = Field(default="rules", frozen=True, description="How prose is divided.")
    title_key: str | None = Field(default=None, frozen=True, description="Metadata key of the document's title.")
    _splitter: Splitter = PrivateAttr()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(model={self.model!r}, max_tokens={self._splitter.size}, splitter={self.splitter!r})"
        )

    def __str__(self) -> str:
        return repr(self)

    def __init__(
        self,
        *,
        model: EncoderLike = DEFAULT_COLBERT,
        max_tokens: int | None = None,
        splitter: SplitterKind = "auto",
        sentences: SentenceRule = "rules",
        title_key: str | None = None,
        include_metadata: bool = True,
        include_prev_next_rel: bool = True,
        callback_manager: CallbackManager | None = None,
        id_func: Callable[[int, BaseNode], str] | None = None,
        **unknown: Any,
    ) -> None:
        """Checks the settings; of the model, the tokenizer is loaded at first use.

        Args:
            model: A name, a path, or a loaded encoder.
            max_tokens: Tokens of a node at most.
            splitter: The splitter.
            sentences: How prose is divided into sentences.
            title_key: Metadata key of the document's title.
            include_metadata: Nodes inherit the document's metadata.
            include_prev_next_rel: Nodes are linked to the ones before and behind them.
            callback_manager: LlamaIndex's callbacks.
            id_func: Makes the ids of nodes, from their number and document; None for random ones.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            InvalidArgumentError: If an argument breaks its rule.
        """
        unknown.pop("class_name", None)
        reject_unknown(self, unknown, list(type(self).model_fields))
        encoder = as_encoder(model)
        made = Splitter(encoder=encoder, max_tokens=max_tokens, splitter=splitter, sentences=sentences)
        fields: dict[str, Any] = {
            "model": _name(encoder),
            "max_tokens": max_tokens,
            "splitter": splitter,
            "sentences": sentences,
            "title_key": title_key,
            "include_metadata": include_metadata,
            "include_prev_next_rel": include_prev_next_rel,
            "callback_manager": callback_manager or CallbackManager([]),
            "id_func": id_func,
        }
        super().__init__(**fields)
        self._splitter = made

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoNodeParser"

    def __getstate__(self) -> dict[str, Any]:
        names = ("max_tokens", "splitter", "sentences", "title_key", "include_metadata", "include_prev_next_rel")
        fields = {name: getattr(self, name) for name in (*names, "id_func")}
        return {"fields": fields, "encoder": self._splitter.encoder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(model=state["encoder"], **state["fields"])  # type: ignore[misc]

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:  # noqa: FBT001,FBT002 (LlamaIndex's)
        made: list[BaseNode] = []
        for node in get_tqdm_iterable(nodes, show_progress, "Parsing nodes"):
            chunks = self._chunks(node)
            parts = build_nodes_from_splits([chunk.text for chunk in chunks], node, id_func=self.id_func)
            for part, chunk in zip(parts, chunks, strict=True):
                _describe(part, chunk)
            made += parts
        return made

    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]) -> list[BaseNode]:
        places = [(node.start_char_idx, node.end_char_idx) for node in nodes if isinstance(node, TextNode)]
        found = super()._postprocess_parsed_nodes(nodes, parent_doc_map)
        # LlamaIndex looks for the text of a node in its document, where it may stand several times.
        for node, place in zip((node for node in found if isinstance(node, TextNode)), places, strict=True):
            node.start_char_idx, node.end_char_idx = place
        return found

    def _chunks(self, node: BaseNode) -> list[Chunk]:
        metadata: Mapping[str, Any] = node.metadata
        named = next((metadata[key] for key in _FILES if isinstance(metadata.get(key), str | os.PathLike)), None)
        title = None if self.title_key is None else metadata.get(self.title_key)
        shown = node.get_metadata_str(mode=MetadataMode.EMBED) if self.include_metadata else ""
        return self._splitter.split(
            node.get_content(metadata_mode=MetadataMode.NONE),
            filename=named,
            title=title if isinstance(title, str) else None,
            before=f"{shown}\n{HEADINGS}: \n",
        )


def _name(encoder: Encoder[Any]) -> str:
    return str(encoder.load_arguments.get("model") or encoder.model_name)


def _describe(node: TextNode, chunk: Chunk) -> None:
    """Adds what is known of a chunk to its node; models and language models are given the headings alone."""
    own = dict(chunk.metadata)
    if chunk.breadcrumb:
        own[HEADINGS] = chunk.breadcrumb
    hidden = [name for name in own if name != HEADINGS]
    node.metadata = own
    node.excluded_embed_metadata_keys = list(dict.fromkeys([*node.excluded_embed_metadata_keys, *hidden]))
    node.excluded_llm_metadata_keys = list(dict.fromkeys([*node.excluded_llm_metadata_keys, *hidden]))
    node.start_char_idx, node.end_char_idx = chunk.start, chunk.end
