"""sentence-transformers 5.3, in an environment of PyLate, with the interface of 6.2: what encoding needs of it.

What 5.3 has differently, and what is made of it here:

- ``tokenize`` strips texts, and takes no prompt, task or length; 6.2 has ``preprocess``, which does not strip.
- A backbone has no lengths of its own for queries and documents, and no query expansion.
- Only the Router gets to know the task.
- There is no class for late interaction; PyLate's `ColBERT` reads the folder, and its modules run in ours.
- A `CrossEncoder` has no modules, and returns what transformers returns.
- Some arguments and methods have other names.
"""

# mypy: ignore-errors
# (it reads the newest release; `make pylate-env` runs this)

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import sentence_transformers as st
import torch
from sentence_transformers.models import Dense, Normalize, Pooling, Router, StaticEmbedding, Transformer
from sentence_transformers.sparse_encoder.models import MLMTransformer

from korag.checkpoints.routes import find_route
from korag.encoders.releases import check_newest
from korag.errors import MissingDependencyError

__all__ = ["Dense", "Normalize", "Pooling", "StaticEmbedding"]


class _Interface:
    """The interface of 6.2, before a class of 5.3."""

    def __init__(self, *arguments: Any, processor_kwargs: dict[str, Any] | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords | ({"tokenizer_kwargs": processor_kwargs} if processor_kwargs else {}))
        for module in self.modules():
            if is_backbone(module) and not hasattr(module, "query_expansion"):
                module.query_length = module.document_length = module.query_expansion = None
                module.module_output_name = "token_embeddings"
                module.preprocess = partial(tokenize, module)
                object.__setattr__(module, "model", module.auto_model)  # its name in 6.2; registered once
            if isinstance(module, Router):
                module.route_mappings = {}

    def preprocess(
        self, inputs: list[str], prompt: str | None = None, *, task: str | None = None, max_length: int | None = None
    ) -> dict[str, Any]:
        """Tokenizes texts."""
        first: Any = self[0]
        module = first.sub_modules[_route(first, task)][0] if isinstance(first, Router) else first
        texts = [(prompt or "") + text for text in inputs]
        if not is_backbone(module):
            own = getattr(module, "preprocess", None) or module.tokenize
            return dict(own(texts))
        features = tokenize(module, texts, task=task, max_length=max_length)
        if prompt:
            features["prompt_length"] = _prompt_length(module, prompt)
        return features

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        """Runs the modules."""
        for module in self:
            if isinstance(module, Router):
                features = module(features, task=_route(module, task))
            else:
                features = module(features, **({"task": task} if isinstance(module, MultiVectorMask) else {}))
        return features

    def _load_module_class_from_ref(self, class_ref: str, *arguments: Any) -> Any:
        if class_ref.endswith(".StaticEmbedding"):
            return _Table
        return super()._load_module_class_from_ref(class_ref, *arguments)


class SentenceTransformer(_Interface, st.SentenceTransformer):
    """A dense model."""


class SparseEncoder(_Interface, st.SparseEncoder):
    """A sparse model."""


class MultiVectorEncoder(_Interface, st.SentenceTransformer):
    """A late-interaction model, which 5.3 has no class for."""


class CrossEncoder(st.CrossEncoder):
    """A cross-encoder. It is its own only module."""

    module_output_name = "scores"
    query_expansion = None

    def __init__(self, *arguments: Any, processor_kwargs: dict[str, Any], **keywords: Any) -> None:
        super().__init__(*arguments, tokenizer_kwargs=processor_kwargs, **keywords)
        self.processing_kwargs: dict[str, Any] = {}
        self.auto_model = self.model

    def __getitem__(self, index: int) -> Any:
        return self

    @property
    def max_seq_length(self) -> int:
        """Longest pair in tokens."""
        return int(self.max_length)

    @max_seq_length.setter
    def max_seq_length(self, length: int) -> None:
        self.max_length = length

    def preprocess(self, pairs: list[tuple[str, str]], prompt: str | None = None) -> dict[str, Any]:
        """Tokenizes pairs; a prompt stands before the first text of each."""
        columns = [(prompt or "") + query for query, _ in pairs], [text for _, text in pairs]
        return dict(self.tokenizer(*columns, padding=True, truncation="longest_first", return_tensors="pt"))

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Returns the logits as scores."""
        return {"scores": self.model(**features).logits}


class MultiVectorMask(torch.nn.Module):
    """Puts the mask of tokens that are scored in place of the one that the backbone attended to.

    Args:
        skipped: Vocabulary ids of which documents get no vector.
    """

    def __init__(self, skipped: list[int]) -> None:
        super().__init__()
        self._skipped = skipped

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        """Returns the features with the mask."""
        kept = features["attention_mask"].bool()
        if task == "query":
            if "query_expansion_positions" in features:
                kept = kept | features["query_expansion_positions"]
        elif self._skipped:
            ids = features["input_ids"]
            kept = kept & ~torch.isin(ids, torch.tensor(self._skipped, device=ids.device))
        return features | {"attention_mask": kept}


class TokenProjection(Dense):
    """A linear layer for token vectors; that of 5.3 is for vectors of texts."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Returns the features with projected token vectors."""
        return features | {"token_embeddings": self.activation_function(self.linear(features["token_embeddings"]))}


class TokenNormalize(torch.nn.Module):
    """Scales token vectors to unit length."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Returns the features with unit vectors."""
        vectors = torch.nn.functional.normalize(features["token_embeddings"], p=2, dim=-1)
        return features | {"token_embeddings": vectors}


class _Table(StaticEmbedding):
    """Reads the files of static embeddings."""

    @classmethod
    def load(cls, model_name_or_path: str, **arguments: Any) -> Any:
        """See `newest.load_table`; of a table with a further one, 5.3 would read only one and go on."""
        places = {key: value for key, value in arguments.items() if key in ("subfolder", "local_files_only")}
        tensors = cls.load_torch_weights(model_name_or_path=model_name_or_path, **places)
        if {"mapping", "weights"} & tensors.keys():
            check_newest(
                "토큰별 가중치나 공유된 행이 있는 model2vec 모델에는",
                "A model2vec model with weights per token or shared rows needs",
            )
        return super().load(model_name_or_path, **arguments)


def load_table(folder: Path) -> StaticEmbedding:
    """See `newest`."""
    return _Table.load(str(folder))


def load_late_interaction(
    folder: Path, marks: tuple[str, str], *, processor_kwargs: dict[str, Any], **arguments: Any
) -> Any:
    """See `newest`. PyLate reads the folder; its marks stand before texts as other prompts do, as in 6.2.

    Raises:
        MissingDependencyError: If PyLate is not installed.
    """
    try:
        from pylate.models import ColBERT
    except ModuleNotFoundError as error:
        if error.name != "pylate":
            raise
        raise MissingDependencyError(
            "sentence-transformers 5.3에서 late interaction 모델을 불러오려면 PyLate가 필요합니다. 다음 명령으로 "
            "설치하세요: pip install pylate, 또는 pip install -U 'sentence-transformers>=6.2'",
            "With sentence-transformers 5.3, late-interaction models need PyLate. Install it with: pip install pylate, "
            "or: pip install -U 'sentence-transformers>=6.2'",
        ) from error

    # without marks, which PyLate would otherwise make up where there are none
    loaded = ColBERT(
        str(folder), query_prefix="", document_prefix="", tokenizer_kwargs=processor_kwargs or None, **arguments
    )
    transformer, tokenizer = loaded[0], loaded.tokenizer
    _keep_whole(tokenizer, marks)
    ids = tokenizer.convert_tokens_to_ids(loaded.skiplist_words)
    skipped = [token for token in ids if token is not None and token != tokenizer.unk_token_id]
    projections = [module for module in loaded if isinstance(module, Dense)]
    modules = [transformer, *projections, MultiVectorMask(skipped), TokenNormalize()]
    model = MultiVectorEncoder(modules=modules, device=str(loaded.device), prompts=dict(loaded.prompts))
    transformer.document_length = loaded.document_length
    if loaded.do_query_expansion:
        attend, length = bool(loaded.attend_to_expansion_tokens), loaded.query_length
        transformer.query_expansion = {"strategy": "fixed", "attend": attend, "length": length}
    else:
        transformer.query_length = loaded.query_length
    return model


def _keep_whole(tokenizer: Any, marks: tuple[str, str]) -> None:
    """Makes a tokenizer take marks in texts, such as ``"[Q] "``, as the tokens that it has for them."""
    for mark in marks:
        token = next((each for each in (mark, *mark.split()[:1]) if each in tokenizer.get_vocab()), None)
        if token is not None and tokenizer.tokenize(token) != [token]:
            from transformers import AddedToken

            tokenizer.add_tokens([AddedToken(token, normalized=False, special=True)], special_tokens=True)


def adapter_backbone(
    base: Path,
    tokenizer: Path,
    settings: dict[str, Any],
    max_length: int | None,
    *,
    model_kwargs: dict[str, Any],
    processor_kwargs: dict[str, Any],
    config_kwargs: dict[str, Any],
) -> Any:
    """See `newest`."""
    return Transformer(
        str(base),
        max_seq_length=max_length,
        model_args=model_kwargs,
        tokenizer_args=processor_kwargs,
        config_args=config_kwargs,
        do_lower_case=bool(settings.get("do_lower_case")),
        tokenizer_name_or_path=str(tokenizer),
    )


def replace_backbone(transformer: Any, backbone: Any) -> None:
    """See `newest`."""
    transformer.auto_model = backbone


def is_backbone(module: Any) -> bool:
    """See `newest`."""
    return isinstance(module, Transformer | MLMTransformer | CrossEncoder)


def tokenize(
    transformer: Any, texts: list[str], *, task: str | None = None, max_length: int | None = None
) -> dict[str, Any]:
    """Tokenizes texts for one module.

    Args:
        transformer: The module.
        texts: The texts, prompts included.
        task: Queries or documents; None for neither.
        max_length: Longest text in tokens; None for the module's own.
    """
    expansion = transformer.query_expansion if task == "query" else None
    lengths = {"query": transformer.query_length, "document": transformer.document_length}
    limit = expansion["length"] if expansion else max_length or lengths.get(str(task)) or transformer.max_seq_length
    tokenizer = transformer.tokenizer
    features = dict(
        tokenizer(
            [text.lower() for text in texts] if transformer.do_lower_case else texts,
            padding="max_length" if expansion else True,
            truncation="longest_first",
            max_length=limit,
            return_tensors="pt",
        )
    )
    if expansion:
        features["query_expansion_positions"] = added = features["attention_mask"] == 0
        features["input_ids"] = features["input_ids"].masked_fill(added, tokenizer.pad_token_id)  # PyLate's: the mask
        if expansion["attend"]:
            features["attention_mask"] = torch.ones_like(features["attention_mask"])
    return features


def embedding_dimension(module: Any) -> int:
    """See `newest`."""
    return int(module.get_word_embedding_dimension())


def project_tokens(weight: Any, bias: Any = None) -> Dense:
    """See `newest`."""
    outputs, inputs = weight.shape
    return TokenProjection(
        inputs, outputs, bias=bias is not None, activation_function=None, init_weight=weight, init_bias=bias
    )


def normalize_tokens() -> TokenNormalize:
    """See `newest`."""
    return TokenNormalize()


def _route(router: Any, task: str | None) -> Any:
    return find_route(task, router.sub_modules) if task else router.default_route


def _prompt_length(transformer: Any, prompt: str) -> int:
    """Returns the tokens of a prompt, without the special token that ends every text."""
    tokenizer = transformer.tokenizer
    ids = tokenizer(prompt)["input_ids"]
    return len(ids) - (ids[-1] in tokenizer.all_special_ids)
