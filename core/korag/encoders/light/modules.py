"""The modules of a light model: each takes features and adds to them, as in sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from korag.encoders.base import Task
from korag.encoders.light.modernbert import ModernBert, ModernBertTerms
from korag.encoders.light.tokenizer import Tokenizer

Features = dict[str, Any]
"""``input_ids``, ``attention_mask`` and what the modules have made of them."""


class LightModel(nn.Sequential):
    """A chain of modules, like a `SentenceTransformer`, `SparseEncoder` or `MultiVectorEncoder`."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the first module."""
        return self._first.tokenizer

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **settings: Any) -> Features:
        """Tokenizes texts; see `Transformer.preprocess`."""
        return self._first.preprocess(inputs, prompt, **settings)

    def token_rows(
        self, inputs: Sequence[str], prompt: str | None, task: Task
    ) -> tuple[list[NDArray[np.int32]], list[int]]:
        """The first half of `preprocess`; see `Transformer.token_rows`."""
        return self._first.token_rows(inputs, prompt, task)

    def collate(self, rows: Sequence[NDArray[np.int32]], task: Task) -> Features:
        """The second half of `preprocess`; see `Transformer.collate`."""
        return self._first.collate(rows, task)

    @property
    def _first(self) -> Transformer:
        return cast("Transformer", self[0])

    def forward(self, input: Features, task: Task = "document") -> Features:
        """Runs all modules."""
        features = input
        for module in self:
            features = module(features, task) if isinstance(module, MultiVectorMask) else module(features)
        return features


class Transformer(nn.Module):
    """Texts to token states, or to scores of the vocabulary for each token.

    Args:
        model: The backbone.
        tokenizer: Its tokenizer.
        lengths: Tokens after which texts are truncated, by task.
        expands: Fill queries up to their length with mask tokens, which see the others but are not seen.
    """

    module_output_name = "token_embeddings"

    def __init__(
        self, model: ModernBert | ModernBertTerms, tokenizer: Tokenizer, lengths: Mapping[Task, int], *, expands: bool
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.query_length, self.document_length = lengths["query"], lengths["document"]
        self.query_expansion = {"strategy": "fixed", "length": self.query_length} if expands else None

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, task: Task = "document") -> Features:
        """Tokenizes texts, each with a prompt before it."""
        return self.collate(self.token_rows(inputs, prompt, task)[0], task)

    def token_rows(
        self, inputs: Sequence[str], prompt: str | None, task: Task
    ) -> tuple[list[NDArray[np.int32]], list[int]]:
        """Returns the tokens of each text, truncated, and how many there were before; `collate` makes batches of them.

        Args:
            inputs: The texts.
            prompt: Stands before each of them.
            task: Queries or documents.
        """
        length = self.query_length if task == "query" else self.document_length
        tokens = self.tokenizer([(prompt or "") + text for text in inputs], truncation=True, max_length=length)
        rows = [np.array(row, np.int32) for row in tokens["input_ids"]]
        return rows, tokens.whole_lengths(self.tokenizer.added_tokens)

    def collate(self, rows: Sequence[NDArray[np.int32]], task: Task) -> Features:
        """Makes a batch of rows of tokens."""
        expands = task == "query" and self.query_expansion is not None
        width = self.query_length if expands else max(map(len, rows))
        filler = self.tokenizer.mask_token_id if expands else self.tokenizer.pad_token_id
        ids = np.full((len(rows), width), filler, np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        sizes = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(width) < sizes[:, None]).long()
        expansion = {"query_expansion_positions": mask == 0} if expands else {}
        return {"input_ids": torch.from_numpy(ids), "attention_mask": mask, **expansion}

    def forward(self, features: Features) -> Features:
        """Runs the backbone."""
        features["token_embeddings"] = self.model(features["input_ids"], features["attention_mask"])
        return features


class Pooling(nn.Module):
    """The mean of a text's token states, prompt and special tokens included."""

    def forward(self, features: Features) -> Features:
        """Shape: (texts, hidden)."""
        states = features["token_embeddings"]
        mask = features["attention_mask"].unsqueeze(-1).to(states.dtype)
        features["sentence_embedding"] = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return features


class Dense(nn.Module):
    """A projection of token states.

    Args:
        weight: Shape: (dim, hidden).
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.linear.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, features: Features) -> Features:
        """Shape: (texts, tokens, dim)."""
        features["token_embeddings"] = self.linear(features["token_embeddings"])
        return features


class MultiVectorMask(nn.Module):
    """Leaves in the mask what is compared: of a document no skipped tokens, of a query also what fills it up.

    Args:
        skipped: Vocabulary ids.
    """

    def __init__(self, skipped: Sequence[int]) -> None:
        super().__init__()
        self._skipped = torch.tensor(skipped, dtype=torch.long)

    def forward(self, features: Features, task: Task = "document") -> Features:
        """Shape: (texts, tokens)."""
        mask = features["attention_mask"].bool()
        if task == "query":
            mask = mask | features.get("query_expansion_positions", torch.zeros_like(mask))
        else:
            mask = mask & ~torch.isin(features["input_ids"], self._skipped)
        features["attention_mask"] = mask
        return features


class SpladePooling(nn.Module):
    """log(1 + relu(score)) of each term, the greatest over a text's tokens.

    Args:
        vocabulary: Number of terms.
    """

    pooling_strategy, activation_function = "max", "relu"

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding_dimension = vocabulary

    def forward(self, features: Features) -> Features:
        """Shape: (texts, vocabulary)."""
        scores = features["token_embeddings"].relu() * features["attention_mask"].unsqueeze(-1)
        features["sentence_embedding"] = scores.amax(1).log1p()
        return features


class Normalize(nn.Module):
    """Scales vectors to unit length.

    Args:
        name: Of the vectors among the features.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, features: Features) -> Features:
        """Same shape."""
        features[self._name] = functional.normalize(features[self._name], dim=-1)
        return features
