"""Comparison of packed sequences' results with those of each alone, and with the reference's.

Errors are relative to the largest value of the compared results. TF32 is off in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpusmill.models import Model, PackedTokens, load_model
from on_gpu.workload import CLASSES, POISON

LENGTHS = (1, 2, 512, 17, 76, 76, 300, 129, 64, 33, 5, 76, 200, 128, 1, 9)
MOST_FLOAT32, LEAST_COSINE = 1e-4, 0.999


@contextmanager
def without_tf32() -> Iterator[None]:
    """Compute products of float32 in float32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def check(folder: Path, *, device: str) -> dict[str, Any]:
    """Compare packed with alone, with transformers, bfloat16 with float32, and with NaN neighbours."""
    ids = documents()
    with without_tf32():
        exact = load_model(folder, task="base", device=device)
        alone = [states(exact, [one])[0] for one in ids]
        found: dict[str, Any] = {
            "packed against alone, float32": largest_error(states(exact, ids), alone),
            "against transformers alone, float32": largest_error(_reference(folder, ids, device), alone),
            "NaN neighbours leave finite, float32": neighbours_stay_finite(exact, ids),
        }
        del exact
        model = load_model(folder, task="base", device=device, dtype="bfloat16")
        packed, each = states(model, ids), [states(model, [one])[0] for one in ids]
        found |= {
            "cosine of bfloat16 and float32, least": least_cosine(packed, alone),
            "packed against alone, bfloat16": largest_error(packed, each),
            "NaN neighbours leave finite, bfloat16": neighbours_stay_finite(model, ids),
        }
    found["passed"] = (
        found["packed against alone, float32"] <= MOST_FLOAT32
        and found["against transformers alone, float32"] <= MOST_FLOAT32
        and found["cosine of bfloat16 and float32, least"] >= LEAST_COSINE
        and all(value for name, value in found.items() if name.startswith("NaN"))
    )
    return found


def at_range(random: Path, trained: Path | None, *, device: str) -> dict[str, Any]:
    """Compare bfloat16 with float32 in a MobileBERT with large activations, by the cosine of mean vectors.

    The models are a trained checkpoint, if one is given, and random weights whose first norm is scaled until
    some features reach 1e7, as in the published checkpoint.
    """
    found: dict[str, Any] = {}
    for name, folder in (("random, stretched", stretched(random)), ("trained", trained)):
        if folder is None:
            found[name] = "no checkpoint was given"
            continue
        ids = documents()
        exact = load_model(folder, task="base", device=device)
        layers = exact(PackedTokens.from_sequences(ids), output_hidden_states=True).hidden_states
        wanted = states(exact, ids)
        rough = states(load_model(folder, task="base", device=device, dtype="bfloat16"), ids)
        found[f"{name}: largest activation"] = max(float(layer.abs().max()) for layer in layers)
        found[f"{name}: least cosine of bfloat16"] = least_cosine(rough, wanted)
    return found


def stretched(folder: Path) -> Path:
    """Copy a MobileBERT checkpoint with an embeddings' norm that scales features by 1 to 1e7."""
    target = folder.with_name(f"{folder.name}-stretched")
    target.mkdir(exist_ok=True)
    (target / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    (name,) = (each for each in tensors if each.endswith("embeddings.LayerNorm.weight"))
    generator = torch.Generator().manual_seed(0)
    tensors[name] = 10 ** (7 * torch.rand(tensors[name].shape, generator=generator) ** 4)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def documents(*, seed: int = 5) -> list[np.ndarray[Any, Any]]:
    """Return sequences of different lengths, unordered."""
    random = np.random.default_rng(seed)
    return [random.integers(POISON + 1, 30000, length) for length in LENGTHS]


def states(model: Model, ids: list[Any]) -> list[Tensor]:
    """Return each sequence's hidden states (L, D) in float32, on the host."""
    packed = PackedTokens.from_sequences(ids)
    return [part.float().cpu() for part in packed.split(model(packed).last_hidden_state)]


def largest_error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest value; NaN if a value is NaN."""
    scale = max(float(part.abs().max()) for part in wanted)
    apart = torch.stack([(a - b).abs().max() for a, b in zip(found, wanted, strict=True)])
    return float(apart.max()) / scale


def least_cosine(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the least cosine of the sequences' mean vectors, computed in float64."""
    pairs = zip(found, wanted, strict=True)
    cosines = [torch.cosine_similarity(a.double().mean(0), b.double().mean(0), dim=0) for a, b in pairs]
    return float(torch.stack(cosines).min())


def neighbours_stay_finite(model: Model, ids: list[Any]) -> bool:
    """Return whether sequences stay finite beside sequences with a NaN word, which become NaN."""
    named = model.encoder.named_parameters()
    words = next(each for name, each in named if name.endswith("embeddings.words.weight"))
    kept = words[POISON].clone()
    words[POISON] = float("nan")
    poisoned = np.array([101, POISON, 2000, 102])
    mixed = [part for one in ids for part in (poisoned, one)] + [poisoned]
    found = states(model, mixed)
    words[POISON] = kept
    healthy = all(bool(part.isfinite().all()) for part in found[1::2])
    return healthy and all(bool(part.isnan().all()) for part in found[::2])


def _reference(folder: Path, ids: list[Any], device: str) -> list[Tensor]:
    """Return transformers' hidden states of each sequence alone."""
    import transformers

    name = next(prefix for model, prefix in CLASSES.items() if folder.name.startswith(model))
    cls = getattr(transformers, f"{name}Model")
    model = cls.from_pretrained(folder, attn_implementation="eager").eval().to(device)
    with torch.inference_mode():
        return [
            model(input_ids=torch.from_numpy(one)[None].to(device)).last_hidden_state[0].float().cpu()
            for one in ids
        ]
