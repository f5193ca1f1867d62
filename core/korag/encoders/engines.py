"""Backbones exported to ONNX and run by ONNX Runtime or OpenVINO on the CPU.

Every load exports into a temporary folder, which is deleted afterwards: nothing is written next to the model, and an
export by another version is never picked up.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from korag._optional import require
from korag.encoders.precision import PROBE_TEXTS, cpu_has_vnni
from korag.forking import Lock

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OPSET = 17
_GROUP = 64
"""Group size of OpenVINO's dynamic quantization. If it does not divide the hidden size, OpenVINO silently computes in
float32; larger groups would not divide 192 or 576."""
_export_lock = Lock()

Arrays = dict[str, NDArray[np.int64]]


class Engine(Protocol):
    """A compiled graph. Safe to use from many threads."""

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        """Runs the graph."""
        ...


class EngineBackbone(torch.nn.Module):
    """Replaces a transformers model; an engine runs its graph.

    Args:
        engine: The engine.
        config: Configuration of the model.
        output: Name of the graph's only output.
    """

    def __init__(self, engine: Engine, config: Any, output: str) -> None:
        super().__init__()
        self._engine, self._output = engine, output
        self.config, self.device = config, torch.device("cpu")

    def forward(self, **inputs: Any) -> dict[str, torch.Tensor]:
        """Runs the engine on the model's inputs; those that the graph lacks are ignored."""
        arrays = {name: inputs[name].numpy() for name in _INPUTS if name in inputs}
        return {self._output: torch.from_numpy(self._engine(arrays))}


def export_and_load(transformer: Any, backend: str, dtype: str) -> EngineBackbone:
    """Exports the backbone of a sentence-transformers `Transformer` and loads it into an engine.

    Args:
        transformer: The module. Its attention is switched to the eager implementation, whose masks are finite.
        backend: ``"onnx"`` or ``"openvino"``.
        dtype: ``"float32"`` or ``"int8"``; for OpenVINO also ``"bfloat16"``.
    """
    output = _output_name(transformer)
    with tempfile.TemporaryDirectory(prefix="korag-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        _export(transformer, output, path)
        engine: Engine = _OnnxRuntime(path, dtype) if backend == "onnx" else _OpenVino(path, dtype)
        return EngineBackbone(engine, transformer.model.config, output)


def _output_name(transformer: Any) -> str:
    name = transformer.modality_config["text"]["method_output_name"]
    path = [name] if isinstance(name, str) else list(name or ())
    if len(path) != 1 or transformer.modality_config["text"]["method"] != "forward":
        raise NotImplementedError(f"the output {name!r}")
    return str(path[0])


class _Traced(torch.nn.Module):
    """A transformers model with positional inputs and one output, as the exporter requires."""

    def __init__(self, backbone: torch.nn.Module, names: tuple[str, ...], output: str) -> None:
        super().__init__()
        self._backbone, self._names, self._output = backbone, names, output

    def forward(self, *tensors: torch.Tensor) -> Any:
        inputs = dict(zip(self._names, tensors, strict=True))
        return self._backbone(**inputs, return_dict=True)[self._output]


def _export(transformer: Any, output: str, path: Path) -> None:
    features = transformer.preprocess(list(PROBE_TEXTS))  # with padding, or the exporter would drop the mask
    names = tuple(name for name in _INPUTS if name in features)
    # With torch's fused attention, a padding token with an empty attention window becomes NaN in other engines.
    transformer.model.set_attn_implementation("eager")
    axes = {0: "batch", 1: "length"}
    per_text = transformer.module_output_name == "scores"  # of a cross-encoder; all others return one row per token
    with _export_lock, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and of the deprecation of this exporter
        torch.onnx.export(
            _Traced(transformer.model, names, output).eval(),
            tuple(features[name] for name in names),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(names),
            output_names=[output],
            dynamic_axes={**dict.fromkeys(names, axes), output: {0: "batch"} if per_text else axes},
        )


class _OnnxRuntime:
    def __init__(self, path: Path, dtype: str) -> None:
        onnxruntime = require("onnxruntime", extra="onnx")
        if dtype == "int8":
            path = _quantize(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self._session.run(None, inputs)[0]
        return output


def _quantize(path: Path) -> Path:
    """Quantizes weights to int8 per column, and activations dynamically per matrix."""
    quantization = require("onnxruntime.quantization", extra="onnx")
    target = path.with_name("int8.onnx")
    vnni = cpu_has_vnni()
    with _quiet_root_logger():
        quantization.quantize_dynamic(
            path,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=not vnni,  # without VNNI, the sum of two int8 products can overflow 16 bits
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=True,  # protobuf is limited to 2 GB
        )
    return target


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Suppresses what the quantizer logs per node to the root logger."""

    def passes(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root = logging.getLogger()
    root.addFilter(passes)
    try:
        yield
    finally:
        root.removeFilter(passes)


class _OpenVino:
    def __init__(self, path: Path, dtype: str) -> None:
        openvino = require("openvino", extra="openvino")
        core = openvino.Core()
        model = core.read_model(path)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        }
        if dtype == "int8":
            _quantize_weights(model)
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(_GROUP)
        self._compiled = core.compile_model(model, "CPU", settings)
        self._idle: list[Any] = []  # requests not in use by a thread; pop and append are atomic

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        output: NDArray[np.float32] = request.infer(inputs, share_inputs=True)[0].copy()
        self._idle.append(request)  # a failed request is not reused
        return output


def _quantize_weights(model: Any) -> None:
    """Quantizes the weights of an OpenVINO model to int8 per column; OpenVINO quantizes activations itself."""
    ops = require("openvino.opset13", extra="openvino")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() != "Constant" or len(weight.shape) != 2:
            continue
        values = weight.data
        axis = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-9) / 127
        codes = ops.constant(np.rint(values / scale).astype(np.int8))
        restored = ops.multiply(ops.convert(codes, "f32"), ops.constant(scale.astype(np.float32)))
        node.input(1).replace_source_output(restored.output(0))
