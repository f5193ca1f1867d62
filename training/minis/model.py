"""The network shared by the three models, and the layout of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import ModernBertConfig, ModernBertForMaskedLM

from training.minis.config import (
    CLS,
    DOCUMENT_MARK,
    FIRST_PIECE,
    HEAD_DIMS,
    HIDDEN_SIZE,
    MASK,
    PAD,
    QUERY_LENGTH,
    QUERY_MARK,
    SEP,
    SKIPPED_WORDS,
    VOCAB_SIZE,
)

JUNK_TERM_BIAS = -100.0
"""Bias of meaningless terms (special tokens, bytes, punctuation), which no logit can offset."""
_CHUNKS = 3


def model_config() -> ModernBertConfig:
    """Returns the settings of the backbone: 3 layers of 192, the first with global attention."""
    return ModernBertConfig(  # type: ignore[call-arg]
        vocab_size=VOCAB_SIZE,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=3,
        global_attn_every_n_layers=3,
        local_attention=128,
        max_position_embeddings=2048,
        pad_token_id=PAD,
        cls_token_id=CLS,
        sep_token_id=SEP,
        bos_token_id=CLS,
        eos_token_id=SEP,
        attn_implementation="eager",  # its backward pass takes a third of the time of torch's fused attention
    )


def read_weights(work: Path, phase: str) -> dict[str, Tensor]:
    """Reads the weights of a finished phase."""
    weights: dict[str, Tensor] = torch.load(work / f"{phase}.pt", weights_only=True)
    return weights


class Mini(nn.Module):
    """A ModernBERT with a masked-language-model head (SPLADE), four projections (ColBERT) and mean pooling (dense).

    Args:
        tokenizer: The trained tokenizer; determines the tokens that MaxSim skips and the junk terms.
        initial: Folder with the initial ``embeddings.npy`` and ``term_bias.npy``; None to load weights later.

    Attributes:
        reduced_precision: Compute products in bfloat16; False at first.
    """

    skipped: Tensor
    junk: Tensor

    def __init__(self, tokenizer: Tokenizer, initial: Path | None) -> None:
        super().__init__()
        self.reduced_precision = False
        self.language_model = ModernBertForMaskedLM(model_config())
        self.projections = nn.ModuleDict({str(dim): nn.Linear(HIDDEN_SIZE, dim, bias=False) for dim in HEAD_DIMS})
        skipped = torch.zeros(VOCAB_SIZE, dtype=torch.bool)
        skipped[[token for word in SKIPPED_WORDS if (token := tokenizer.token_to_id(word)) is not None]] = True
        self.register_buffer("skipped", skipped, persistent=False)
        junk = [
            i < FIRST_PIECE or not any(c.isalnum() for c in tokenizer.id_to_token(i) or "") for i in range(VOCAB_SIZE)
        ]
        self.register_buffer("junk", torch.tensor(junk), persistent=False)
        with torch.no_grad():
            for dim in HEAD_DIMS:
                nn.init.orthogonal_(self.projection(dim).weight)
            # SPLADE starts from a token's nearest neighbours: itself first
            self.language_model.head.dense.weight.copy_(torch.eye(HIDDEN_SIZE))
            if initial is not None:
                rows = torch.from_numpy(np.load(initial / "embeddings.npy").astype(np.float32))
                self.language_model.model.embeddings.tok_embeddings.weight.copy_(rows)
                self.language_model.decoder.bias.copy_(torch.from_numpy(np.load(initial / "term_bias.npy")))

    @classmethod
    def start(cls, work: Path) -> Mini:
        """Returns an untrained model with the weights written by `training.minis.initialise`."""
        return cls(Tokenizer.from_file(str(work / "tokenizer.json")), work)

    @classmethod
    def load(cls, work: Path, phase: str) -> Mini:
        """Returns the model trained by a phase."""
        model = cls(Tokenizer.from_file(str(work / "tokenizer.json")), None)
        model.load_state_dict(read_weights(work, phase))
        return model.eval()

    def projection(self, dim: int) -> nn.Linear:
        """Returns ColBERT's projection to `dim` dimensions."""
        projection = self.projections[str(dim)]
        assert isinstance(projection, nn.Linear)  # noqa: S101 (for the type checker)
        return projection

    def hidden(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Runs the backbone in chunks of similar length, each padded only to its longest text.

        Args:
            tokens: Token ids. Shape: (n, length).
            mask: True for attended tokens. Shape: (n, length).

        Returns:
            Hidden states, zero beyond the longest text of a chunk. Shape: (n, length, hidden).
        """
        lengths = mask.sum(1)
        order = lengths.argsort(descending=True)
        parts = []
        for rows in order.chunk(_CHUNKS):
            longest = int(lengths[rows[0]])
            states = self.hidden_expanded(tokens[rows, :longest], mask[rows, :longest])
            parts.append(F.pad(states, (0, 0, 0, tokens.shape[1] - longest)))
        return torch.cat(parts)[order.argsort()]

    def hidden_expanded(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Runs the backbone over queries padded with mask tokens, whose states are used too.

        Args:
            tokens: Token ids. Shape: (n, length).
            mask: True for attended tokens: mask tokens attend to the query, nothing attends to them.
                Shape: (n, length).

        Returns:
            Hidden states. Shape: (n, length, hidden).
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.reduced_precision):
            output = self.language_model.model(input_ids=tokens, attention_mask=mask.long())
        states: Tensor = output.last_hidden_state.float()
        return states

    def term_bias(self) -> Tensor:
        """Returns the bias of every term, junk suppressed. Shape: (vocabulary,)."""
        bias: Tensor = self.language_model.decoder.bias
        return torch.where(self.junk, JUNK_TERM_BIAS, bias)

    def terms(self, hidden: Tensor, mask: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Returns SPLADE's weights, the maximum over tokens of log(1 + relu(logit)).

        Args:
            hidden: States of the backbone. Shape: (n, length, hidden).
            mask: True for tokens that are not padding. Shape: (n, length).
            chosen: Indices of the terms to compute; None for the whole vocabulary. Shape: (n_terms,).

        Returns:
            Weights. Shape: (n, n_terms).
        """
        states = self.language_model.head(hidden)
        terms = torch.arange(VOCAB_SIZE) if chosen is None else chosen
        with torch.autocast("cpu", torch.bfloat16, enabled=self.reduced_precision):
            logits = _MaxOverTokens.apply(states, self.language_model.decoder.weight, terms, mask)  # type: ignore[no-untyped-call]
        return torch.log1p(F.relu(logits + self.term_bias()[terms]))


def pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Returns the unit-length mean of the attended states. Shape: (n, hidden)."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


class _MaxOverTokens(torch.autograd.Function):
    """Maximum over tokens of (state · embedding) per term, without storing (tokens × vocabulary) logits.

    The backward pass recomputes the argmax only for the few terms with a gradient (log1p ∘ relu has none for the
    others), and updates only their states and embeddings.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, states: Tensor, embeddings: Tensor, terms: Tensor, mask: Tensor
    ) -> Tensor:
        ctx.save_for_backward(states, embeddings, terms, mask)
        rows = embeddings[terms]
        lengths = mask.sum(1).tolist()
        # float32 in autocast too, so that the gradients are
        return torch.stack([(states[i, :n] @ rows.T).amax(0) for i, n in enumerate(lengths)]).float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        states, embeddings, terms, mask = ctx.saved_tensors  # type: ignore[attr-defined]
        to_states, to_embeddings = torch.zeros_like(states), torch.zeros_like(embeddings)
        for i, n in enumerate(mask.sum(1).tolist()):
            active = gradient[i].nonzero().squeeze(1)
            numbers = terms[active]
            rows = embeddings[numbers]
            best = (states[i, :n] @ rows.T).argmax(0)
            # a small matrix and two products are much faster than index_add_ here
            routed = torch.zeros(n, len(active)).scatter_(0, best.unsqueeze(0), gradient[i, active].unsqueeze(0))
            to_states[i, :n] = routed @ rows
            to_embeddings[numbers] += routed.T @ states[i, :n]
        return to_states, to_embeddings, None, None


def lay_out_queries(texts: Sequence[list[int]], length: int = QUERY_LENGTH) -> tuple[Tensor, Tensor]:
    """Puts ``[CLS] [Q] … [SEP]`` around queries and pads them with mask tokens to the query length.

    Returns:
        Tokens, and the mask of attended ones. Shape of each: (n, query length).
    """
    tokens = _padded([[CLS, QUERY_MARK, *text[: length - 3], SEP] for text in texts], length)
    mask = tokens != PAD
    return tokens.masked_fill(~mask, MASK), mask


def lay_out_documents(texts: Sequence[list[int]], limit: int) -> tuple[Tensor, Tensor]:
    """Puts ``[CLS] [D] … [SEP]`` around documents of at most `limit` tokens.

    Returns:
        Tokens, and the mask of those that are not padding. Shape of each: (n, longest).
    """
    rows = [[CLS, DOCUMENT_MARK, *text[: limit - 3], SEP] for text in texts]
    tokens = _padded(rows, max(map(len, rows)))
    return tokens, tokens != PAD


def _padded(rows: Sequence[list[int]], length: int) -> Tensor:
    tokens = torch.full((len(rows), length), PAD)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    return tokens
