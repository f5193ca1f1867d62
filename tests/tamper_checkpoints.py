"""Tampers with checkpoints and loads them; run by tests/hostile/test_tampered_checkpoints.py.

``python tamper_checkpoints.py BUILT PLACE SENTINEL`` reads ``layout seed`` lines and writes a JSON object for each.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUERY = "보증금은 언제 돌려받나요?"
TEXTS = [
    "보증금은 이사하는 날 열쇠를 넘기고 돌려받는다.", "제6조의2(연차) 연차는 한 해에 열닷새로 한다.", "", "가" * 700,
    "The deposit is paid back on the day you move out. 🙂 e\u0301",
]  # fmt: skip
_MORE_MEMORY = 2 * 2**30
"""Bytes that one try may need on top of what the process has; the models have less than 2 MB."""

# -- tampering --------------------------------------------------------------------------------------------------


def _values(rng: random.Random) -> object:
    deep: Any = "끝"
    for _ in range(rng.choice([3, 70, 400])):
        deep = [deep] if rng.random() < 0.5 else {"안": deep}
    return rng.choice([
        None, True, False, 0, 1, -1, 2, 7, 31, 10**6, 2**31, 2**63, 10**12, 10**30, -(10**9), 0.5, 1e308, -1e308,
        math.nan, math.inf, "", "가", "가" * 5_000, "0", "../../밖", "/dev/zero", "/etc", "\0", "owner/model",
        "torch.utils.collect_env.main", "torch.distributed.run.main", "evil.Evil", "os.getcwd", [], {}, [[]], [None],
        ["가"], {"가": 1}, [0] * 50_000, deep,
    ])  # fmt: skip


def _edit(value: Any, rng: random.Random) -> Any:
    """Changes one place in a JSON value."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        what = rng.random()
        if what < 0.12:
            del value[key]
        elif what < 0.2 and isinstance(value, dict):
            value[rng.choice(["새", key + "_", key.upper(), "kwargs"])] = _values(rng)
        else:
            value[key] = _edit(value[key], rng)
        return value
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice([value + 1, value - 1, value * 2, value // 2, -value, value * 1_000, value * 10**6])
    return _values(rng)


def _files(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and (not suffixes or path.suffix in suffixes))


def _edit_json(folder: Path, rng: random.Random, built: Path) -> str:
    path = rng.choice(_files(folder, ".json", ".metadata"))
    value = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        value = _edit(value, rng)
    path.write_text(json.dumps(value), encoding="utf-8")
    return f"edited {path.name}"


_RECURSIVE = {"type": "Sequence", "normalizers": [
    {"type": "Replace", "pattern": {"String": "가"}, "content": "가가"} for _ in range(60)
]}  # fmt: skip
_SLOW = {"type": "Split", "pattern": {"Regex": "((가+)+)+$"}, "behavior": "Isolated", "invert": False}
_LOOP = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
ATTACKS: list[tuple[str, str, object]] = [
    *(("sentence_bert_config.json", key, value) for key, value in [
        ("model_args", {"key_mapping": {"(a+)+$": "x"}}),
        ("model_args", {"offload_folder": "../밖", "device_map": "auto"}),
        ("tokenizer_name_or_path", "owner/model"), ("tokenizer_name_or_path", "/etc"),
        ("model_args", {"attn_implementation": "owner/kernel"}), ("model_args", {"trust_remote_code": True}),
        ("model_args", {"subfolder": "../.."}), ("model_args", {"adapter_kwargs": {"revision": "x"}}),
        ("model_args", {"quantization_config": {"load_in_4bit": True}}), ("model_args", {"gguf_file": "model.gguf"}),
        ("model_args", {"tp_plan": "auto"}), ("model_args", {"use_kernels": True}),
        ("model_args", {"state_dict": {}}),
        ("processor_kwargs", {"chat_template": _LOOP}), ("tokenizer_args", {"cache_dir": "밖"}),
        ("tokenizer_args", {"tokenizer_type": "bert"}), ("config_args", {"num_labels": 10**9}),
        ("config_args", {"_from_auto": True, "cache_dir": "밖", "force_download": True}),
        ("modality_config", {"text": {"method": "save_pretrained", "method_output_name": None}}),
        ("modality_config", {"text": {"method": "push_to_hub", "method_output_name": None}}),
        ("modality_config", {"message": {"method": "forward", "method_output_name": "last_hidden_state"}}),
        ("processing_kwargs", {"text": {"pad_to_multiple_of": 10**9}}),
        ("processing_kwargs", {"text": {"padding": "max_length", "max_length": 10**9}}),
        ("processing_kwargs", {"chat_template": {"chat_template": _LOOP}}),
        ("processing_kwargs", {"chat_template": {"tokenize": False}}), ("processing_kwargs", {"chat_template": 7}),
        ("query_expansion", {"strategy": "fixed", "length": 10**9}), ("max_seq_length", 10**18),
        ("document_length", -5), ("query_length", 10**9), ("transformer_task", "any-to-any"), ("backend", "onnx"),
    ]),
    *(("config.json", key, value) for key, value in [
        ("auto_map", {"AutoConfig": "evil.Config", "AutoModel": "evil.Evil"}), ("model_type", "evil"),
        ("attn_implementation", "owner/kernel"), ("_attn_implementation", "owner/kernel"),
        ("_attn_implementation_internal", "owner/kernel"),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}), ("num_hidden_layers", 10**9),
        ("num_hidden_layers", 60_000), ("vocab_size", 10**9), ("vocab_size", 2**26), ("hidden_size", 10**7),
        ("intermediate_size", 10**10), ("max_position_embeddings", 10**9), ("type_vocab_size", 10**9),
        ("num_labels", 10**9), ("num_attention_heads", 10**9), ("num_attention_heads", 0), ("hidden_size", 0),
        ("sbert_ce_default_activation_function", "torch.utils.collect_env.main"),
        ("sentence_transformers", {"activation_fn": "torch.distributed.run.main"}), ("_name_or_path", "owner/model"),
        ("torch_dtype", "load"), ("dtype", "hub"), ("is_decoder", True), ("hidden_act", "evil"),
        ("pad_token_id", 10**9),
        ("architectures", ["evil.Evil"]), ("architectures", ["BertForCausalLM"]), ("transformers_weights", "../x"),
        ("layer_norm_eps", math.nan), ("initializer_range", math.inf), ("tie_word_embeddings", False),
    ]),
    *(("adapter_config.json", key, value) for key, value in [
        ("target_modules", "((a|[a-z])+)+!"), ("target_modules", ".*.*.*.*.*.*.*.*.*!"),
        ("exclude_modules", "(.+)+!"),
        ("rank_pattern", {"((.+)+)+!": 2}), ("base_model_name_or_path", "owner/model"),
        ("base_model_name_or_path", "/dev/zero"), ("peft_type", "PROMPT_TUNING"), ("peft_type", "XLORA"),
        ("megatron_config", {}), ("megatron_config", {"x": 1}), ("megatron_core", "evil"), ("r", 10**9), ("r", 0),
        ("layer_replication", [[0, 10**9]]), ("modules_to_save", ["(.+)+!"]),
        ("auto_mapping", {"parent_library": "evil"}),
        ("lora_alpha", math.nan), ("init_lora_weights", "pissa_niter_999999999"), ("revision", "없는것"),
        ("trainable_token_indices", [10**9]), ("runtime_config", {"x": 1}), ("layers_pattern", "(.+)+!"),
    ]),
    *(("tokenizer.json", key, value) for key, value in [
        ("normalizer", _RECURSIVE), ("pre_tokenizer", _SLOW), ("model", {"type": "BPE", "vocab": {}, "merges": []}),
        ("padding", {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                     "pad_type_id": 0, "pad_token": "[PAD]"}),
        ("truncation", {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 10**9}),
        ("added_tokens", [{"id": 10**9, "content": "가", "special": True}]),
    ]),
    *(("tokenizer_config.json", key, value) for key, value in [
        ("auto_map", {"AutoTokenizer": ["evil.Evil", None]}), ("tokenizer_class", "Evil"), ("chat_template", _LOOP),
        ("pad_to_multiple_of", 10**9), ("tokenizer_file", "/dev/zero"), ("vocab_file", "/dev/zero"),
        ("tokenizer_class", "MistralCommonTokenizer"), ("name_or_path", "owner/model"), ("pad_token", None),
        ("added_tokens_decoder", {str(10**9): {"content": "가", "special": True}}), ("model_max_length", -1),
        ("processor_class", "Evil"), ("extra_special_tokens", ["가" * 100_000]), ("_commit_hash", "../x"),
    ]),
    *(("config_sentence_transformers.json", key, value) for key, value in [
        ("activation_fn", "torch.utils.collect_env.main"), ("activation_fn", "torch.hub.list"),
        ("requirements", ["x>1"]),
        ("model_type", "CrossEncoder"), ("model_type", "SparseEncoder"), ("model_type", "MultiVectorEncoder"),
        ("prompts", {"query": 7}), ("prompts", []), ("truncate_dim", 10**9), ("query_length", 10**9),
        ("prompts", {"retrieval.query": ["가"]}), ("prompts", {"s2p_query": "가" * 10**6}), ("truncate_dim", 3),
        ("max_active_dims", 10**9), ("max_active_dims", 3),
        ("skiplist_words", [7]), ("default_prompt_name", "없음"), ("keep_in_fp32_modules", ["0.(x"]),
    ]),
    *(("1_Dense/config.json", key, value) for key, value in [
        ("activation_function", "torch.distributed.run.main"), ("activation_function", "torch.nn.Transformer"),
        ("in_features", 10**9), ("out_features", 10**9), ("out_features", 0), ("module_input_name", "없음"),
    ]),
    *(("1_Pooling/config.json", key, value) for key, value in [
        ("embedding_dimension", 10**9), ("pooling_mode", ["cls"] * 9), ("pooling_mode", "없음"),
    ]),
    *(("4_HierarchicalTokenPooling/config.json", key, value) for key, value in [
        ("pool_factor", 10**9), ("pool_factor", 0), ("pool_factor", math.nan), ("pool_factor", math.inf),
        ("num_protected_tokens", -1), ("num_protected_tokens", 10**9), ("num_protected_tokens", 2**20), ("tasks", 7),
        ("tasks", ["query", "document"]), ("normalize_embeddings", "가"), ("pool_fn", "os.system"),
    ]),
    *(("1_LogitScore/config.json", key, value) for key, value in [
        ("true_token_id", 10**9), ("true_token_id", -1), ("false_token_id", 10**9), ("module_input_name", "없음"),
        ("true_token_id", None), ("true_token_id", 0.5),
    ]),
    *(("router_config.json", key, value) for key, value in [
        ("types", {"": "evil.Evil"}), ("types", {"../..": "sentence_transformers.models.Dense"}), ("types", {}),
        ("types", {"query_0_SparseStaticEmbedding": "sentence_transformers.models.Router", "": "torch.nn.Linear"}),
        ("structure", {"query": ["query_0_SparseStaticEmbedding"]}), ("structure", {"document": [""] * 10**5}),
        ("structure", {"query": [""], "document": [""]}), ("structure", {"query": [[]], "document": "가"}),
        ("structure", {"query": ["document_1_SpladePooling"], "document": ["document_1_SpladePooling"]}),
        ("structure", {"query": ["query_0_SparseStaticEmbedding"] * 9, "document": ["query_0_SparseStaticEmbedding"]}),
        ("parameters", {"route_mappings": {"(" * 5_000: "query"}}), ("parameters", {"route_mappings": []}),
        ("parameters", {"route_mappings": {"(None, None)": "query"}}), ("parameters", {"default_route": "없음"}),
        ("parameters", {"route_mappings": {"('query', 'text')": "document", "('document', 'text')": "query"}}),
        ("parameters", {"route_mappings": {"('query', 'text')": "없음"}}), ("parameters", {"more": 1}),
    ]),
    *(("query_0_SparseStaticEmbedding/config.json", key, value) for key, value in [
        ("path", "/dev/zero.json"), ("path", "idf.json"), ("path", 7), ("frozen", "가"), ("weight", [1]),
        ("max_seq_length", 10**9),
    ]),
    *(("artifact.metadata", key, value) for key, value in [
        ("query_maxlen", 10**9), ("dim", 10**9), ("query_token_id", 7), ("doc_maxlen", -1),
    ]),
]  # fmt: skip


def _attack(folder: Path, rng: random.Random, built: Path) -> str:
    there = [attack for attack in ATTACKS if (folder / attack[0]).exists()]
    name, key, value = rng.choice(there)
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    return f"{name}: {key}={value!r:.80}"


def _modules(folder: Path, rng: random.Random, built: Path) -> str:
    path = folder / "modules.json"
    if not path.exists():
        return _attack(folder, rng, built)
    modules = json.loads(path.read_text(encoding="utf-8"))
    kind = rng.choice([
        "evil.Evil", "sentence_transformers.models.WordEmbeddings", "torch.nn.Linear", "subprocess.Popen",
        "sentence_transformers.util.http_get", "sentence_transformers.models.CLIPModel", "pylate.evil.Dense",
        "sentence_transformers.models.Router", "sentence_transformers.models.LSTM",
        "sentence_transformers.models.Pooling",
    ])  # fmt: skip
    what = rng.random()
    if what < 0.5:
        rng.choice(modules)["type"] = kind
    elif what < 0.7:
        rng.choice(modules)["path"] = rng.choice(["../..", "/etc", "onnx", ".", "1_Dense/../..", "가"])
    elif what < 0.8:
        modules *= rng.choice([2, 100])
    else:
        rng.shuffle(modules)
    path.write_text(json.dumps(modules), encoding="utf-8")
    return f"modules.json: {kind}"


TEMPLATES = [
    _LOOP, "{% for a in range(10**9) %}{% endfor %}", "{{ '가' * 10**10 }}", "{{ 9 ** 9 ** 9 }}",
    "{{ messages[0].content }}" * 600, "{% set t = messages[0].content %}" + "{% set t = t ~ t %}" * 40 + "{{ t }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{% include '/etc/passwd' %}", "{{ lipsum(n=10**7) }}",
    "{{ cycler.__init__.__globals__.os.system('touch x') }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ raise_exception(messages) }}", "{{ messages[7].content }}", "{{ messages.0.x.y }}", "", "{{", "가" * 10**6,
    "{{ messages[0].content }}", "{{ messages[1].content }} {{ messages[0].content }}", "{{ messages }}",
]  # fmt: skip


def _template(folder: Path, rng: random.Random, built: Path) -> str:
    path = folder / "chat_template.jinja"
    if not path.exists():
        return _attack(folder, rng, built)
    text = rng.choice(TEMPLATES)
    if rng.random() < 0.5:
        path.write_text(text, encoding="utf-8")
    else:
        whole = path.read_text(encoding="utf-8")
        place = rng.randrange(len(whole))
        path.write_text(whole[:place] + text + whole[place:], encoding="utf-8")
    return f"chat template: {text[:80]}"


def _damage(folder: Path, rng: random.Random, built: Path) -> str:
    path = rng.choice(_files(folder))
    data = bytearray(path.read_bytes())
    what = rng.random()
    if what < 0.35:
        data = data[: rng.choice([0, 1, 7, 8, 9, len(data) // 2, max(0, len(data) - 1)])]
    elif what < 0.8:
        end = rng.choice([16, 2_000, len(data)])
        for _ in range(rng.choice([1, 8, 200])):
            if data:
                data[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
    else:
        data = bytearray(rng.choice([
            b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"NaN",
            rng.randbytes(500), (2**63).to_bytes(8, "little") + b"{}", b"\x00" * 64, b"{}", b"[]", b'"' + b"a" * 10**6,
        ]))  # fmt: skip
    path.write_bytes(data)
    return f"damaged {path.name}"


def _swap(folder: Path, rng: random.Random, built: Path) -> str:
    path = rng.choice(_files(folder))
    other = rng.choice(sorted(built.iterdir()))
    choices = _files(other, path.suffix) or _files(other)
    shutil.copyfile(rng.choice(choices), path)
    return f"{path.name} from {other.name}"


def _special(folder: Path, rng: random.Random, built: Path) -> str:
    path = rng.choice(_files(folder))
    data = path.read_bytes()
    path.unlink()
    kind = rng.choice(["fifo", "gone", "nowhere", "circle", "zero", "out", "folder", "inside"])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "out":
        outside = folder.parent / "밖의 파일"
        outside.write_bytes(data)
        path.symlink_to(outside)
    elif kind == "folder":
        path.mkdir()
    elif kind == "inside":
        (path.parent / "복사").write_bytes(data)
        path.symlink_to(path.parent / "복사")
    elif kind != "gone":
        path.symlink_to({"nowhere": "/없는/파일", "circle": str(path), "zero": "/dev/zero"}[kind])
    return f"{path.name}: {kind}"


def _pickle(folder: Path, rng: random.Random, built: Path) -> str:
    import torch
    from checkpoints import Touch

    path = rng.choice(_files(folder, ".safetensors", ".pt") or _files(folder))
    path.unlink()
    others = {"adapter_model.safetensors": "adapter_model.bin"}
    name = path.name if path.suffix == ".pt" else others.get(path.name, "pytorch_model.bin")
    torch.save({"a": Touch(SENTINEL)}, path.with_name(name))
    return f"pickle for {path.name}"


_TAMPER: tuple[tuple[float, Callable[[Path, random.Random, Path], str]], ...] = (
    (0.3, _edit_json), (0.3, _attack), (0.06, _modules), (0.14, _damage), (0.06, _swap), (0.07, _special),
    (0.03, _pickle), (0.04, _template)
)  # fmt: skip


def tamper(folder: Path, seed: int, built: Path) -> str:
    """Changes one thing in a checkpoint; returns what."""
    rng = random.Random(seed)
    code = f"from pathlib import Path\nPath({str(SENTINEL)!r}).touch()\nclass Evil: pass\nclass Config: pass\n"
    (folder / "evil.py").write_text(code, encoding="utf-8")
    (change,) = rng.choices([each for _, each in _TAMPER], [weight for weight, _ in _TAMPER])
    return change(folder, rng, built)


# -- loading ----------------------------------------------------------------------------------------------------


def use(folder: Path) -> None:
    """Loads a checkpoint and runs it."""
    import numpy as np

    from korag import CrossEncoderReranker, load_encoder

    if "cross_encoder" in folder.name:
        found = CrossEncoderReranker(folder, device="cpu", dtype="float32").rerank(QUERY, TEXTS)
        vectors: Any = [np.array([score for _, score in found])]
    else:
        # an adapter names its base, which may be on the Hub
        family = folder.name.removeprefix("bge_m3_") if folder.name.startswith("bge_m3_") else None
        local = "lora" in folder.name
        encoder = load_encoder(folder, family=family, device="cpu", dtype="float32", local_files_only=local)  # type: ignore[arg-type]
        encoder.fingerprint  # noqa: B018
        made = [encoder.encode_queries([QUERY]), encoder.encode_documents(TEXTS)]
        vectors = [row for part in made for row in (part if isinstance(part, list) else [getattr(part, "data", part)])]
    for row in vectors:
        assert np.isfinite(np.asarray(row)).all(), "not finite"


def _snapshot(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def attempt(layout: str, seed: int, built: Path, place: Path) -> dict[str, Any]:
    """Makes one try; the result has ``wrong``, None if all is as it must be."""
    from korag.errors import KoragError

    shutil.rmtree(place / "model", ignore_errors=True)
    folder = place / "model" / layout
    shutil.copytree(built / layout, folder)
    if (built / f"{layout}-base").exists():  # in its place beside the adapter
        shutil.copytree(built / f"{layout}-base", folder.with_name(f"{layout}-base"))
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(config | {"base_model_name_or_path": str(folder) + "-base"}), encoding="utf-8")
    what = tamper(folder, seed, built)
    CONNECTED.clear()
    before, start = _snapshot(place), time.monotonic()
    printed = io.StringIO()
    wrong = None
    try:
        with contextlib.redirect_stdout(printed):
            use(folder)
        outcome = "loaded"
    except KoragError as error:
        outcome = type(error).__name__
        korean, english = error.args[:2]
        if not any("가" <= letter <= "힣" for letter in korean) or korean == english:
            wrong = f"not bilingual: {error}"
    except BaseException as error:
        outcome = type(error).__name__
        last = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"raw {outcome}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
    if SENTINEL.exists():
        SENTINEL.unlink()
        wrong = "code was run"
    elif "environment information" in printed.getvalue():
        wrong = "a function was called"
    elif CONNECTED:
        wrong = f"network: {CONNECTED[0]}"
    elif made := _snapshot(place) - before:
        wrong = f"files made: {sorted(made)[:3]}"
    return {
        "layout": layout, "seed": seed, "what": what, "outcome": outcome, "wrong": wrong,
        "seconds": round(time.monotonic() - start, 1), "memory": _peak_memory(),
    }  # fmt: skip


def _peak_memory() -> int:
    """In kB. Linux lets `ru_maxrss` begin with the memory of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


CONNECTED: list[str] = []
SENTINEL = Path()


def main() -> None:
    """Answers tries from the standard input until it ends."""
    global SENTINEL
    built, place, SENTINEL = map(Path, sys.argv[1:4])

    def connect(name: str, args: Any) -> None:
        if name in ("socket.connect", "socket.getaddrinfo"):
            CONNECTED.append(f"{name} {args[-1] if name == 'socket.connect' else args[0]!r}")
            raise OSError("no network in this test")

    use(built / "dense")  # imports everything, so that limits count what a try needs
    sys.addaudithook(connect)
    now = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line).split()[1])
    resource.setrlimit(resource.RLIMIT_AS, (now * 1024 + _MORE_MEMORY, resource.RLIM_INFINITY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what others print
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        layout, seed = line.split()
        print(json.dumps(attempt(layout, int(seed), built, place)), file=out, flush=True)


if __name__ == "__main__":
    main()
