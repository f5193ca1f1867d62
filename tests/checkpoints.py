"""Small random checkpoints with the file layouts of the real ones; each builder fills an empty folder.

Settings files are written as the published checkpoints have them (older sentence-transformers and PyLate
versions included), not as the installed version would write them.
"""

import json
import shutil
import string
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from chat_checkpoints import chat_cross_encoder
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.checkpoints.bundled import shipped_models

HIDDEN = 32
DIMS = (4, 8, 12, 16)
QUERY_PROMPT = "Represent this sentence for searching relevant passages: "
DOCUMENT_PROMPT = "Represent this sentence for retrieving relevant passages: "

_ST = "sentence_transformers.models."
_VERSIONS = {"sentence_transformers": "5.1.1", "transformers": "4.56.2", "pytorch": "2.8.0"}
_PYLATE_TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": _ST + "Transformer"}


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def edit_json(path: Path, **changes: object) -> None:
    """Sets keys of a JSON file; None removes one."""
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    write_json(path, {key: item for key, item in value.items() if item is not None})


def expanding_colbert(folder: Path) -> Path:
    """Copies mini-colbert as a model that fills its queries with mask tokens, up to 32."""
    shutil.copytree(shipped_models()["mini-colbert"], folder)
    edit_json(folder / "config_sentence_transformers.json", do_query_expansion=True, query_length=32)
    return folder


def tokenizer(extra: tuple[str, ...] = (), pad: str = "[PAD]", length: int = 512) -> PreTrainedTokenizerFast:
    """The bundled models' tokenizer with additional tokens."""
    made = AutoTokenizer.from_pretrained(shipped_models()["mini-dense"], model_max_length=length)
    made.add_tokens(list(extra))
    made.pad_token = pad
    return made


def _config(kind: str, vocabulary: int, **more: object) -> PretrainedConfig:
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    if kind != "modernbert":
        ids = {"pad_token_id": 1}  # as (XLM-)RoBERTa has it: positions start at 2
    settings = {
        "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 514, "initializer_range": 0.3,
    }  # fmt: skip
    return AutoConfig.for_model(kind, **(settings | ids | more))


def _backbone(folder: Path, config: PretrainedConfig, words: PreTrainedTokenizerFast, auto: type = AutoModel) -> None:
    """Random weights (wide enough that texts differ), config and tokenizer."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = auto.from_config(config).eval()
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def backbone(
    folder: Path, kind: str = "xlm-roberta", *, auto: type = AutoModel, extra: tuple[str, ...] = (), **config: object
) -> None:
    """A folder of transformers' own: random weights of any kind of model, config and tokenizer."""
    words = tokenizer(extra)
    _backbone(folder, _config(kind, len(words), **config), words, auto)


def _modules(folder: Path, *types: str) -> None:
    entries = [_PYLATE_TRANSFORMER]
    for index, name in enumerate(types, start=1):
        path = f"{index}_{name.rpartition('.')[2]}"
        entries.append({"idx": index, "name": str(index), "path": path, "type": name})
        (folder / path).mkdir(exist_ok=True)
    write_json(folder / "modules.json", entries)


def _pooling(folder: Path, mode: str) -> None:
    modes = {f"pooling_mode_{name}": name == mode for name in ("cls_token", "mean_tokens", "max_tokens")}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, **modes, "include_prompt": True})


def dense(folder: Path) -> None:
    """BGE-m3-ko's layout: XLM-RoBERTa, CLS pooling, Normalize; with prompts, like KoE5 and arctic-ko."""
    words = tokenizer()
    _backbone(folder, _config("xlm-roberta", len(words)), words)
    _modules(folder, _ST + "Pooling", _ST + "Normalize")
    _pooling(folder, "cls_token")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": _VERSIONS,
            "prompts": {"query": "query: ", "passage": "passage: "},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


def roberta(folder: Path) -> None:
    """ko-sroberta-multitask's layout: RoBERTa, mean pooling, 128 tokens, no prompts, not normalised."""
    words = tokenizer()
    _backbone(folder, _config("roberta", len(words)), words)
    _modules(folder, _ST + "Pooling")
    _pooling(folder, "mean_tokens")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})


def _lora(base: Path):
    from peft import LoraConfig, TaskType, get_peft_model
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(base), device="cpu", local_files_only=True, prompts={"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        # init_lora_weights=False: B is zero otherwise, and the adapter would change nothing
        config = LoraConfig(
            task_type=TaskType.FEATURE_EXTRACTION, r=4, lora_alpha=8, target_modules=["query", "value"],
            init_lora_weights=False,
        )  # fmt: skip
        with warnings.catch_warnings():  # peft 0.21 asks transformers 5.24 for a name of the past
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            model[0].model = get_peft_model(model[0].model, config)
    return model


def lora_base(folder: Path) -> Path:
    """The base of `lora` and `bare_lora`, in the same parent folder."""
    return folder.with_name(folder.name + "-base")


def lora(folder: Path) -> None:
    """The legal model's layout: sentence-transformers' own save of a model with an adapter."""
    roberta(lora_base(folder))
    _lora(lora_base(folder)).save_pretrained(str(folder), create_model_card=False)


def bare_lora(folder: Path) -> None:
    """Only a PEFT folder: ``adapter_config.json`` and the adapter's weights."""
    roberta(lora_base(folder))
    _lora(lora_base(folder)).transformers_model.save_pretrained(str(folder))


def splade(folder: Path) -> None:
    """splade-ko-v1's layout: ModernBERT MLM and SpladePooling."""
    words = tokenizer()
    _backbone(folder, _config("modernbert", len(words)), words, AutoModelForMaskedLM)
    types = {_ST + "SpladePooling": "sentence_transformers.sparse_encoder.models.SpladePooling"}
    _modules(folder, *types.values())
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.sparse_encoder.models.MLMTransformer"
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "1_SpladePooling/config.json",
        {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": len(words)},
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SparseEncoder",
            "__version__": _VERSIONS,
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "dot",
        },
    )


def sparse_autoencoder(folder: Path) -> None:
    """sentence-transformers' own save of a CSR model: sparse, and not SPLADE."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    plain = folder / "backbone"
    roberta(plain)
    with torch.random.fork_rng():
        torch.manual_seed(13)
        modules = [Transformer(str(plain)), Pooling(HIDDEN, "mean"), SparseAutoEncoder(HIDDEN, 128, k=8)]
    SparseEncoder(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(plain)


def _head(folder: Path, inner: int, outer: int, seed: int, **settings: object) -> None:
    generator = torch.Generator().manual_seed(seed)
    config = {"in_features": inner, "out_features": outer, "bias": False}
    write_json(folder / "config.json", config | {"activation_function": "torch.nn.modules.linear.Identity"} | settings)
    tensors = {"linear.weight": torch.randn(outer, inner, generator=generator)}
    if settings.get("use_residual") and inner != outer:
        tensors["residual.weight"] = torch.randn(outer, inner, generator=generator)
    save_file(tensors, folder / "model.safetensors")


def _pylate_settings(folder: Path, **more: object) -> None:
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "ColBERT",
            "__version__": _VERSIONS,
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": "[Q] ",
            "document_prefix": "[D] ",
            "query_length": 32,
            "document_length": 300,
            "attend_to_expansion_tokens": False,
            "skiplist_words": list(string.punctuation),
            "do_query_expansion": True,
        }
        | more,
    )


def pylate(folder: Path) -> None:
    """A PyLate checkpoint: ModernBERT and ``1_Dense``; ``max_seq_length`` as PyLate leaves it (unused)."""
    words = tokenizer(("[Q] ", "[D] "), pad="[MASK]")
    _backbone(folder, _config("modernbert", len(words)), words)
    _modules(folder, "pylate.models.Dense.Dense")
    _head(folder / "1_Dense", HIDDEN, 16, seed=1)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 31, "do_lower_case": False})
    _pylate_settings(folder)


def heads() -> dict[int, torch.Tensor]:
    """Matryoshka heads: separate matrices, not slices of one."""
    generator = torch.Generator().manual_seed(2)
    return {dim: torch.randn(dim, HIDDEN, generator=generator) for dim in DIMS}


def matryoshka(folder: Path) -> None:
    """colbert-ko-0.1b's layout: a PyLate checkpoint with a stale ``1_Dense`` and ``matryoshka_heads.pt``."""
    pylate(folder)
    state = {f"{dim}.weight": head for dim, head in heads().items()}
    saved = {"matryoshka_dims": list(DIMS), "projection_heads": state, "hidden_size": HIDDEN, "active_dim": 16}
    torch.save(saved, folder / "matryoshka_heads.pt")


def matryoshka_safetensors(folder: Path) -> None:
    """The same with the heads' safetensors twin alone."""
    pylate(folder)
    save_file({f"{dim}.weight": head for dim, head in heads().items()}, folder / "matryoshka_heads.safetensors")


def residual(folder: Path) -> None:
    """KURE-v2's layout: three Dense modules with residual connections, queries of 64 tokens."""
    pylate(folder)
    shutil.rmtree(folder / "1_Dense")
    _modules(folder, *["pylate.models.Dense.Dense"] * 3)
    _head(folder / "1_Dense", HIDDEN, 24, seed=3, use_residual=True)
    _head(folder / "2_Dense", 24, 24, seed=4, use_residual=True)
    _head(folder / "3_Dense", 24, 16, seed=5)
    _pylate_settings(folder, query_length=64)


def stanford(folder: Path) -> None:
    """Stanford-NLP's ColBERT: ``HF_ColBERT``, ``artifact.metadata``, the projection inside the weights file."""
    syllables = [chr(code) for code in range(ord("가"), ord("힣") + 1, 7)]
    pieces = [*string.ascii_lowercase, *string.digits, *syllables]
    vocabulary = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation]
    vocabulary += [*pieces, *(f"##{piece}" for piece in pieces)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 512})
    config = _config("bert", len(vocabulary), max_position_embeddings=512, pad_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = AutoModel.from_config(config, add_pooling_layer=False)
    tensors = {f"bert.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors["linear.weight"] = torch.randn(16, HIDDEN, generator=torch.Generator().manual_seed(6))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config.to_dict() | {"architectures": ["HF_ColBERT"]})
    write_json(
        folder / "artifact.metadata",
        {
            "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]", "doc_token": "[D]",
            "dim": 16, "similarity": "cosine", "query_maxlen": 24, "doc_maxlen": 220, "mask_punctuation": True,
            "attend_to_mask_tokens": False, "checkpoint": "bert-base-uncased",
        },
    )  # fmt: skip


def native(folder: Path, **settings: object) -> None:
    """sentence-transformers' own save of a multi-vector model; `settings` go to its Transformer module."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    words = tokenizer(("[Q] ", "[D] "))
    plain = folder / "backbone"
    _backbone(plain, _config("modernbert", len(words)), words)
    settings = settings or {
        "query_expansion": {"strategy": "fixed", "attend": True, "length": 20}, "document_length": 200
    }  # fmt: skip
    transformer = Transformer(str(plain), **settings)
    shutil.rmtree(plain)
    weight = torch.randn(16, HIDDEN, generator=torch.Generator().manual_seed(8))
    head = Dense(
        HIDDEN, 16, bias=False, activation_function=None, init_weight=weight, module_input_name="token_embeddings"
    )
    modules = [transformer, head, MultiVectorMask(skiplist_words=["."]), Normalize("token_embeddings")]
    model = MultiVectorEncoder(modules=modules, device="cpu", prompts={"query": "[Q] ", "document": "[D] "})
    model.save_pretrained(str(folder), create_model_card=False)


def token_pooling(folder: Path, **settings: Any) -> None:
    """sentence-transformers' own save of a multi-vector model that merges the vectors of similar tokens."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    native(folder)
    model = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    model.append(HierarchicalTokenPooling(**({"pool_factor": 2.5} | settings)))
    model.save_pretrained(str(folder), create_model_card=False)


def cross_encoder(folder: Path, *, labels: int = 1) -> None:
    """bge-reranker-v2-m3-ko's layout: XLM-RoBERTa for sequence classification, no modules.json."""
    words = tokenizer()
    config = _config("xlm-roberta", len(words), num_labels=labels, initializer_range=0.2)
    _backbone(folder, config, words, AutoModelForSequenceClassification)


def identity_cross_encoder(folder: Path) -> None:
    """The layout of older cross-encoders (ms-marco-MiniLM): the activation, here none, in config.json."""
    cross_encoder(folder)
    edit_json(folder / "config.json", sbert_ce_default_activation_function="torch.nn.modules.linear.Identity")


def two_label_cross_encoder(folder: Path) -> None:
    """A classifier with two labels, like an NLI or a sentiment model."""
    cross_encoder(folder, labels=2)


def saved_cross_encoder(folder: Path) -> None:
    """sentence-transformers' own save of a cross-encoder, which has a modules.json."""
    from sentence_transformers import CrossEncoder

    plain = folder / "plain"
    cross_encoder(plain)
    CrossEncoder(str(plain), device="cpu", local_files_only=True).save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(plain)


def bare_bert(folder: Path) -> None:
    """A backbone not trained for retrieval, without modules.json."""
    words = tokenizer()
    _backbone(folder, _config("bert", len(words), pad_token_id=0), words)


BUILDERS: dict[str, Callable[[Path], None]] = {
    builder.__name__: builder
    for builder in (
        dense, roberta, lora, bare_lora, splade, sparse_autoencoder,
        pylate, matryoshka, matryoshka_safetensors, residual, stanford,
        native, token_pooling, cross_encoder, saved_cross_encoder, identity_cross_encoder, two_label_cross_encoder,
        chat_cross_encoder, bare_bert,
    )
}  # fmt: skip
# Encoder class, dimension, query prompt, document prompt and longest document of each layout
LAYOUTS = {
    "dense": (DenseEncoder, HIDDEN, "query: ", "passage: ", 256),
    "roberta": (DenseEncoder, HIDDEN, "", "", 128),
    "lora": (DenseEncoder, HIDDEN, QUERY_PROMPT, DOCUMENT_PROMPT, 128),
    "bare_lora": (DenseEncoder, HIDDEN, "", "", 128),
    "splade": (SparseEncoder, 12_288, "", "", 256),
    "sparse_autoencoder": (SparseEncoder, 128, "", "", 512),
    "pylate": (LateInteractionEncoder, 16, "[Q] ", "[D] ", 300),
    "matryoshka": (LateInteractionEncoder, 16, "[Q] ", "[D] ", 300),
    "matryoshka_safetensors": (LateInteractionEncoder, 16, "[Q] ", "[D] ", 300),
    "residual": (LateInteractionEncoder, 16, "[Q] ", "[D] ", 300),
    "stanford": (LateInteractionEncoder, 16, "[unused0] ", "[unused1] ", 220),
    "native": (LateInteractionEncoder, 16, "[Q] ", "[D] ", 200),
}


def hub_cache(folder: Path, cache: Path, name: str, *, only: Callable[[Path], bool] | None = None) -> str:
    """Copies a checkpoint to the layout of the Hub cache, blobs and a snapshot of links; returns the commit.

    Weights are stored under their SHA-256 and other files under a Git hash, as the Hub's ETags have it.
    """
    import hashlib

    commit = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    repo = cache / f"models--{name.replace('/', '--')}"
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and (only is None or only(path))):
        data = path.read_bytes()
        large = path.suffix in (".safetensors", ".pt", ".bin")
        digest = hashlib.sha256(data) if large else hashlib.sha1(data, usedforsecurity=False)
        blob = repo / "blobs" / digest.hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = repo / "snapshots" / commit / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    return commit


class Touch:
    """Unpickling it touches a file, which shows that a pickle was loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (self.path,))
