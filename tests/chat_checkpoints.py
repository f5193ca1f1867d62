"""A small random Qwen3 that scores pairs by its answer, yes or no, as sentence-transformers saves such rerankers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sentences import DOCUMENTS
from transformers import AutoConfig, PreTrainedTokenizerFast

TEMPLATE = """\
{%- set task = messages | selectattr("role", "eq", "system") | map(attribute="content") | first \
| default("질문에 답이 되는 문서인지 판단하세요") -%}
{%- set question = messages | selectattr("role", "eq", "query") | map(attribute="content") | first -%}
{%- set passage = messages | selectattr("role", "eq", "document") | map(attribute="content") | first -%}
<|im_start|>system
문서가 질문에 맞는지 yes 또는 no로만 답하세요.<|im_end|>
<|im_start|>user
<Instruct>: {{ task }}
<Query>: {{ question }}
<Document>: {{ passage }}<|im_end|>
<|im_start|>assistant
<think>

</think>


"""
"""Our own words in the form of Qwen3-Reranker's template, which KURE-Reranker-base has too."""
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's rule for splitting texts into words."""
LENGTH = 400


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer like Qwen's, trained on a few sentences."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    words = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_SPLIT), "isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words.pre_tokenizer = pre_tokenizers.Sequence([split, letters])
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=letters.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator([*DOCUMENTS, TEMPLATE, *["yes\nno"] * 9], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=LENGTH)
    made.pad_token, made.eos_token = "<|endoftext|>", "<|im_end|>"
    return made


def qwen(folder: Path, auto: Any, **settings: Any) -> PreTrainedTokenizerFast:
    """Fills a folder with a random Qwen3 and its tokenizer, and returns the latter."""
    import torch

    words = qwen_tokenizer()
    config = AutoConfig.for_model(
        "qwen3", vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=2 * LENGTH,
        initializer_range=0.15, eos_token_id=2, **{"tie_word_embeddings": True, "pad_token_id": 0, **settings},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(7)
        auto.from_config(config).eval().save_pretrained(folder)
    words.save_pretrained(folder)
    return words


def chat_cross_encoder(
    folder: Path,
    *,
    template: str | None = TEMPLATE,
    kind: str = "flat",
    one_logit: bool = False,
    tied: bool = True,
    activation: Any = None,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """KURE-Reranker-base's layout: a causal model, LogitScore, a chat template, no activation.

    Args:
        folder: Becomes the model.
        template: The chat template; None for a model that reads the two texts as they are.
        kind: Form of the messages, ``"flat"`` or ``"structured"``.
        one_logit: The score is the logit of one answer, as zerank-2's is, not the difference of two.
        tied: The model's answers have the weights of its words, and no weights of their own.
        activation: Of the score; None for none.
        options: Of the Transformer module.
        settings: Of the `CrossEncoder`.
    """
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore
    from torch import nn
    from transformers import AutoModelForCausalLM

    logits = {"method": "forward", "method_output_name": "logits"}
    modalities = {"text": logits} | ({} if template is None else {"message": {**logits, "format": kind}})
    with tempfile.TemporaryDirectory() as place:
        words = qwen(Path(place), AutoModelForCausalLM, tie_word_embeddings=tied)
        first = Transformer(
            place,
            transformer_task="text-generation",
            modality_config=modalities,
            module_output_name="causal_logits",
            **(options or {}),
        )
    first.tokenizer.chat_template = template
    yes, no = words.convert_tokens_to_ids(["yes", "no"])
    model = CrossEncoder(
        modules=[first, LogitScore(yes, None if one_logit else no)],
        activation_fn=activation or nn.Identity(),
        device="cpu",
        **settings,
    )
    model.save_pretrained(str(folder), create_model_card=False)
