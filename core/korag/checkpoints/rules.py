"""Rules for the settings files of a model folder, checked before any library reads them.

sentence-transformers, transformers and peft take names of classes, methods, paths and loading options from these files.
Where a published model needs a choice, it is one of a closed list here; everything else must be switched off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from korag.checkpoints.files import IGNORED_FOLDERS
from korag.checkpoints.patterns import is_harmless
from korag.checkpoints.routes import is_router

Problem = tuple[str, object]
"""Where in a file something is not allowed, and the value there."""
Check = Callable[[Any], bool]
Rules = Mapping[str, Check]

_OFF: tuple[object, ...] = (None, False, "", [], {})
_LONGEST_TEXT = 100_000
LONGEST = 2**20
"""Tokens of a text."""
_MOST_EXPANSION = 8_192
"""Tokens that queries are filled up to: unlike a limit, a length that every query has."""
_MOST_COUNT = 2**16
"""Layers, heads, labels, experts: a list or a module for each is made before any weight is read."""
_MOST_MODULES = 64
_MOST_SIZE = 2**26
"""Other sizes: terms of a vocabulary, positions. What they allocate is bounded by `korag.encoders.budget`."""


# -- kinds of values ------------------------------------------------------------------------------------------


def is_text(value: object) -> bool:
    """A string of reasonable length."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def is_flag(value: object) -> bool:
    """True or False."""
    return isinstance(value, bool)


def is_number(value: object) -> bool:
    """An integer or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(most: int) -> Check:
    """A positive integer of at most `most`."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def is_texts(value: object) -> bool:
    """A list of strings."""
    return list_of(is_text)(value)


def list_of(check: Check) -> Check:
    """A list whose items all obey one rule."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def one_of(*choices: object) -> Check:
    """One of some values."""
    return lambda value: any(value == choice and type(value) is type(choice) for choice in choices)


def or_none(check: Check) -> Check:
    """None, or what `check` accepts."""
    return lambda value: value is None or check(value)


def either(*checks: Check) -> Check:
    """Anything that one of some checks accepts."""
    return lambda value: any(check(value) for check in checks)


def fields(rules: Rules) -> Check:
    """An object whose keys obey rules; any other key must be switched off."""
    return lambda value: isinstance(value, dict) and not [*broken_rules(value, rules)]


def values(check: Check) -> Check:
    """An object with any keys, all of whose values obey one rule."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def broken_rules(settings: Mapping[str, Any], rules: Rules) -> Iterator[Problem]:
    """Yields the keys whose value is not allowed."""
    for key, value in settings.items():
        if not (rules[key](value) if key in rules else any(value == off for off in _OFF)):
            yield key, value


# -- classes --------------------------------------------------------------------------------------------------

ACTIVATIONS = frozenset(
    f"torch.nn.modules.{module}.{name}"
    for module, names in {
        "linear": ("Identity",),
        "activation": (
            "CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "ReLU",
            "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh", "Tanhshrink",
        ),
    }.items()
    for name in names
)  # fmt: skip
"""Activations that are made without arguments and change each number by itself."""
_SHORT = {f"torch.nn.{name.rpartition('.')[2]}": name for name in ACTIVATIONS}
_MODULE = re.compile(
    r"sentence_transformers\.(?:(?:base|sentence_transformer|sparse_encoder|multi_vector_encoder|cross_encoder)\.)?"
    r"(?:models|modules)\.(?:[a-z_]+\.|[A-Z]\w+\.)?"
    r"(?:Transformer|MLMTransformer|Pooling|Dense|Normalize|LayerNorm|Dropout|StaticEmbedding|SpladePooling|"
    r"SparseAutoEncoder|CSRSparsity|SparseStaticEmbedding|IDF|MultiVectorMask|HierarchicalTokenPooling|LogitScore|Router|Asym)"
    r"|pylate\.models\.(?:Dense\.)?Dense"
)
"""Modules that only compute with what they have read from the folder."""


def is_activation(name: object) -> bool:
    """A torch activation that may be made by its name."""
    return isinstance(name, str) and (name in ACTIVATIONS or name in _SHORT)


def is_module(name: object) -> bool:
    """A class of sentence-transformers or PyLate that may be loaded by its name."""
    return isinstance(name, str) and _MODULE.fullmatch(name) is not None


def is_inner_path(path: object) -> bool:
    """A folder inside the model's own, from which models may be loaded."""
    if not isinstance(path, str) or "\\" in path or "\0" in path:
        return False
    parts = PurePosixPath(path).parts
    return not path.startswith("/") and ".." not in parts and not any(map(IGNORED_FOLDERS.fullmatch, parts))


# -- files ----------------------------------------------------------------------------------------------------


def check_modules(modules: Any) -> Iterator[Problem]:
    """Yields what ``modules.json`` must not say."""
    if not isinstance(modules, list) or len(modules) > _MOST_MODULES:
        yield "", "not a list of modules"
        return
    rules: Rules = {"idx": is_number, "name": is_text, "path": is_inner_path, "type": is_module, "kwargs": is_texts}
    for index, module in enumerate(modules):
        if not isinstance(module, dict) or not {"name", "path", "type"} <= module.keys():
            yield f"[{index}]", "not a module"
        else:
            yield from ((f"[{index}].{key}", value) for key, value in broken_rules(module, rules))


def _is_inner_module(name: object) -> bool:
    """A module, but no further Router: nested ones could each load the next twice."""
    return is_module(name) and not is_router(str(name))


def check_router(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what ``router_config.json`` must not say: further modules by name."""
    yield from broken_rules(settings, _ROUTER)


_ROUTE = re.compile(r"\((?:None|'\w{1,64}'), (?:None|'\w{1,64}'|\('\w{1,64}'(?:, '\w{1,64}')*,?\))\)")
"""A key of ``route_mappings``: the text of a tuple, which sentence-transformers parses as Python."""
_ROUTER: Rules = {
    "types": lambda types: (
        values(_is_inner_module)(types) and all(map(is_inner_path, types)) and len(types) <= _MOST_MODULES
    ),
    "structure": lambda routes: values(is_texts)(routes) and sum(map(len, routes.values())) <= _MOST_MODULES,
    "parameters": fields({
        "default_route": or_none(is_text), "allow_empty_key": is_flag,
        "route_mappings": lambda routes: values(is_text)(routes) and all(map(_ROUTE.fullmatch, routes)),
    }),
}  # fmt: skip
_EXPANSION: Rules = {
    "strategy": one_of("fixed", "min"), "attend": is_flag, "token": or_none(is_text),
    "length": is_count(_MOST_EXPANSION),
}  # fmt: skip
_METHOD: Rules = {
    "method": lambda name: is_text(name) and re.fullmatch("forward|get_[a-z]+_features", name) is not None,
    "method_output_name": either(is_text, is_texts, lambda value: value is None),
    "format": is_text,
}  # fmt: skip
_MODEL_OPTIONS: Rules = {
    "add_pooling_layer": is_flag, "attn_implementation": one_of("eager", "sdpa", "flash_attention_2"),
    "torch_dtype": one_of("auto", "float32", "float16", "bfloat16"),
    "dtype": one_of("auto", "float32", "float16", "bfloat16"), "use_safetensors": is_flag,
}  # fmt: skip
_TOKENIZER_OPTIONS: Rules = {
    "model_max_length": is_number, "padding_side": one_of("left", "right"), "truncation_side": one_of("left", "right"),
    "use_fast": is_flag, "do_lower_case": is_flag, "add_eos_token": is_flag, "add_bos_token": is_flag,
}  # fmt: skip
_CONFIG_OPTIONS: Rules = {
    "use_memory_efficient_attention": is_flag, "unpad_inputs": is_flag, "add_pooling_layer": is_flag,
    "is_causal": is_flag, "use_cache": is_flag,
}  # fmt: skip
_CALL_OPTIONS: Rules = {
    "padding": either(is_flag, one_of("longest")), "truncation": is_flag, "max_length": is_count(LONGEST),
    "padding_side": one_of("left", "right"), "add_special_tokens": is_flag,
}  # fmt: skip
_TEMPLATE_OPTIONS: Rules = {"add_generation_prompt": is_flag, "enable_thinking": is_flag, "restore_suffix": is_flag}
"""Not ``chat_template``, a program of its own, nor where its result goes."""
TRANSFORMER: Rules = {
    "max_seq_length": or_none(is_count(LONGEST)), "do_lower_case": or_none(is_flag),
    "transformer_task": one_of(
        "feature-extraction", "fill-mask", "sequence-classification", "text-generation", "retrieval"
    ),
    "modality_config": values(fields(_METHOD)), "module_output_name": is_text, "unpad_inputs": or_none(is_flag),
    "query_length": or_none(is_count(LONGEST)), "document_length": or_none(is_count(LONGEST)),
    "query_expansion": or_none(fields(_EXPANSION)),
    "processing_kwargs": fields({
        "text": fields(_CALL_OPTIONS), "common": fields({}), "chat_template": fields(_TEMPLATE_OPTIONS),
    }),
    "model_args": fields(_MODEL_OPTIONS), "model_kwargs": fields(_MODEL_OPTIONS),
    "tokenizer_args": fields(_TOKENIZER_OPTIONS), "processor_kwargs": fields(_TOKENIZER_OPTIONS),
    "config_args": fields(_CONFIG_OPTIONS), "config_kwargs": fields(_CONFIG_OPTIONS),
}  # fmt: skip
"""``sentence_bert_config.json``: sentence-transformers passes its keys on to transformers as they are."""

_SETTINGS: Rules = {
    "model_type": is_text, "prompts": or_none(values(or_none(is_text))), "default_prompt_name": or_none(is_text),
    "similarity_fn_name": or_none(is_text), "activation_fn": or_none(is_activation), "query_prefix": or_none(is_text),
    "document_prefix": or_none(is_text), "query_length": or_none(is_count(_MOST_EXPANSION)),
    "document_length": or_none(is_count(LONGEST)), "do_query_expansion": or_none(is_flag),
    "attend_to_expansion_tokens": or_none(is_flag), "attend_to_mask_tokens": or_none(is_flag),
    "skiplist_words": or_none(is_texts), "query_expansion": or_none(fields(_EXPANSION)),
    "truncate_dim": or_none(is_count(_MOST_SIZE)), "max_active_dims": or_none(is_count(_MOST_SIZE)),
}  # fmt: skip
_COLBERT: Rules = {
    "dim": is_count(_MOST_COUNT), "query_maxlen": is_count(_MOST_EXPANSION), "doc_maxlen": is_count(LONGEST),
    "query_token_id": is_text, "doc_token_id": is_text, "query_token": is_text, "doc_token": is_text,
}  # fmt: skip
_TOKENIZER: Rules = {
    "model_max_length": or_none(is_number), "pad_to_multiple_of": or_none(is_count(1_024)),
    "max_length": or_none(is_number), "stride": or_none(is_number), "tokenizer_class": or_none(is_text),
}  # fmt: skip
_ADAPTER: Rules = {
    "peft_type": one_of("LORA"), "task_type": or_none(is_text), "peft_version": is_text, "revision": or_none(is_text),
    "base_model_name_or_path": or_none(is_text), "inference_mode": is_flag, "bias": one_of("none", "all", "lora_only"),
    "r": is_count(_MOST_COUNT), "lora_alpha": is_number, "lora_dropout": is_number, "fan_in_fan_out": is_flag,
    "init_lora_weights": either(is_flag, one_of("gaussian", "eva", "olora", "pissa", "orthogonal")),
    "use_rslora": is_flag, "use_dora": is_flag, "lora_bias": is_flag, "ensure_weight_tying": is_flag,
    "target_modules": either(is_texts, is_harmless), "exclude_modules": or_none(either(is_texts, is_harmless)),
    "modules_to_save": or_none(list_of(is_harmless)),
    "layers_pattern": or_none(either(list_of(is_harmless), is_harmless)),
    "layers_to_transform": or_none(either(is_number, list_of(is_number))),
    "rank_pattern": lambda value: values(is_count(_MOST_COUNT))(value) and all(map(is_harmless, value)),
    "alpha_pattern": lambda value: values(is_number)(value) and all(map(is_harmless, value)),
    "megatron_core": one_of("megatron.core"), "qalora_group_size": is_number, "target_parameters": or_none(is_texts),
    "auto_mapping": or_none(fields({
        "base_model_class": is_text, "parent_library": lambda name: is_text(name) and name.startswith("transformers."),
        "unsloth_fixed": is_flag,
    })),
}  # fmt: skip
"""``adapter_config.json``. Its patterns are regular expressions, and most other keys name ways to make an adapter."""


def check_settings(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what ``config_sentence_transformers.json`` must not say; other keys have no effect."""
    yield from broken_rules({key: value for key, value in settings.items() if key in _SETTINGS}, _SETTINGS)


def check_colbert(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what ``artifact.metadata`` must not say."""
    yield from broken_rules({key: value for key, value in settings.items() if key in _COLBERT}, _COLBERT)


def check_tokenizer(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what ``tokenizer_config.json`` must not say."""
    yield from broken_rules({key: value for key, value in settings.items() if key in _TOKENIZER}, _TOKENIZER)


def check_transformer(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what ``sentence_bert_config.json`` must not say."""
    yield from broken_rules(settings, TRANSFORMER)


def check_adapter(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what ``adapter_config.json`` must not say."""
    yield from broken_rules({"peft_type": None, **settings}, _ADAPTER)


def check_index(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what the index of divided weights must not say: files outside the folder."""
    files = settings.get("weight_map")
    if not isinstance(files, dict):
        yield "weight_map", files
    else:
        yield from (
            (f"weight_map.{name}", file)
            for name, file in files.items()
            if not is_text(file) or PurePosixPath(file).name != file
        )


_ATTENTION = either(is_flag, one_of(None, "eager", "sdpa", "flash_attention_2", "flex_attention"))
_EXPERTS = one_of(None, "eager", "batched_mm", "grouped_mm")
_COUNTED = re.compile(r"(?:^|_)n(?:um)?_(?!positions|ctx)|layers|heads|labels|experts|groups")
"""Keys of numbers of things; not ``bos_token_id`` or ``max_position_embeddings``, which are larger."""


def check_config(settings: Any, place: str = "") -> Iterator[Problem]:
    """Yields what a ``config.json`` must not say, at any depth: of a backbone or of a module.

    Each architecture has keys of its own, so only those with a meaning to the libraries are checked, and all numbers.
    """
    if not place and isinstance(settings, dict) and {"types", "structure"} <= settings.keys():  # of an older Router
        yield from check_router(settings)
        return
    items = settings.items() if isinstance(settings, dict) else enumerate(settings)
    for key, value in items:
        path = f"{place}.{key}".lstrip(".")
        if not _allowed_in_config(str(key), value):
            yield path, value
        elif isinstance(value, dict | list):
            yield from check_config(value, path)


def _allowed_in_config(key: str, value: object) -> bool:
    if "attn_implementation" in key:  # other names are those of kernels to download
        return _ATTENTION(value) or values(_ATTENTION)(value)
    if "experts_implementation" in key:
        return _EXPERTS(value)
    if key == "quantization_config":
        return value in _OFF
    if key in ("architectures", "layer_types"):
        return value is None or is_texts(value)
    if key == "types":
        return False
    if isinstance(value, str):
        # A dotted name of an activation would be imported and called.
        return len(value) <= _LONGEST_TEXT and ("activation" not in key or "." not in value or is_activation(value))
    if isinstance(value, int) and not isinstance(value, bool) and not key.endswith("theta"):
        return abs(value) <= (_MOST_COUNT if _COUNTED.search(key) else _MOST_SIZE)
    return True
