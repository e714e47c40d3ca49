"""PackedTokens: what goes in, what is refused, and the geometry that comes out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from corpusmill.models import InputError, PackedTokens
from corpusmill.models.packed import LengthRun


@pytest.mark.parametrize("convert", [list, np.array, torch.tensor], ids=["lists", "numpy", "torch"])
def test_sequences_lie_end_to_end(convert: Any) -> None:
    """Whatever holds the ids, the batch is the same."""
    packed = PackedTokens.from_sequences([convert([7, 8]), convert([9]), convert([1, 2, 3])])
    assert packed.input_ids.tolist() == [7, 8, 9, 1, 2, 3]
    assert packed.position_ids.tolist() == [0, 1, 0, 0, 1, 2]
    assert packed.cu_seqlens.tolist() == [0, 2, 3, 6]
    assert packed.lengths.tolist() == [2, 1, 3]
    assert (packed.max_length, len(packed), packed.token_types) == (3, 3, None)


def test_flat_values_need_no_lists() -> None:
    """The values and lengths of an Arrow column, read-only and 32 bits wide, go in as they are."""
    ids = np.array([7, 8, 9, 1], dtype=np.int32)
    ids.flags.writeable = False
    packed = PackedTokens.from_flat(ids, np.array([3, 1]), token_types=np.array([0, 1, 1, 0], dtype=np.int8))
    assert packed.input_ids.dtype == torch.int64
    assert packed.token_types is not None
    assert packed.token_types.tolist() == [0, 1, 1, 0]
    assert packed.cu_seqlens.tolist() == [0, 3, 4]


def test_padded_rows_lose_their_padding() -> None:
    """On the left or on the right; types follow their tokens, positions start at each row's first token."""
    packed = PackedTokens.from_padded(
        torch.tensor([[5, 6, 0], [0, 7, 8]]),
        torch.tensor([[1, 1, 0], [0, 1, 1]]),
        torch.tensor([[0, 1, 9], [9, 1, 0]]),
    )
    assert packed.input_ids.tolist() == [5, 6, 7, 8]
    assert packed.position_ids.tolist() == [0, 1, 0, 1]
    assert packed.token_types is not None
    assert packed.token_types.tolist() == [0, 1, 1, 0]


def test_a_hole_in_a_mask_keeps_its_token() -> None:
    """Zeros at the ends are padding; a zero between ones is a token that nothing attends to."""
    packed = PackedTokens.from_padded([[5, 6, 7, 0], [0, 7, 8, 9]], [[1, 0, 1, 0], [0, 1, 1, 1]])
    assert packed.input_ids.tolist() == [5, 6, 7, 7, 8, 9]
    assert packed.position_ids.tolist() == [0, 1, 2, 0, 1, 2]
    assert packed.key_mask is not None
    assert packed.key_mask.tolist() == [True, False, True, True, True, True]
    assert PackedTokens.from_padded([[5, 6, 0]], [[1, 1, 0]]).key_mask is None


def test_runs_are_maximal() -> None:
    """Neighbours of one length make one run; the same length further on makes another."""
    packed = PackedTokens.from_flat(np.arange(14), np.array([2, 2, 3, 1, 2, 2, 2]))
    assert packed.runs == (LengthRun(0, 2, 2), LengthRun(4, 1, 3), LengthRun(7, 1, 1), LengthRun(8, 3, 2))


def test_split_gives_views_of_each_sequence() -> None:
    """Views, not copies: writing to a part writes to the whole."""
    packed = PackedTokens.from_sequences([[1, 2], [3]])
    x_TD = torch.zeros(3, 4)
    parts = packed.split(x_TD)
    parts[1].fill_(1.0)
    assert [len(part) for part in parts] == [2, 1]
    assert x_TD[2].sum() == 4


def test_moving_to_the_same_device_is_free() -> None:
    """And the geometry on the host stays where it is."""
    packed = PackedTokens.from_sequences([[1, 2]])
    assert packed.to("cpu") is packed
    moved = packed.to("meta")
    assert moved.cu_seqlens.device.type == moved.input_ids.device.type == "meta"
    assert moved.lengths.device.type == "cpu"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PackedTokens.from_sequences([[1], []]), "sequence 1: expected at least one token, got 0"),
        (lambda: PackedTokens.from_sequences([]), "at least one sequence"),
        (lambda: PackedTokens.from_sequences([[1.5]]), "expected one dimension of integers, got float64"),
        (lambda: PackedTokens.from_sequences([[[1]]]), r"got int64 of shape \(1, 1\)"),
        (
            lambda: PackedTokens.from_sequences([[1, 2]], [[0]]),
            r"token_types: expected lengths \[2\].*got \[1\]",
        ),
        (lambda: PackedTokens.from_sequences([[1]], [[0], [0]]), r"token_types: expected lengths \[1\]"),
        (lambda: PackedTokens.from_flat([1, 2], [1]), "expected a sum of 2, the number of ids, got 1"),
        (lambda: PackedTokens.from_flat([1, 2], [3, -1]), "sequence 1: expected at least one token, got -1"),
        (lambda: PackedTokens.from_flat([1], [1], [0, 0]), "token_types: expected 1, one per token, got 2"),
        (
            lambda: PackedTokens.from_sequences([[1], [2, 3]], key_masks=[[1], [0, 0]]),
            "key_mask: expected a token to attend to in each sequence, got none in sequence 1",
        ),
        (
            lambda: PackedTokens.from_sequences([[1]], key_masks=[[1, 1]]),
            r"key_masks: expected lengths \[1\]",
        ),
        (lambda: PackedTokens.from_sequences([[1]], key_masks=[[2]]), "key_mask: expected only 0 and 1"),
        (lambda: PackedTokens.from_flat([1, 2], [2], key_mask=[True]), r"key_mask: expected shape \(2,\)"),
        (lambda: PackedTokens.from_padded([[1], [1]], [[1], [0]]), "sequence 1: expected at least one token"),
        (lambda: PackedTokens.from_padded([[1, 2]], [[1]]), r"shape of input_ids \(1, 2\), got \(1, 1\)"),
        (lambda: PackedTokens.from_padded([1, 2], [1, 1]), r"\(N, L\) shape"),
        (lambda: PackedTokens.from_padded([[1]], [[-1e9]]), "only 0 and 1"),
        (
            lambda: PackedTokens.from_padded([[1]], [[1]], [[0, 0]]),
            r"token_type_ids: expected shape \(1, 1\)",
        ),
        (
            lambda: PackedTokens.from_sequences([[1]]).split(torch.zeros(2)),
            "expected 1 tokens, got a tensor of 2",
        ),
    ],
)
def test_impossible_batches_are_refused(build: Any, message: str) -> None:
    """Each with what was expected and what came."""
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize("lengths", [[1], [64, 65, 3], [200, 1, 64], [5] * 20])
@pytest.mark.parametrize("size", [16, 64])
def test_tiles_cover_each_sequence_once(lengths: list[int], size: int) -> None:
    """No tile reaches beyond its sequence; those too many have no token, and empty sequences have no tile."""
    packed = PackedTokens.from_flat(np.arange(sum(lengths)), np.array(lengths))
    ends = packed.cu_seqlens
    for cu_seqlens in (ends, ends.repeat_interleave(2)):
        tiles = replace(packed, cu_seqlens=cu_seqlens).tiles(size)
        assert len({len(part) for part in tiles}) == 1
        seen = []
        for first, start, end in zip(*(part.tolist() for part in tiles), strict=True):
            own = range(first, min(first + size, end))
            assert not own or (start in ends.tolist() and end in ends.tolist() and start <= first)
            seen += own
        assert seen == list(range(sum(lengths)))
