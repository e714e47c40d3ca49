"""The activation that a cross-encoder of sentence-transformers states for its scores.

Version 6.2 reads, in this order: `activation_fn` in config_sentence_transformers.json of a folder with
modules.json, `sentence_transformers.activation_fn` in config.json, and there
`sbert_ce_default_activation_function`, the key before version 4.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from corpusmill.models.checkpoints.config_fields import read_object
from corpusmill.models.errors import ConfigError

SETTINGS = "config_sentence_transformers.json"
TORCH_SCORE_FUNCTIONS = {
    "Identity": "none",
    "LogSigmoid": "log_sigmoid",
    "LogSoftmax": "log_softmax",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
}
PACKAGES = ("torch.nn", "torch.nn.modules", "torch.nn.modules.activation", "torch.nn.modules.linear")


@dataclass(frozen=True)
class ScoreActivation:
    """A stated activation: the import path of its class, and the file and key that state it."""

    path: str
    stated_in: str

    KNOWN: ClassVar[tuple[str, ...]] = tuple(f"torch.nn.{kind}" for kind in TORCH_SCORE_FUNCTIONS)

    @property
    def function(self) -> str | None:
        """Our name of the function; None for a class that this version does not run."""
        package, _, kind = self.path.rpartition(".")
        return TORCH_SCORE_FUNCTIONS.get(kind) if package in PACKAGES else None


def read_score_activation(root: Path, raw: dict[str, Any], *, modular: bool) -> ScoreActivation | None:
    """Return the stated activation; `raw` is config.json, `modular`: the folder has a modules.json."""
    for stated_in, value in _stated(root, raw, modular=modular):
        if not isinstance(value, str):
            raise ConfigError(f"{stated_in}: expected the name of a class, got {value!r}")
        return ScoreActivation(value, stated_in)
    return None


def _stated(root: Path, raw: dict[str, Any], *, modular: bool) -> list[tuple[str, Any]]:
    """Return the stated values with their places, the one that counts first."""
    path = root / SETTINGS
    settings = read_object(path) if modular and path.is_file() else {}
    nested = raw.get("sentence_transformers")
    found = []
    if settings.get("model_type") == "CrossEncoder":
        found.append((f"{SETTINGS}: activation_fn", settings.get("activation_fn")))
    if isinstance(nested, dict) and "activation_fn" in nested:
        found.append(("config.json: sentence_transformers.activation_fn", nested["activation_fn"]))
    else:
        key = "sbert_ce_default_activation_function"
        found.append((f"config.json: {key}", raw.get(key)))
    return [(stated_in, value) for stated_in, value in found if value is not None]
