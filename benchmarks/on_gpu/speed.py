"""Tokens per second of the model stage: ours packed, and transformers' padded by length, on one device."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from corpusmill.models import Model, PackedTokens, load_model
from on_gpu.machine import seconds
from on_gpu.workload import CLASSES, Corpus, padded_batches

DTYPE = "bfloat16"


def measure(
    folder: Path,
    corpus: Corpus,
    *,
    device: str,
    budgets: tuple[int, ...],
    rounds: int,
    peak: float,
) -> dict[str, Any]:
    """Return our rates at several token budgets, with batches on the device and on the host."""
    model = load_model(folder, task="embedding", device=device, dtype=DTYPE)
    found: dict[str, Any] = {"kernels": model.kernel_reason, "batches": {}}
    for budget in budgets:
        batches = corpus.batches(budget)
        there = [batch.to(device) for batch in batches]
        passes: dict[str, Callable[[], object]] = {
            "tokens on the device": partial(_all, model, there),
            "from the host and back": partial(_all_and_back, model, batches),
        }
        found["batches"][str(budget)] = {
            what: round(corpus.tokens / _taken(call, device, rounds)) for what, call in passes.items()
        }
    best = max(rate for rates in found["batches"].values() for rate in rates.values())
    found["tokens/s"] = best
    found["share of the product rate"] = round(best * _flops(model, corpus) / corpus.tokens / peak, 3)
    return found


def reference(
    name: str, folder: Path, corpus: Corpus, *, device: str, cells: tuple[int, ...], rounds: int = 3
) -> dict[str, Any]:
    """Return transformers' rates, sorted by length and padded; the encoder alone, tokens on the device."""
    import transformers

    cls = getattr(transformers, f"{CLASSES[name]}Model")
    model = cls.from_pretrained(folder).eval().to(device=device, dtype=getattr(torch, DTYPE))
    found: dict[str, Any] = {"attention": getattr(model.config, "_attn_implementation", None), "batches": {}}
    documents = corpus.documents
    for size in cells:
        batches = [(ids.to(device), mask.to(device)) for ids, mask in padded_batches(documents, cells=size)]
        real = sum(int(mask.sum()) for _, mask in batches) / sum(mask.numel() for _, mask in batches)
        taken = seconds(partial(_all_padded, model, batches), device=device, rounds=rounds)
        found["batches"][str(size)] = {
            "tokens/s": round(corpus.tokens / taken),
            "share that is no padding": round(real, 3),
        }
    found["tokens/s"] = max(batch["tokens/s"] for batch in found["batches"].values())
    return found


def _taken(call: Callable[[], object], device: str, rounds: int) -> float:
    # Two passes warm up: the second may record graphs.
    return seconds(call, device=device, rounds=rounds, warmups=2)


def _all(model: Model, batches: list[PackedTokens]) -> None:
    for batch in batches:
        model(batch)


def _all_and_back(model: Model, batches: list[PackedTokens]) -> None:
    """Run batches like a worker: on a GPU two at a time, each on a stream of its own."""
    on_gpu = model.device.type == "cuda"
    with ThreadPoolExecutor(2 if on_gpu else 1, initializer=_own_stream if on_gpu else None) as pool:
        for _ in pool.map(lambda batch: model(batch).embeddings.cpu(), batches):
            pass


def _own_stream() -> None:
    torch.cuda.set_stream(torch.cuda.Stream())


@torch.inference_mode()
def _all_padded(model: Any, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for ids_NL, mask_NL in batches:
        model(input_ids=ids_NL, attention_mask=mask_NL)


def _flops(model: Model, corpus: Corpus) -> float:
    lengths = (int(length) for _, unit in corpus.units for length in unit)
    return float(sum(model.checkpoint.flops_per_token(length) * length for length in lengths))
