"""The record of a framework: its files, how to read them, and how its names and layouts are translated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from corpusmill.jobs.errors import ConvertError

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class SourceLayout:
    """The order of axes of tensors with this rank, whose names end like this.

    `axes` are the stored axes in PyTorch's order; None is an axis of length 1 that only PyTorch has.
    """

    ending: str
    rank: int
    axes: tuple[int | None, ...]

    def applies(self, name: str, tensor: Tensor) -> bool:
        """Return whether a tensor, by the framework's own name, is stored like this."""
        return tensor.dim() == self.rank and name.endswith(self.ending)

    def to_torch(self, tensor: Tensor) -> Tensor:
        """Return the tensor with its axes in PyTorch's order."""
        moved = tensor.permute([axis for axis in self.axes if axis is not None])
        for place, axis in enumerate(self.axes):
            moved = moved.unsqueeze(place) if axis is None else moved
        return moved


@dataclass(frozen=True)
class Framework:
    """One kind of checkpoint.

    `read` yields a file's tensors by their own names; `renames` are regular expressions, applied in order.
    `index` names the file that lists the shards, if the framework has shards. `families` are the model types
    that transformers had in this framework. `derived` returns tensors that the framework computes and does
    not store.
    """

    name: str
    file: str
    index: str | None
    families: tuple[str, ...]
    read: Callable[[Path], Iterator[tuple[str, Tensor]]]
    renames: tuple[tuple[str, str], ...]
    layouts: tuple[SourceLayout, ...] = ()
    derived: Callable[[Tensors, dict[str, Any]], Tensors] = field(default=lambda _tensors, _config: {})


def check_size(name: str, size: int, file: Path) -> None:
    """Refuse a tensor whose header states more bytes than its file has, before memory is spent on it."""
    if size > file.stat().st_size:
        raise ConvertError(
            f"{file}: {name} has {size:,} bytes by its header, more than the file; the file is damaged"
        )
