"""The batch: sequences laid end to end, with no padding between them.

Shape suffixes: T tokens of all sequences, N sequences, L padded length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from corpusmill.models.errors import InputError


@dataclass(frozen=True)
class LengthRun:
    """Neighbouring sequences of one length: the tokens `start` to `start + count * length`."""

    start: int
    count: int
    length: int


@dataclass(frozen=True, eq=False)
class PackedTokens:
    """Token ids of a batch and where each sequence begins.

    Only this file and `corpusmill.models.ops` read `cu_seqlens`, `lengths`, `runs` and `split`: everything
    else works on each token by itself, which is why a sequence's result cannot depend on its neighbours.

    `input_ids`, `token_types` and `position_ids` are (T,) int64; `cu_seqlens` is (N + 1,) int32, on the same
    device; `lengths` is (N,) int64 and stays on the CPU. `key_mask` (T,) is False for tokens that no token of
    their sequence attends to; they still have results, and windows read them. It is None if all tokens are
    attended to. Order sequences by length to get few, long `runs`.
    """

    input_ids: Tensor
    token_types: Tensor | None
    position_ids: Tensor
    cu_seqlens: Tensor
    lengths: Tensor
    max_length: int
    runs: tuple[LengthRun, ...]
    key_mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def from_sequences(
        cls,
        sequences: Sequence[Any],
        token_types: Sequence[Any] | None = None,
        key_masks: Sequence[Any] | None = None,
    ) -> Self:
        """Pack lists, numpy arrays or tensors of ids, one per sequence; types and masks likewise."""
        arrays = [_ids(sequence, name="input_ids") for sequence in sequences]
        lengths = np.array([len(array) for array in arrays], dtype=np.int64)
        return cls.from_flat(
            _concatenate(arrays),
            lengths,
            _joined(token_types, lengths, name="token_types"),
            _joined(key_masks, lengths, name="key_masks"),
        )

    @classmethod
    def from_padded(cls, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Self:
        """Pack (N, L) padded tensors; positions count from a row's first token.

        Zeros of the mask at either end of a row are padding, and are dropped. A token with a zero between
        ones stays, but no token attends to it.
        """
        ids_NL = _array(input_ids)
        mask_NL = _mask(_array(attention_mask), shape=ids_NL.shape)
        kept_NL = np.logical_or.accumulate(mask_NL, axis=1)
        kept_NL &= np.logical_or.accumulate(mask_NL[:, ::-1], axis=1)[:, ::-1]
        types = None if token_type_ids is None else _array(token_type_ids)
        if types is not None and types.shape != ids_NL.shape:
            raise InputError(f"token_type_ids: expected shape {ids_NL.shape} as input_ids, got {types.shape}")
        return cls.from_flat(
            ids_NL[kept_NL],
            kept_NL.sum(axis=1),
            None if types is None else types[kept_NL],
            None if mask_NL[kept_NL].all() else mask_NL[kept_NL],
        )

    @classmethod
    def from_flat(cls, ids: Any, lengths: Any, token_types: Any = None, key_mask: Any = None) -> Self:
        """Pack ids that already lie end to end, as in the values of an Arrow list column."""
        ids_T, lengths_N = _ids(ids, name="ids"), _ids(lengths, name="lengths")
        _check_lengths(lengths_N, tokens=len(ids_T))
        types_T = None if token_types is None else _ids(token_types, name="token_types")
        if types_T is not None and len(types_T) != len(ids_T):
            raise InputError(f"token_types: expected {len(ids_T)}, one per token, got {len(types_T)}")
        ends_N = np.cumsum(lengths_N)
        return cls(
            input_ids=torch.from_numpy(ids_T),
            token_types=None if types_T is None else torch.from_numpy(types_T),
            position_ids=torch.from_numpy(np.arange(len(ids_T)) - np.repeat(ends_N - lengths_N, lengths_N)),
            cu_seqlens=torch.from_numpy(np.concatenate([[0], ends_N]).astype(np.int32)),
            lengths=torch.from_numpy(lengths_N),
            max_length=int(lengths_N.max()),
            runs=_runs(lengths_N),
            key_mask=None if key_mask is None else _key_mask(_array(key_mask), lengths_N),
        )

    @property
    def is_masked(self) -> bool:
        """Whether there are tokens that others do not attend to."""
        return self.key_mask is not None

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Where each token's own sequence begins and ends: two (T,) int32, on the batch's device."""
        counts_N, size = self.cu_seqlens.diff(), len(self.input_ids)
        starts_T, ends_T = (
            torch.repeat_interleave(edges_N, counts_N, output_size=size)
            for edges_N in (self.cu_seqlens[:-1], self.cu_seqlens[1:])
        )
        return starts_T, ends_T

    def tiles(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `cut_into_tiles` returns for the batch; computed once for all layers."""
        if size not in self._tiles:
            self._tiles[size] = cut_into_tiles(self.cu_seqlens, tokens=len(self.input_ids), size=size)
        return self._tiles[size]

    @cached_property
    def _tiles(self) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        return {}

    def split(self, x_T: Tensor) -> tuple[Tensor, ...]:
        """Return a view of each sequence's part of a tensor whose first dimension is T."""
        if len(x_T) != len(self.input_ids):
            raise InputError(f"split: expected {len(self.input_ids)} tokens, got a tensor of {len(x_T)}")
        return torch.split(x_T, self.lengths.tolist())

    def to(self, device: torch.device | str) -> Self:
        """Return the batch with its token tensors on a device; copies to a GPU do not block the host."""
        target = torch.device(device)
        if self.input_ids.device.type == target.type and target.index in (None, self.input_ids.device.index):
            return self
        names = ("input_ids", "token_types", "position_ids", "cu_seqlens", "key_mask")
        tensors = {name: getattr(self, name) for name in names}
        there: dict[str, Any] = {name: moved(x, target) for name, x in tensors.items() if x is not None}
        return replace(self, **there)


def cut_into_tiles(cu_seqlens: Tensor, *, tokens: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return each tile's first token, and where its sequence begins and ends, all int32.

    A tile has at most `size` tokens, all of one sequence. The number of tiles is the most that any batch of
    this many tokens and sequences has; a tile beyond the last begins at its sequence's end or later. Nothing
    is read from the host, so that a graph can record the function. N is the number of sequences.
    """
    starts_N, ends_N = cu_seqlens[:-1], cu_seqlens[1:]
    counts_N = (ends_N - starts_N + (size - 1)) // size
    until_N = counts_N.cumsum(0, dtype=torch.int32)
    numbers = torch.arange(tokens // size + len(starts_N), dtype=torch.int32, device=until_N.device)
    own = torch.searchsorted(until_N, numbers, right=True).clamp(max=len(starts_N) - 1)
    firsts = starts_N[own] + (numbers - (until_N - counts_N)[own]) * size
    return firsts, starts_N[own], ends_N[own]


def moved(x: Tensor, target: torch.device) -> Tensor:
    """Return a copy on a device; for a GPU from pinned memory, which torch keeps until the copy is done."""
    if target.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(target, non_blocking=True)
    return x.to(target)


def _array(values: Any) -> "np.ndarray[Any, Any]":
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _ids(values: Any, *, name: str, kinds: str = "iu") -> "np.ndarray[Any, np.dtype[np.int64]]":
    array = _array(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        raise InputError(
            f"{name}: expected one dimension of integers, got {array.dtype} of shape {array.shape}"
        )
    return np.array(array, dtype=np.int64)  # a copy: Arrow's buffers are read-only


def _concatenate(arrays: "list[np.ndarray[Any, Any]]") -> "np.ndarray[Any, Any]":
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)


def _shorten(lengths: "np.ndarray[Any, Any]") -> str:
    shown = ", ".join(map(str, lengths[:8]))
    return f"[{shown}{', ...' if len(lengths) > 8 else ''}]"


def _check_lengths(lengths_N: "np.ndarray[Any, Any]", *, tokens: int) -> None:
    if not len(lengths_N):
        raise InputError("lengths: expected at least one sequence, got none")
    if (lengths_N < 1).any():
        row = int(np.argmax(lengths_N < 1))
        raise InputError(
            f"sequence {row}: expected at least one token, got {lengths_N[row]}; "
            "leave rows without tokens out of the batch"
        )
    if lengths_N.sum() != tokens:
        raise InputError(f"lengths: expected a sum of {tokens}, the number of ids, got {lengths_N.sum()}")


def _joined(
    parts: Sequence[Any] | None, lengths_N: "np.ndarray[Any, Any]", *, name: str
) -> "np.ndarray[Any, Any] | None":
    """Return one value per token, after checking the length of each sequence's part."""
    if parts is None:
        return None
    arrays = [_ids(part, name=name, kinds="biu") for part in parts]
    lengths = [len(array) for array in arrays]
    if lengths != lengths_N.tolist():
        raise InputError(
            f"{name}: expected lengths {_shorten(lengths_N)}, as input_ids has, "
            f"got {_shorten(np.array(lengths))}"
        )
    return _concatenate(arrays)


def _mask(
    mask_NL: "np.ndarray[Any, Any]", *, shape: tuple[int, ...]
) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    if len(shape) != 2 or mask_NL.shape != shape:
        raise InputError(
            f"attention_mask: expected the (N, L) shape of input_ids {shape}, got {mask_NL.shape}"
        )
    return _booleans(mask_NL, name="attention_mask")


def _booleans(mask: "np.ndarray[Any, Any]", *, name: str) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    if not np.isin(mask, (0, 1)).all():
        raise InputError(f"{name}: expected only 0 and 1; additive masks are not accepted")
    return mask.astype(bool)


def _key_mask(mask_T: "np.ndarray[Any, Any]", lengths_N: "np.ndarray[Any, Any]") -> Tensor:
    """Return the mask, after checking that each sequence keeps a token that can be attended to."""
    if mask_T.shape != (lengths_N.sum(),):
        raise InputError(f"key_mask: expected shape ({lengths_N.sum()},), one per token, got {mask_T.shape}")
    kept_T = _booleans(mask_T, name="key_mask")
    empty_N = np.add.reduceat(kept_T.astype(np.int64), np.cumsum(lengths_N) - lengths_N) == 0
    if empty_N.any():
        raise InputError(
            "key_mask: expected a token to attend to in each sequence, got none in sequence "
            f"{int(np.argmax(empty_N))}"
        )
    return torch.from_numpy(kept_T)


def _runs(lengths_N: "np.ndarray[Any, Any]") -> tuple[LengthRun, ...]:
    firsts = np.flatnonzero(np.diff(lengths_N, prepend=-1))
    counts = np.diff(firsts, append=len(lengths_N))
    starts_N = np.cumsum(lengths_N) - lengths_N
    return tuple(
        LengthRun(start=int(starts_N[first]), count=int(count), length=int(lengths_N[first]))
        for first, count in zip(firsts, counts, strict=True)
    )
