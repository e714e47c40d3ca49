"""Our kernels against their definitions at real sizes, and the launch cost with and without graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpusmill.models import Model, PackedTokens, load_model
from corpusmill.models.gpu.layout import choose_sum_and_norm
from corpusmill.models.gpu.padded_encoder import PaddedEncoder
from corpusmill.models.gpu.records import Norm
from corpusmill.models.gpu.sum_and_norm import PlainSumAndNorm
from corpusmill.models.ops.choose import attention_kernel, takes_empty_sequences, window_kernels
from corpusmill.models.ops.windows import depthwise_laid_apart, dynamic_laid_apart
from on_gpu.machine import seconds, synchronize
from on_gpu.workload import POISON, draw_lengths

SIZES = (256, 1024, 4096, 16384)


def check(*, device: str, small: bool) -> dict[str, Any]:
    """Return the chosen kernels with reasons, their errors in bfloat16, and times beside the definitions'."""
    dtype, there = torch.bfloat16, torch.device(device)
    kernels, reason = choose_sum_and_norm(there.type, dtype)
    found: dict[str, Any] = {
        "attention": attention_kernel(there.type, dtype)[1],
        "norms": reason,
        "windows": window_kernels(there.type)[1],
        "empty sequences in attention": takes_empty_sequences(dtype, there) or "taken",
    }
    tokens, width = (512, 96) if small else (65536, 768)
    y_TD, residual_TD = (torch.randn(tokens, width, device=there, dtype=dtype) for _ in range(2))
    bias_D, weight_D = (torch.randn(width, device=there, dtype=dtype) for _ in range(2))
    norm, plain = Norm(weight_D, bias_D, 1e-12), PlainSumAndNorm()
    if kernels is not None:
        found |= _compared(
            "sum and norm",
            lambda: kernels.normed_sum(y_TD, bias_D, residual_TD, norm),
            lambda: plain.normed_sum(y_TD, bias_D, residual_TD, norm),
            device,
        )
    packed = packed_of(tokens).to(there)
    size = len(packed.input_ids)
    weight_KD = torch.randn(9, width, device=there, dtype=dtype)
    x_THd = torch.randn(size, width // 48, 24, device=there, dtype=dtype)
    kernel_THK = torch.randn(size, width // 48, 9, device=there, dtype=dtype).softmax(-1)
    convolve = window_kernels(there.type)[0]
    x_TD = torch.randn(size, width, device=there, dtype=dtype)
    found |= _compared(
        "depthwise convolution",
        lambda: convolve.depthwise(x_TD, weight_KD, packed),
        lambda: depthwise_laid_apart(x_TD, weight_KD, packed),
        device,
    )
    return found | _compared(
        "dynamic convolution",
        lambda: convolve.dynamic(x_THd, kernel_THK, packed),
        lambda: dynamic_laid_apart(x_THd, kernel_THK, packed),
        device,
    )


def packed_of(tokens: int, *, seed: int = 3) -> PackedTokens:
    """Return a batch of documents with about this many tokens."""
    random = np.random.default_rng(seed)
    lengths = draw_lengths(max(1, tokens // 93), seed=seed)
    return PackedTokens.from_flat(random.integers(POISON + 1, 30000, int(lengths.sum())), lengths)


def launching(folder: Path, *, device: str) -> dict[str, Any]:
    """Return the times of a pass by batch size, with graphs and without, and whether their bytes agree."""
    model = load_model(folder, task="base", device=device, dtype="bfloat16")
    found: dict[str, Any] = {"graphs": model.kernel_reason.rpartition("; ")[2]}
    padded_encoder = model.encoder
    for tokens in SIZES:
        batch = packed_of(tokens).to(device)
        row: dict[str, Any] = {"as a job": round(1e3 * _pass(model, batch, device), 3)}
        if isinstance(padded_encoder, PaddedEncoder):
            row["replayed and padded agree to the bit"] = _same(model, padded_encoder, batch)
            model.encoder = padded_encoder.encoder
            row["plain"] = round(1e3 * _pass(model, batch, device), 3)
            model.encoder = padded_encoder
        found[f"{len(batch.input_ids)} tokens, ms"] = row
    if isinstance(padded_encoder, PaddedEncoder) and padded_encoder.runner is not None:
        found["recording failed"] = getattr(padded_encoder.runner, "failure", None)
    return found


def _pass(model: Model, batch: PackedTokens, device: str) -> float:
    return seconds(lambda: model(batch), device=device, rounds=10, warmups=3)


def _same(model: Model, padded_encoder: PaddedEncoder, batch: PackedTokens) -> bool:
    """Return whether a graph's replay gives the bytes of a padded batch without a graph."""
    replayed = model(batch).last_hidden_state
    runner, padded_encoder.runner = padded_encoder.runner, None
    padded = model(batch).last_hidden_state
    padded_encoder.runner = runner
    return bool(torch.equal(replayed, padded))


def _compared(name: str, ours: Any, definition: Any, device: str) -> dict[str, Any]:
    found, wanted = ours().float(), definition().float()
    synchronize(device)
    error = float((found - wanted).abs().max() / wanted.abs().max())
    times = [seconds(call, device=device, rounds=10, warmups=2) for call in (ours, definition)]
    return {
        f"{name}, error": error,
        f"{name}, ms": round(times[0] * 1e3, 3),
        f"{name} by definition, ms": round(times[1] * 1e3, 3),
    }
