"""A backbone exported as ONNX, run by ONNX Runtime or by OpenVINO on the CPU.

Exported anew at each load, into a temporary folder that is gone afterwards: nothing is written beside the model, and
no export of another version is ever picked up.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from korag._optional import require
from korag.encoders.precision import PROBE_TEXTS

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OPSET = 17
_GROUP = 64
"""Numbers of a row that share a factor when OpenVINO rounds activations. Where it does not divide a row, as larger
ones would not divide hidden sizes of 192 or 576, it silently computes in float32."""
_export_lock = threading.Lock()

Arrays = dict[str, NDArray[np.int64]]


class Engine(Protocol):
    """A compiled graph. Safe to call from many threads."""

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        """Runs it once."""
        ...


class EngineBackbone(torch.nn.Module):
    """Stands in for a transformers model whose graph an engine runs.

    Args:
        engine: The engine.
        config: The model's configuration.
        output: Name of its one output.
    """

    def __init__(self, engine: Engine, config: Any, output: str) -> None:
        super().__init__()
        self._engine, self._output = engine, output
        self.config, self.device = config, torch.device("cpu")

    def forward(self, **inputs: Any) -> dict[str, torch.Tensor]:
        """Runs the engine; takes what the model takes, and ignores what the graph has no input for."""
        arrays = {name: inputs[name].numpy() for name in _INPUTS if name in inputs}
        return {self._output: torch.from_numpy(self._engine(arrays))}


def export_and_load(transformer: Any, backend: str, dtype: str) -> EngineBackbone:
    """Exports the backbone of a sentence-transformers `Transformer` and loads it into an engine.

    Args:
        transformer: The module; not changed, but for its attention: the plain one, whose masks are finite.
        backend: ``"onnx"`` or ``"openvino"``.
        dtype: ``"float32"``, ``"int8"``; for OpenVINO, ``"bfloat16"`` too.
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
    """A transformers model with positional inputs and one output, as the exporter wants it."""

    def __init__(self, backbone: torch.nn.Module, names: tuple[str, ...], output: str) -> None:
        super().__init__()
        self._backbone, self._names, self._output = backbone, names, output

    def forward(self, *tensors: torch.Tensor) -> Any:
        inputs = dict(zip(self._names, tensors, strict=True))
        return self._backbone(**inputs, return_dict=True)[self._output]


def _export(transformer: Any, output: str, path: Path) -> None:
    features = transformer.preprocess(list(PROBE_TEXTS))  # padded, so that the mask is not left out of the graph
    names = tuple(name for name in _INPUTS if name in features)
    # With torch's fused attention, a padding token that sees nothing in its window becomes NaN in other engines.
    transformer.model.set_attn_implementation("eager")
    axes = {0: "batch", 1: "length"}
    per_text = transformer.module_output_name == "scores"  # of a cross-encoder; all others give one row a token
    with _export_lock, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and that this exporter is to be replaced by a slower one
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
            path = _quantized(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self._session.run(None, inputs)[0]
        return output


def _quantized(path: Path) -> Path:
    """Rounds weights to 8 bits, a factor for each column; activations as they come, a factor for each matrix."""
    quantization = require("onnxruntime.quantization", extra="onnx")
    target = path.with_name("int8.onnx")
    vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
    with _quiet_root_logger():
        quantization.quantize_dynamic(
            path,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=not vnni,  # without VNNI, sums of two products of bytes can overflow 16 bits
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=True,  # or weights of 2 GB would not fit
        )
    return target


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keeps what the quantizer tells of each node, through the root logger itself, from the user."""

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
            _round_weights(model)
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(_GROUP)
        self._compiled = core.compile_model(model, "CPU", settings)
        self._idle: list[Any] = []  # requests that no thread is using; taking and giving back are atomic

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        output: NDArray[np.float32] = request.infer(inputs, share_inputs=True)[0].copy()
        self._idle.append(request)  # one that failed is not used again
        return output


def _round_weights(model: Any) -> None:
    """Rounds the weights of an OpenVINO model to 8 bits, a factor for each column; it rounds activations itself."""
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
