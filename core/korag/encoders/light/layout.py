"""Recognizes a folder whose model `korag.encoders.light` computes exactly; any doubt is a no."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.files import model_files
from korag.checkpoints.rules import (
    Check,
    Rules,
    broken_rules,
    fields,
    is_count,
    is_flag,
    is_number,
    is_text,
    is_texts,
    list_of,
    one_of,
    or_none,
    values,
)
from korag.checkpoints.settings import FolderSettings, read_json, read_transformer_settings
from korag.errors import KoragError

_MOST = 2**24
_size, _text = is_count(_MOST), or_none(is_text)


def _anything(_: object) -> bool:
    return True


def _is_true(value: object) -> bool:
    return value is True


def _is_false(value: object) -> bool:
    return value is False


_WITHOUT_EFFECT = (
    "_name_or_path", "architectures", "chunk_size_feed_forward", "classifier_dropout", "classifier_pooling",
    "deterministic_flash_attn", "dtype", "global_attn_every_n_layers", "id2label", "initializer_cutoff_factor",
    "initializer_range", "label2id", "max_position_embeddings", "problem_type", "return_dict",
    "sparse_pred_ignore_index", "torch_dtype", "transformers_version", "attention_dropout", "embedding_dropout",
    "mlp_dropout", "bos_token_id", "cls_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
)  # fmt: skip
"""In ``config.json``: for training, for other tasks, or read elsewhere."""
_rope = fields({"rope_type": one_of("default"), "rope_theta": is_number})
_ROPE = {"rope_type", "rope_theta"}
_BACKBONE: Rules = {
    "model_type": one_of("modernbert"),
    "hidden_activation": one_of("gelu"),
    "classifier_activation": one_of("gelu"),
    "vocab_size": _size,
    "hidden_size": _size,
    "intermediate_size": _size,
    "num_hidden_layers": _size,
    "num_attention_heads": _size,
    "local_attention": _size,
    "norm_eps": is_number,
    "layer_types": list_of(one_of("full_attention", "sliding_attention")),
    "rope_parameters": fields({"full_attention": _rope, "sliding_attention": _rope}),
    "decoder_bias": _is_true,
    "tie_word_embeddings": _is_true,
    **dict.fromkeys(_WITHOUT_EFFECT, _anything),
}
_NEEDED = (
    "model_type", "hidden_activation", "classifier_activation", "vocab_size", "hidden_size", "intermediate_size",
    "num_hidden_layers", "num_attention_heads", "local_attention", "norm_eps", "layer_types", "rope_parameters",
    "decoder_bias", "tie_word_embeddings",
)  # fmt: skip
_TOKENIZER: Rules = {
    "tokenizer_class": one_of("PreTrainedTokenizerFast", "TokenizersBackend"),
    "backend": one_of("tokenizers"),
    "is_local": is_flag,
    "local_files_only": is_flag,
    "model_max_length": is_number,
    **dict.fromkeys(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), is_text),
}
_COMMON: Rules = {
    "__version__": values(is_text),
    "prompts": values(is_text),
    "similarity_fn_name": _text,
}


@dataclass(frozen=True, kw_only=True)
class _Writing:
    """The way some releases of sentence-transformers write the models of a family.

    Attributes:
        kinds: The modules, by the last part of their class's name.
        transformer: Rules for ``sentence_bert_config.json``.
        model: Rules for ``config_sentence_transformers.json``.
        modules: Rules for the ``config.json`` of each later module; all keys are needed: what is absent means something
            else to sentence-transformers.
        needed: Keys of the first two that are needed.
    """

    kinds: tuple[tuple[str, ...], ...]
    transformer: Rules
    model: Rules
    modules: Mapping[str, Rules]
    needed: tuple[str, ...] = ()


def _new_transformer(task: str, output: str) -> Rules:
    return {
        "transformer_task": one_of(task),
        "modality_config": fields(
            {"text": fields({"method": one_of("forward"), "method_output_name": one_of(output)})}
        ),
        "module_output_name": one_of("token_embeddings"),
    }


def _new_names(name: str) -> Rules:
    return {"module_input_name": one_of(name), "module_output_name": one_of(name)}


_OLD: Rules = {"max_seq_length": _size}
_SPLADE: Rules = {"pooling_strategy": one_of("max"), "activation_function": one_of("relu")}
_DENSE: Rules = {
    "in_features": _size,
    "out_features": _size,
    "bias": _is_false,
    "activation_function": one_of("torch.nn.modules.linear.Identity"),
}
_POOLED = (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize"))
_EXPANSION: Rules = {"strategy": one_of("fixed"), "length": _size}  # with mask tokens, which the others do not see


def _late_interaction(**query: Check) -> _Writing:
    return _Writing(
        kinds=(("Transformer", "Dense", "MultiVectorMask", "Normalize"),),
        transformer={**_new_transformer("feature-extraction", "last_hidden_state"), "document_length": _size, **query},
        model={**_COMMON, "model_type": one_of("MultiVectorEncoder")},
        modules={
            "Dense": {**_DENSE, **_new_names("token_embeddings")},
            "MultiVectorMask": {"skiplist_words": is_texts, "skiplist_tasks": one_of(["document"])},
            "Normalize": _new_names("token_embeddings"),
        },
        needed=("transformer_task", "modality_config", "module_output_name", "document_length", *query),
    )


_WRITINGS: Mapping[str, tuple[_Writing, ...]] = {
    "dense": (
        _Writing(
            kinds=_POOLED,
            transformer=_OLD,
            model={**_COMMON, "model_type": one_of("SentenceTransformer")},
            modules={
                "Pooling": {
                    "word_embedding_dimension": _size,
                    "pooling_mode_mean_tokens": _is_true,
                    "include_prompt": _is_true,
                },
                "Normalize": {},
            },
        ),
        _Writing(
            kinds=_POOLED,
            transformer=_new_transformer("feature-extraction", "last_hidden_state"),
            model={**_COMMON, "model_type": one_of("SentenceTransformer")},
            modules={
                "Pooling": {"embedding_dimension": _size, "pooling_mode": one_of("mean"), "include_prompt": _is_true},
                "Normalize": _new_names("sentence_embedding"),
            },
            needed=("transformer_task", "modality_config", "module_output_name"),
        ),
    ),
    "sparse": (
        _Writing(
            kinds=(("MLMTransformer", "SpladePooling"),),
            transformer=_OLD,
            model={**_COMMON, "model_type": one_of("SparseEncoder")},
            modules={"SpladePooling": {**_SPLADE, "word_embedding_dimension": _size}},
        ),
        _Writing(
            kinds=(("MLMTransformer", "SpladePooling"),),
            transformer=_new_transformer("fill-mask", "logits"),
            model={**_COMMON, "model_type": one_of("SparseEncoder")},
            modules={"SpladePooling": {**_SPLADE, "embedding_dimension": _size}},
            needed=("transformer_task", "modality_config", "module_output_name"),
        ),
    ),
    "late_interaction": (
        _Writing(
            kinds=(("Transformer", "Dense"),),
            transformer=_OLD,
            model={
                **_COMMON,
                "model_type": one_of("ColBERT"),
                "query_prefix": is_text,
                "document_prefix": is_text,
                "query_length": _size,
                "document_length": _size,
                "do_query_expansion": is_flag,
                "attend_to_expansion_tokens": _is_false,
                "skiplist_words": is_texts,
            },
            modules={"Dense": _DENSE},
            needed=("query_prefix", "document_prefix", "skiplist_words", "attend_to_expansion_tokens"),
        ),
        _late_interaction(query_expansion=fields(_EXPANSION)),
        _late_interaction(query_length=_size),  # without expansion
    ),
}
"""By family: by releases before 6 (and PyLate), and since."""
_FILES = frozenset({
    "config.json", "config_sentence_transformers.json", "matryoshka_heads.safetensors", "model.safetensors",
    "modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
})  # fmt: skip
"""All that a folder may have besides texts."""
_OTHERS = frozenset({"README.md", "LICENSE", ".gitattributes"})


@dataclass(frozen=True)
class Layout:
    """Settings of a light model.

    Attributes:
        folder: The model folder.
        backbone: ``config.json``.
        modules: Kinds of its modules, by the last part of their class's name.
        tokens: Special tokens by their role: ``pad_token`` …
        skipped: Tokens of documents that a late-interaction model leaves out.
        prefixes: What it marks queries and documents with.
        expands: Fill queries with mask tokens.
        projection: Weights of a late-interaction model's Dense module, which heads may stand in for.
        out_features: Its size.
    """

    folder: Path
    backbone: Mapping[str, Any]
    modules: tuple[str, ...]
    tokens: Mapping[str, str]
    skipped: tuple[str, ...]
    prefixes: tuple[str, ...]
    expands: bool
    projection: Path
    out_features: int | None


def read_layout(checkpoint: Checkpoint, folder: Path) -> Layout | None:
    """Returns the settings of a model that is understood to the last one; None for any other.

    Args:
        checkpoint: Description of the model.
        folder: With its weights.
    """
    if checkpoint.base is not None or checkpoint.head is not None or checkpoint.bare_pooling is not None:
        return None
    if checkpoint.max_active_dims is not None:
        return None
    with contextlib.suppress(KoragError):  # loading it otherwise says what is wrong
        return _read(checkpoint, folder)
    return None


def _read(checkpoint: Checkpoint, folder: Path) -> Layout | None:
    settings = FolderSettings(folder)
    kinds = tuple(name.rpartition(".")[2] for name in settings.module_types)
    if not kinds or settings.modules[0]["path"]:
        return None
    places = [str(module["path"]) for module in settings.modules[1:]]
    known = _FILES | {f"{place}/{name}" for place in places for name in ("config.json", "model.safetensors")}
    if {path.relative_to(folder.resolve()).as_posix() for path in model_files(folder)} - known - _OTHERS:
        return None
    backbone, tokenizer = read_json(folder / "config.json"), read_json(folder / "tokenizer_config.json")
    architecture = "ModernBertForMaskedLM" if checkpoint.family == "sparse" else "ModernBertModel"
    if backbone.get("architectures") != [architecture] or not all(name in backbone for name in _NEEDED):
        return None
    if any(next(broken_rules(*pair), None) for pair in ((backbone, _BACKBONE), (tokenizer, _TOKENIZER))):
        return None
    if not any(_is_written(settings, kinds, writing) for writing in _WRITINGS[checkpoint.family]):
        return None
    if any(backbone["rope_parameters"].get(kind, {}).keys() != _ROPE for kind in backbone["layer_types"]):
        return None
    if not all(name in tokenizer for name in ("tokenizer_class", "pad_token", "unk_token", "mask_token")):
        return None
    if len(backbone["layer_types"]) != backbone["num_hidden_layers"] or not _divides(backbone):
        return None
    later = dict(zip(kinds[1:], settings.module_settings, strict=True))
    said = later.get("MultiVectorMask", settings.model)
    return Layout(
        folder=folder,
        backbone=backbone,
        modules=kinds,
        tokens={name: token for name, token in tokenizer.items() if name.endswith("_token")},
        skipped=tuple(said.get("skiplist_words", ())),
        prefixes=tuple(settings.model[name] for name in ("query_prefix", "document_prefix") if name in settings.model),
        expands=checkpoint.family == "late_interaction" and _expands(settings),
        projection=folder / places[0] / "model.safetensors",
        out_features=settings.module_settings[0].get("out_features"),
    )


def _is_written(settings: FolderSettings, kinds: tuple[str, ...], writing: _Writing) -> bool:
    """Returns True if a folder's modules are written in a way whose every setting is known."""
    if kinds not in writing.kinds:
        return False
    transformer = read_transformer_settings(settings.folder)
    later = [(found, writing.modules[kind]) for kind, found in zip(kinds[1:], settings.module_settings, strict=True)]
    pairs = [(transformer, writing.transformer), (settings.model, writing.model), *later]
    return (
        not any(next(broken_rules(found, rules), None) for found, rules in pairs)
        and not any(rules.keys() - found.keys() for found, rules in later)
        and all(name in transformer or name in settings.model for name in writing.needed)
    )


def _expands(settings: FolderSettings) -> bool:
    """Returns True if queries are filled with mask tokens: by PyLate, unless the file says that they are not."""
    if "query_prefix" in settings.model:
        return bool(settings.model.get("do_query_expansion", True))
    return "query_expansion" in read_transformer_settings(settings.folder)


def _divides(backbone: Mapping[str, Any]) -> bool:
    """Returns True if every head gets an even number of dimensions, of which rotations take two."""
    return bool(backbone["hidden_size"] % (2 * backbone["num_attention_heads"]) == 0)
