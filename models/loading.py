"""Loading: from a checkpoint's folder to a model that is ready to run."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import Checkpoint, skeleton
from corpusmill.models.checkpoints.embedding_plan import EmbeddingOptions
from corpusmill.models.checkpoints.reading import read_checkpoint
from corpusmill.models.checkpoints.safetensors_headers import StoredTensor
from corpusmill.models.checkpoints.tensors import TensorPlan, check_tensors, layout_of
from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.models.cpu.layout import fold_norms, lay_out, quantize_layers
from corpusmill.models.errors import OptionError
from corpusmill.models.gpu.graphs import with_graphs
from corpusmill.models.layers.norm_folding import Folding
from corpusmill.models.model import Model
from corpusmill.models.ops.attention import attends_in_bfloat16
from corpusmill.models.ops.choose import attention_kernel, window_kernels

# The dtype between layers, and of layers that are not quantized.
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,
}
DEVICE_DTYPES = {"cpu": ("float32", "bfloat16", "int8"), "cuda": ("float32", "bfloat16", "float16")}


def load_model(
    path: str | Path,
    task: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    embedding: EmbeddingOptions | None = None,
    *,
    route: str | None = None,
    ignore_tensors: Sequence[str] = (),
) -> Model:
    """Load a checkpoint for a task, in evaluation mode and without gradients.

    Every tensor comes from the checkpoint; none is initialised at random. `embedding` changes how vectors
    are made. `route` is the route of a Router to load, and `ignore_tensors` are patterns of names of surplus
    tensors that may be left out. An OptionError refuses a dtype that would ruin this architecture's results,
    with the reason.
    """
    target = _device(device)
    checkpoint = read_checkpoint(path, task, embedding=embedding, route=route)
    number = _dtype(dtype, target, checkpoint)
    plan = check_tensors(checkpoint, ignore_tensors)
    parts = _fill(checkpoint, plan, dtype=number, device=target)
    _fold(parts["encoder"], dtype=number)
    reasons = _lay_out(parts, int8=dtype == "int8", dtype=number, device=target)
    if target.type == "cuda":
        reasons += _for_gpu(parts, checkpoint, dtype=number, device=target)
    return Model(checkpoint, parts, dtype=number, device=target, reason="; ".join(reasons)).eval()


def _lay_out(
    parts: nn.ModuleDict, *, int8: bool, dtype: torch.dtype, device: torch.device
) -> tuple[str, ...]:
    """Choose the kernels; return which, and why."""
    if not int8:
        return lay_out(parts, dtype=dtype, device=device), attention_kernel(device.type, dtype)[1]
    attention = torch.bfloat16 if attends_in_bfloat16() else dtype
    quantized = quantize_layers(parts["encoder"], attention=attention)
    return quantized, lay_out(parts, dtype=dtype, device=device), attention_kernel("cpu", attention)[1]


def _for_gpu(
    parts: nn.ModuleDict, checkpoint: Checkpoint, *, dtype: torch.dtype, device: torch.device
) -> tuple[str, ...]:
    """Let small batches run as graphs; return the reasons of graphs and of window kernels."""
    depthwise = any(name.endswith(".depthwise") for name, _ in parts.named_parameters())
    convolving = (window_kernels(device.type)[1],) if depthwise else ()
    parts["encoder"], graphs = with_graphs(
        parts["encoder"],
        positions=checkpoint.max_positions,
        width=checkpoint.width,
        dtype=dtype,
        device=device,
    )
    return (*convolving, graphs)


def _fill(
    checkpoint: Checkpoint, plan: TensorPlan, *, dtype: torch.dtype, device: torch.device
) -> nn.ModuleDict:
    """Give the skeleton on the meta device the checkpoint's tensors as its parameters."""
    parts = skeleton(checkpoint, pooler=plan.pooler)
    architecture = ARCHITECTURES[checkpoint.model_type]
    folding = [f"{name}." for name, part in parts.named_modules() if isinstance(part, Folding)]
    stored_as = {ours: _stored_as(ours, dtype, folding) for ours in plan.sources}
    tensors = _read(plan, stored_as, device=device)
    for ours, parameter in parts.named_parameters():
        tensors[ours] = layout_of(ours, architecture).ours(tensors[ours], tuple(parameter.shape))
    parts.load_state_dict(tensors, assign=True, strict=True)
    parts.requires_grad_(False)
    return parts


def _read(
    plan: TensorPlan, stored_as: Mapping[str, torch.dtype], *, device: torch.device
) -> dict[str, Tensor]:
    """Return each parameter's tensor; a tensor that two of them share is read once."""

    @cache
    def tensor(source: StoredTensor, stored_as: torch.dtype) -> Tensor:
        return _tensor(source).to(device=device, dtype=stored_as)

    return {ours: tensor(source, stored_as[ours]) for ours, source in plan.sources.items()}


def _tensor(source: StoredTensor) -> Tensor:
    """Return a tensor as a view of its file, opened for it alone.

    The pages of a file that were read stay in memory while any tensor views that file. A file opened once
    for all tensors would keep all of its pages, beside the copies made of them.
    """
    with safe_open(source.file, framework="pt") as opened:
        read: Tensor = opened.get_tensor(source.name)
        return read


def _stored_as(ours: str, dtype: torch.dtype, folding: Iterable[str]) -> torch.dtype:
    """Return the dtype to store a parameter in.

    Projections of embeddings stay in float32, as their input does: they cost one row per sequence. Layers
    that fold norms stay in float32 until the norms are folded.
    """
    return torch.float32 if ours.startswith(("head.steps.", "head.token_steps.", *folding)) else dtype


def _fold(encoder: nn.Module, *, dtype: torch.dtype) -> None:
    fold_norms(encoder)
    encoder.to(dtype)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"device: expected cpu or cuda, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device: expected a CUDA device for {name!r}, but torch finds none; use cpu")
    return device


def _dtype(name: str, device: torch.device, checkpoint: Checkpoint) -> torch.dtype:
    known = DEVICE_DTYPES[device.type]
    if name in checkpoint.refused_dtypes:
        usable = ", ".join(other for other in known if other not in checkpoint.refused_dtypes)
        raise OptionError(
            f"dtype: {name} is refused for {checkpoint.model_type}: {checkpoint.refused_dtypes[name]}; "
            f"use one of {usable}"
        )
    if name not in known:
        raise OptionError(f"dtype: expected one of {', '.join(known)} on {device.type}, got {name!r}")
    if name == "int8" and not has_int8_products():
        raise OptionError(
            "dtype: int8 needs oneDNN and a CPU with VNNI instructions; use float32 or bfloat16"
        )
    return DTYPES[name]
