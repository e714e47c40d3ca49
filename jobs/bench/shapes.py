"""Checkpoints of base shapes with random weights, because speed does not depend on the weights."""

import importlib.resources
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from corpusmill.jobs.errors import BenchError
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import skeleton
from corpusmill.models.checkpoints.reading import read_checkpoint
from corpusmill.models.checkpoints.tensors import checkpoint_name, layout_of

BUNDLED = "stdlib-sections"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
WEIGHT_DEVIATION = 0.02
"""The standard deviation of the weights, which the families' training starts from."""
BERT: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
MOBILE = {
    "hidden_size": 512,
    "num_hidden_layers": 24,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "relu",
}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertModel", {"model_type": "bert", **BERT}),
    "distilbert": (
        "DistilBertModel",
        {
            "model_type": "distilbert",
            "vocab_size": 30522,
            "dim": 768,
            "n_layers": 6,
            "n_heads": 12,
            "hidden_dim": 3072,
        },
    ),
    "mobilebert": ("MobileBertModel", {"model_type": "mobilebert", **BERT, **MOBILE}),
    "squeezebert": ("SqueezeBertModel", {"model_type": "squeezebert", **BERT}),
    "convbert": ("ConvBertModel", {"model_type": "convbert", **BERT, "pad_token_id": 0}),
    "minilm": ("BertModel", {"model_type": "bert", **BERT, **MINILM}),
}
"""Class and config.json of each family's base model; other fields have transformers' defaults."""


def checkpoint_of(shape: str, folder: Path, *, tokenizer: str | None = None) -> Path:
    """Return `shape` if it is a folder, else write a checkpoint of that shape below `folder`.

    It has the bundled tokenizer, or `tokenizer`, a tokenizer.json.
    """
    if Path(shape).is_dir():
        return Path(shape)
    if shape not in SHAPES:
        raise BenchError(f"expected a folder or one of {', '.join(SHAPES)}, got {shape!r}").at("architecture")
    target = folder / shape
    if not target.exists():
        target.mkdir(parents=True)
        write_config(shape, target)
        bundled = importlib.resources.files("corpusmill.demo") / BUNDLED
        for file in TOKENIZER_FILES:
            shutil.copyfile(str(bundled / file), target / file)
        if tokenizer is not None:
            shutil.copyfile(tokenizer, target / TOKENIZER_FILES[0])
        _write_weights(target)
    return target


def write_config(shape: str, folder: Path) -> None:
    """Write a named shape's config.json."""
    name, config = SHAPES[shape]
    text = json.dumps({"architectures": [name], **config}, indent=1)
    (folder / "config.json").write_text(text, encoding="utf-8")


def _write_weights(folder: Path) -> None:
    checkpoint = read_checkpoint(folder, "base")
    architecture = ARCHITECTURES[checkpoint.model_type]
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for ours, parameter in skeleton(checkpoint, pooler=False).named_parameters():
        shape = layout_of(ours, architecture).stored(tuple(parameter.shape))
        # A norm's factors are near 1.
        center = 1.0 if "norm" in ours and ours.endswith("weight") else 0.0
        values = torch.empty(shape).normal_(center, WEIGHT_DEVIATION, generator=generator)
        tensors[checkpoint_name(ours, architecture)] = values
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
