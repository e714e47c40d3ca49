"""Other engines that run an encoder on a CPU, as functions of a padded batch."""

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpusmill.jobs.bench import BenchError

Ids = np.ndarray[Any, np.dtype[np.int64]]
Call = Callable[[Ids, Ids], object]
INPUTS = ("input_ids", "attention_mask")


def engines(checkpoint: Path, work: Path, *, threads: int) -> dict[str, Call]:
    """Return every engine on the checkpoint's weights, by name and precision."""
    exported, quantized = work / "model.onnx", work / "model-int8.onnx"
    model = _quietly(lambda: extra("transformers").AutoModel.from_pretrained(checkpoint).eval())
    _quietly(lambda: _export(model, exported))
    _quietly(lambda: _quantize(exported, quantized))
    return {
        "transformers float32": _torch_call(model),
        "ONNX Runtime float32": _onnx_call(exported, threads),
        "ONNX Runtime int8": _onnx_call(quantized, threads),
        "OpenVINO float32": _openvino_call(exported, "f32", threads),
        "OpenVINO bfloat16": _openvino_call(exported, "bf16", threads),
        "transformers bfloat16": _torch_call(
            _quietly(lambda: extra("transformers").AutoModel.from_pretrained(checkpoint).eval().bfloat16())
        ),
    }


def _torch_call(model: Any) -> Call:
    @torch.inference_mode()
    def call(ids_NL: Ids, mask_NL: Ids) -> object:
        return model(input_ids=torch.from_numpy(ids_NL), attention_mask=torch.from_numpy(mask_NL))

    return call


class _States(torch.nn.Module):
    """A model as a function of two tensors, as exporters need it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_NL: torch.Tensor, mask_NL: torch.Tensor) -> Any:
        return self.model(input_ids=ids_NL, attention_mask=mask_NL).last_hidden_state


def _export(model: Any, target: Path) -> None:
    extra("onnx")
    example = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: "sequences", 1: "tokens"}
    torch.onnx.export(
        _States(model).eval(),
        (example, example),
        str(target),
        input_names=list(INPUTS),
        output_names=["states"],
        dynamic_axes=dict.fromkeys((*INPUTS, "states"), axes),
        dynamo=False,
    )


def _quantize(source: Path, target: Path) -> None:
    quantization = extra("onnxruntime.quantization")
    quantization.quantize_dynamic(str(source), str(target), weight_type=quantization.QuantType.QInt8)


def _onnx_call(file: Path, threads: int) -> Call:
    runtime = extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda ids_NL, mask_NL: session.run(None, dict(zip(INPUTS, (ids_NL, mask_NL), strict=True)))


def _openvino_call(file: Path, precision: str, threads: int) -> Call:
    core = extra("openvino").Core()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(str(file)), "CPU", settings)
    return lambda ids_NL, mask_NL: compiled(dict(zip(INPUTS, (ids_NL, mask_NL), strict=True)))[0]


def _quietly(act: Callable[[], Any]) -> Any:
    """Call a function without its output and warnings."""
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return act()


def extra(name: str) -> Any:
    """Return a module of another engine; refuse a missing one with the command to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        needed = name.partition(".")[0]
        raise BenchError(
            f"this comparison needs {needed}: pip install -r benchmarks/requirements.txt"
        ) from None
