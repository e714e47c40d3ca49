"""From windows back to texts, against a loop over every token."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.encode.sequences import Sequences, cut_windows
from corpusmill.pipeline.encode.windows import COMBINATIONS, combine, owned_tokens
from corpusmill.pipeline.ragged import Ragged

AROUND = 2
"""Other tokens before a sequence's text, and one after it."""


def windowed(lengths: list[int], room: int, stride: int | None, parts: int = 1) -> Sequences:
    """Texts of these lengths in windows, for each of so many parts of an item."""
    windows = cut_windows(
        np.repeat(np.array(lengths, np.int64), parts), np.full(len(lengths) * parts, room), stride
    )
    sizes = windows.stop - windows.start
    return Sequences(
        Ragged.of_lengths(np.zeros(int((sizes + AROUND + 1).sum()), np.int32), sizes + AROUND + 1),
        None,
        windows.of // parts,
        windows.of % parts,
        windows.start,
        windows.stop,
        np.full(len(sizes), AROUND),
        windows.cut,
    )


def naive_owners(sequences: Sequences, length: int, members: list[int]) -> list[int]:
    """Where each token of a text is looked up: in the first of the windows that see most around it."""
    places = []
    for token in range(length):
        best: tuple[float, int] | None = None
        for n in members:
            start, stop = int(sequences.start[n]), int(sequences.stop[n])
            if not start <= token < stop:
                continue
            left = token - start if start else np.inf
            right = stop - 1 - token if stop < length else np.inf
            if best is None or min(left, right) > best[0]:
                best = min(left, right), int(sequences.tokens.offsets[n]) + AROUND + token - start
        if best is not None:
            places.append(best[1])
    return places


def members_of(sequences: Sequences) -> list[list[int]]:
    """The sequences of each part of each item."""
    keys = list(zip(sequences.item.tolist(), sequences.part.tolist(), strict=True))
    return [[n for n, key in enumerate(keys) if key == wanted] for wanted in dict.fromkeys(keys)]


SHAPES: dict[str, Any] = {
    "lengths": st.lists(st.integers(0, 50), max_size=6),
    "room": st.integers(1, 16),
    "stride": st.none() | st.integers(0, 16),
    "parts": st.integers(1, 3),
}


@settings(derandomize=True, deadline=None)
@given(**SHAPES)
def test_each_token_is_taken_from_the_window_that_sees_most(
    lengths: list[int], room: int, stride: int | None, parts: int
) -> None:
    """Once each, in the order of the text; what no window holds is left out."""
    sequences = windowed(lengths, room, stride, parts)
    places, first, counts = owned_tokens(sequences)
    # A text that was cut ends where it was cut: nothing after it is known.
    kept = [
        length if stride is not None else min(length, room) for length in np.repeat(lengths, parts).tolist()
    ]
    expected = [
        naive_owners(sequences, length, members)
        for length, members in zip(kept, members_of(sequences), strict=True)
    ]
    assert counts.tolist() == [len(one) for one in expected] == kept
    assert places.tolist() == [place for one in expected for place in one]
    assert not first.any()


@pytest.mark.parametrize("how", COMBINATIONS)
@settings(derandomize=True, deadline=None)
@given(data=st.data(), **SHAPES)
def test_windows_are_combined_as_a_loop_would(
    how: str, data: st.DataObject, lengths: list[int], room: int, stride: int | None, parts: int
) -> None:
    """The mean weighs each window by its tokens; a single window is taken as it is."""
    sequences = windowed(lengths, room, stride, parts)
    numbers = data.draw(
        st.lists(st.integers(-50, 50), min_size=3 * len(sequences), max_size=3 * len(sequences))
    )
    values = (np.array(numbers, np.float32) / 7).reshape(-1, 3)
    found = combine(values, sequences, how)
    assert found.dtype == np.float32
    weights = np.maximum(sequences.stop - sequences.start, 1)
    expected = [
        {
            "mean": lambda own, weight: np.average(own, axis=0, weights=weight),
            "max": lambda own, _: own.max(axis=0),
            "first": lambda own, _: own[0],
        }[how](values[members], weights[members])
        for members in members_of(sequences)
    ]
    np.testing.assert_allclose(found, np.array(expected).reshape(-1, 3), rtol=1e-6, atol=1e-6)
    for row, members in zip(found, members_of(sequences), strict=True):
        if len(members) == 1:
            assert row.tolist() == values[members[0]].tolist()
