"""What a framework is to a conversion: its files, how to read them, and what its names and layouts mean."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from corpusmill.jobs.errors import ConvertError

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How tensors of one kind are stored: by the end of their name and their rank.

    `axes` are the stored axes in PyTorch's order; None is an axis of length 1 that only PyTorch has.
    """

    ending: str
    rank: int
    axes: tuple[int | None, ...]

    def applies(self, name: str, tensor: Tensor) -> bool:
        """Whether a tensor, by the framework's own name, is stored like this."""
        return tensor.dim() == self.rank and name.endswith(self.ending)

    def to_torch(self, tensor: Tensor) -> Tensor:
        """The same numbers in the order of axes that PyTorch's module has."""
        moved = tensor.permute([axis for axis in self.axes if axis is not None])
        for place, axis in enumerate(self.axes):
            moved = moved.unsqueeze(place) if axis is None else moved
        return moved


@dataclass(frozen=True)
class Framework:
    """One kind of checkpoint.

    `read` yields a file's tensors by their own names; `renames` are regular expressions, applied in order.
    `index` names the file that lists shards, where there can be any. `families` are the model types that
    transformers had in this framework. `derived` gives tensors that it computes and does not store.
    """

    name: str
    file: str
    index: str | None
    families: tuple[str, ...]
    read: Callable[[Path], Iterator[tuple[str, Tensor]]]
    renames: tuple[tuple[str, str], ...]
    layouts: tuple[Layout, ...] = ()
    derived: Callable[[Tensors, dict[str, Any]], Tensors] = field(default=lambda _tensors, _config: {})


def check_size(name: str, size: int, file: Path) -> None:
    """Refuses a tensor that claims more bytes than its file has, before memory is spent on it."""
    if size > file.stat().st_size:
        raise ConvertError(
            f"{file}: {name} claims {size:,} bytes, more than the file has; it is damaged or not a checkpoint"
        )
