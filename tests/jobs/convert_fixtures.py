"""The checkpoints that TensorFlow and Flax wrote, and the answers they gave (fixtures/convert/make.py)."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "fixtures" / "convert"
NAMES = sorted(path.stem for path in FOLDER.glob("*.zip"))


@dataclass(frozen=True)
class Question:
    """One sequence (or the choices of one question) alone, and the framework's answer by output name."""

    given: dict[str, Tensor]
    answer: dict[str, Tensor]


def unpack(name: str, folder: Path) -> Path:
    """Unpacks a checkpoint, without the answers, and returns the folder."""
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as packed:
        packed.extractall(folder, [member for member in packed.namelist() if member != "reference.npz"])
    return folder


def questions(name: str) -> list[Question]:
    """What was asked of the framework, with the answers."""
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as packed, packed.open("reference.npz") as opened:
        arrays = dict(np.load(opened))
    count = len({key.split("/")[0] for key in arrays})
    return [Question(_part(arrays, f"{i}/in/"), _part(arrays, f"{i}/out/")) for i in range(count)]


def reference(folder: Path) -> tuple[Any, dict[str, Any]]:
    """transformers' PyTorch model of the class that config.json names, and what it said while loading."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model, info = model_class.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
    )
    return model.eval(), info


def _part(arrays: dict[str, np.ndarray], start: str) -> dict[str, Tensor]:
    chosen = {key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)}
    return {key: torch.from_numpy(np.array(value)) for key, value in chosen.items()}
