"""The pooling in sentence-transformers files: vectors of hidden states, or weights of words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpusmill.models.checkpoints.config_fields import Fields, located, read_object
from corpusmill.models.errors import ConfigError

# In the order in which sentence-transformers concatenates them.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_NAMES = {**{name: name for name in POOLING_FLAGS.values()}, "mean_sqrt_len_tokens": "mean_sqrt_len"}
STRATEGIES = ("max", "sum")
# How many times log(1 + x) is applied to the positive scores.
SPLADE_LOGARITHMS = {"relu": 1, "log1p_relu": 2}


@dataclass(frozen=True)
class Splade:
    """How a sparse encoder turns its tokens' scores into one weight per word: `strategy` max or sum.

    `logarithms` is how often log(1 + x) is applied to what is positive of a score: once in SPLADE
    (https://arxiv.org/abs/2109.10086), twice in its variant with an l0 activation
    (https://arxiv.org/abs/2504.14839).
    """

    strategy: str = "max"
    logarithms: int = 1


def read_pooling(path: Path) -> tuple[str, ...]:
    """Return our names of a Pooling's modes, in the order of concatenation."""
    raw = read_object(path)
    named = raw.get("pooling_mode")
    if named is None:
        flags = {"pooling_mode_mean_tokens": True, **raw}
        modes = [mode for flag, mode in POOLING_FLAGS.items() if flags.get(flag)]
    else:
        modes = [_pooling_name(name, path) for name in ([named] if isinstance(named, str) else named)]
    if not modes:
        raise ConfigError(f"{path}: expected at least one pooling mode, got none")
    return tuple(modes)


def _pooling_name(name: Any, path: Path) -> str:
    if name not in POOLING_NAMES:
        raise ConfigError(f"{path}: pooling_mode: expected one of {', '.join(POOLING_NAMES)}; got {name!r}")
    return POOLING_NAMES[name]


def read_splade(path: Path) -> Splade:
    """Read a SpladePooling's config; its chunk_size changes memory use only."""
    fields = Fields(read_object(path))
    with located(path):
        fields.only("pooling_strategy", *STRATEGIES)
        fields.only("activation_function", *SPLADE_LOGARITHMS)
        return Splade(
            strategy=fields.get("pooling_strategy", "max"),
            logarithms=SPLADE_LOGARITHMS[fields.get("activation_function", "relu")],
        )
