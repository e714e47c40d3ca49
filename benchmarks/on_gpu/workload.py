"""The workload: base shapes with random weights, and documents of realistic lengths.

Lengths are drawn from the lognormal distribution with the median (76 tokens) and mean (93) of the Debian
package descriptions that other measurements use, cut at 512.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpusmill.models import PackedTokens

MEDIAN, MEAN, SHORTEST, LONGEST = 76, 93, 3, 512
UNIT = 4096
"""The documents of a unit, which are sorted by length."""
WORDS = 30522
POISON = 999
"""A word that no document has, so that its vector can be set to NaN."""
BASE: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {},
    "mobilebert": {},
    "squeezebert": {},
    "convbert": {"pad_token_id": 0},
}
"""The differences of base shapes from the defaults of transformers' configs."""
SMALL: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "distilbert": {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128},
    "mobilebert": {
        "hidden_size": 64,
        "embedding_size": 32,
        "intra_bottleneck_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "squeezebert": {
        "hidden_size": 64,
        "embedding_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
    },
    "convbert": {
        "hidden_size": 64,
        "embedding_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "pad_token_id": 0,
    },
}
CLASSES = {
    "bert": "Bert",
    "distilbert": "DistilBert",
    "mobilebert": "MobileBert",
    "squeezebert": "SqueezeBert",
    "convbert": "ConvBert",
}
WIDTHS = {"base": BASE, "small": SMALL}


@dataclass(frozen=True)
class Corpus:
    """Documents as flat ids, and their lengths, longest first within each unit of `UNIT`."""

    units: tuple[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], ...]

    @property
    def tokens(self) -> int:
        return sum(len(ids) for ids, _ in self.units)

    @property
    def first(self) -> "Corpus":
        """The first unit alone."""
        return Corpus(self.units[:1])

    @property
    def documents(self) -> list[np.ndarray[Any, Any]]:
        """Each document's ids, in the order of the units."""
        return [doc for ids, lengths in self.units for doc in np.split(ids, np.cumsum(lengths)[:-1])]

    def batches(self, budget: int) -> list[PackedTokens]:
        """Return packed batches of at most `budget` tokens, cut like a job's."""
        return [PackedTokens.from_flat(*part) for unit in self.units for part in _cut(*unit, budget)]


def draw_lengths(count: int, *, seed: int) -> np.ndarray[Any, Any]:
    """Return lognormal lengths with the median and mean, limited at both ends."""
    sigma = math.sqrt(2 * math.log(MEAN / MEDIAN))
    drawn = np.random.default_rng(seed).lognormal(math.log(MEDIAN), sigma, count)
    return np.clip(np.rint(drawn), SHORTEST, LONGEST).astype(np.int64)


def draw_corpus(count: int, *, seed: int = 0) -> Corpus:
    """Return documents of random words."""
    random = np.random.default_rng(seed + 1)
    lengths = draw_lengths(count, seed=seed)
    units = []
    for start in range(0, count, UNIT):
        part = -np.sort(-lengths[start : start + UNIT])
        units.append((random.integers(POISON + 1, WORDS, int(part.sum())), part))
    return Corpus(tuple(units))


def write_checkpoint(name: str, width: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a checkpoint with transformers' initial weights, if it is not there yet; return its folder."""
    import transformers

    target = folder / f"{name}-{width}"
    if not (target / "config.json").exists():
        torch.manual_seed(seed)
        config = getattr(transformers, f"{CLASSES[name]}Config")(**WIDTHS[width][name])
        getattr(transformers, f"{CLASSES[name]}Model")(config).save_pretrained(target)
    return target


def padded_batches(documents: Sequence[np.ndarray[Any, Any]], *, cells: int) -> list[tuple[Any, Any]]:
    """Return (ids, mask) of documents sorted by length, padded to a batch's longest, at most `cells` ids."""
    batches: list[list[np.ndarray[Any, Any]]] = [[]]
    for document in sorted(documents, key=len, reverse=True):
        if batches[-1] and (len(batches[-1]) + 1) * len(batches[-1][0]) > cells:
            batches.append([])
        batches[-1].append(document)
    return [_padded(batch) for batch in batches]


def _padded(batch: Sequence[np.ndarray[Any, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    ids_NL = np.zeros((len(batch), len(batch[0])), dtype=np.int64)
    mask_NL = np.zeros_like(ids_NL)
    for row, document in enumerate(batch):
        ids_NL[row, : len(document)] = document
        mask_NL[row, : len(document)] = 1
    return torch.from_numpy(ids_NL), torch.from_numpy(mask_NL)


def _cut(
    ids: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], budget: int
) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    parts, first, token = [], 0, 0
    while first < len(lengths):
        fitting = int(np.searchsorted(np.cumsum(lengths[first:]), budget, side="right"))
        last = first + max(1, fitting)
        size = int(lengths[first:last].sum())
        parts.append((ids[token : token + size], lengths[first:last]))
        first, token = last, token + size
    return parts
